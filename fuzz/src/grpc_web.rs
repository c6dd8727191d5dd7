use weir_wire::grpc_web::{ContentType, FrameError, Frames, TextDecoder, TextEncoder, TextError};

/// A gRPC-Web body is judged and decoded the same however it is split; what passes as messages holds no trailers; text is
/// what a plain reader of base64 makes of it; a media type that is written again is read the same.
pub fn grpc_web(data: &[u8]) {
    frames(data);
    text(data);
    media_type(data);
}

fn frames(data: &[u8]) {
    let whole = pass(data, data.len().max(1));
    for size in [1, 2, 4, 5, 6, 64] {
        assert_eq!(pass(data, size), whole, "frames in pieces of {size}");
    }
    assert_eq!(whole, walk(data), "frames");
}

fn pass(data: &[u8], size: usize) -> Result<(), FrameError> {
    let mut frames = Frames::default();
    data.chunks(size).try_for_each(|piece| frames.pass(piece))?;
    frames.finish()
}

/// The same by the length of each frame, with the whole body at hand.
fn walk(mut data: &[u8]) -> Result<(), FrameError> {
    while let Some((&flags, rest)) = data.split_first() {
        match flags {
            0 | 1 => {}
            0x80 => return Err(FrameError::Trailers),
            0x81 => return Err(FrameError::CompressedTrailers),
            _ => return Err(FrameError::UnknownFlags),
        }
        let (length, rest) = rest.split_first_chunk().ok_or(FrameError::Truncated)?;
        data = rest.get(u32::from_be_bytes(*length) as usize..).ok_or(FrameError::Truncated)?;
    }
    Ok(())
}

fn text(data: &[u8]) {
    let whole = decode(data, data.len().max(1));
    for size in [1, 2, 3, 5, 64] {
        assert_eq!(decode(data, size), whole, "text in pieces of {size}");
    }
    if let Ok(bytes) = &whole {
        assert_eq!(Some(bytes), plain(data).as_ref());
    }
    for flushes in [1, 2, 3, 7, usize::MAX] {
        let (mut encoder, mut text) = (TextEncoder::default(), Vec::new());
        for piece in data.chunks(flushes) {
            encoder.encode(piece, &mut text);
            encoder.flush(&mut text);
        }
        assert_eq!(decode(&text, 11).as_deref(), Ok(data), "flushed every {flushes}");
    }
}

fn decode(data: &[u8], size: usize) -> Result<Vec<u8>, TextError> {
    let (mut decoder, mut out) = (TextDecoder::default(), Vec::new());
    data.chunks(size).try_for_each(|piece| decoder.decode(piece, &mut out))?;
    decoder.finish().map(|()| out)
}

/// Four characters at a time; `None` where a character has no value.
fn plain(data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for group in data.chunks(4) {
        let mut bits = 0;
        for character in group {
            bits = bits << 6
                | match character {
                    b'A'..=b'Z' => u32::from(character - b'A'),
                    b'a'..=b'z' => u32::from(character - b'a') + 26,
                    b'0'..=b'9' => u32::from(character - b'0') + 52,
                    b'+' => 62,
                    b'/' => 63,
                    b'=' => 0,
                    _ => return None,
                };
        }
        let padding = group.iter().filter(|character| **character == b'=').count();
        out.extend_from_slice(&bits.to_be_bytes()[1..4 - padding.min(2)]);
    }
    Some(out)
}

fn media_type(data: &[u8]) {
    let Some(media) = ContentType::parse(data) else { return };
    let (mut web, mut grpc) = (Vec::new(), Vec::new());
    media.write(&mut web);
    media.write_grpc(&mut grpc);
    assert_eq!(ContentType::parse(&web), Some(media));
    assert_eq!((ContentType::parse(&grpc), ContentType::grpc_suffix(&grpc)), (None, Some(media.suffix)));
}
