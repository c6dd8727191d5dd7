use weir_wire::http1::{CHUNK_LINE_MAX, Chunk, ChunkError, ChunkedDecoder, Head, encode_chunk_line};

/// A trailer's name and value.
type Field = (Vec<u8>, Vec<u8>);

/// What a decoder makes of a body.
#[derive(Debug, PartialEq)]
struct Decoded {
    body: Vec<u8>,
    /// Where what follows begins; none while the body is not complete.
    end: Result<Option<usize>, ChunkError>,
    trailers: Result<Vec<Field>, ChunkError>,
}

/// Chunked bodies: the same however they arrive; written again they hold the same.
pub fn http1_chunked(data: &[u8]) {
    let whole = decode(data, data.len().max(1));
    for step in [1, 2, 7] {
        assert_eq!(whole, decode(data, step), "a body depends on how it arrives");
    }
    let mut written = Vec::new();
    for part in whole.body.chunks(5) {
        let mut line = [0; CHUNK_LINE_MAX];
        let start = encode_chunk_line(part.len(), &mut line);
        written.extend(&line[start..]);
        written.extend(part);
        written.extend(b"\r\n");
    }
    written.extend(b"0\r\n\r\n");
    let again = decode(&written, written.len());
    assert_eq!((again.body, again.end), (whole.body, Ok(Some(written.len()))));
    check_size(data, &whole.end);
}

fn decode(data: &[u8], step: usize) -> Decoded {
    let mut decoder = ChunkedDecoder::default();
    let mut decoded = Decoded { body: Vec::new(), end: Ok(None), trailers: Ok(Vec::new()) };
    let mut taken = 0;
    'pieces: for piece in data.chunks(step) {
        let mut at = 0;
        while at < piece.len() {
            match decoder.next(&piece[at..]) {
                Ok(Chunk::Data { start, end }) => {
                    assert!(start < end && at + end <= piece.len(), "data is never empty");
                    decoded.body.extend(&piece[at + start..at + end]);
                    at += end;
                }
                Ok(Chunk::End { end }) => {
                    decoded.end = Ok(Some(taken + at + end));
                    break 'pieces;
                }
                Ok(Chunk::More) => break,
                Err(error) => {
                    decoded.end = Err(error);
                    break 'pieces;
                }
            }
        }
        taken += piece.len();
    }
    assert_eq!(decoder.is_done(), matches!(decoded.end, Ok(Some(_))));
    if decoder.is_done() {
        let mut head = Head::default();
        decoded.trailers = decoder
            .trailers(&mut head)
            .map(|()| head.iter().map(|(_, name, value)| (name.to_vec(), value.to_vec())).collect());
    }
    decoded
}

/// Another parser reads the first size as we do, where it reads one.
fn check_size(data: &[u8], end: &Result<Option<usize>, ChunkError>) {
    let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(data) else {
        assert!(!matches!(end, Ok(Some(_))), "we took a body whose first size httparse refuses");
        return;
    };
    if let Ok(Chunk::Data { start: ours, end }) = ChunkedDecoder::default().next(data) {
        let length = usize::try_from(size).unwrap_or(usize::MAX).min(data.len() - start);
        assert_eq!((ours, end - ours), (start, length));
    }
}
