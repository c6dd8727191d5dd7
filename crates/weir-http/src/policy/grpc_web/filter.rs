use weir_wire::grpc_web::{Frames, Mode, TextDecoder, TextEncoder, write_trailers};
use weir_wire::http1::Head;

use crate::filter::{BodyFilter, FilterError};

/// What a caller is told where the service has ended its answer without a status: 2 is "unknown".
pub(super) const NO_STATUS: &[u8] = b"2";

pub(super) const NO_STATUS_MESSAGE: &[u8] = b"the service ended its answer without a status";

/// The body of a call on its way to the service: decoded, and looked at for what a service would misread.
#[derive(Debug)]
pub(super) struct RequestFilter {
    text: Option<TextDecoder>,
    frames: Frames,
}

impl RequestFilter {
    pub(super) fn new(mode: Mode) -> Self {
        Self { text: (mode == Mode::Text).then(TextDecoder::default), frames: Frames::default() }
    }
}

impl BodyFilter for RequestFilter {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FilterError> {
        let start = out.len();
        match &mut self.text {
            Some(text) => text.decode(bytes, out).map_err(malformed)?,
            None => out.extend_from_slice(bytes),
        }
        self.frames.pass(&out[start..]).map_err(malformed)
    }

    fn pause(&mut self, _: &mut Vec<u8>) -> Result<(), FilterError> {
        Ok(())
    }

    fn end(&mut self, _: &mut Head, _: &mut Vec<u8>) -> Result<(), FilterError> {
        if let Some(text) = &self.text {
            text.finish().map_err(malformed)?;
        }
        self.frames.finish().map_err(malformed)
    }
}

/// The body of an answer on its way to the browser: its trailers become the last frame.
#[derive(Debug)]
pub(super) struct ResponseFilter {
    text: Option<TextEncoder>,
    frames: Frames,
}

impl ResponseFilter {
    pub(super) fn new(mode: Mode) -> Self {
        Self { text: (mode == Mode::Text).then(TextEncoder::default), frames: Frames::default() }
    }
}

impl BodyFilter for ResponseFilter {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FilterError> {
        // A service could else write a frame that the browser takes for the gateway's.
        self.frames.pass(bytes).map_err(malformed)?;
        match &mut self.text {
            Some(text) => {
                text.encode(bytes, out);
                // A message that is complete is of use at once, and in one piece.
                if self.frames.is_between() {
                    text.flush(out);
                }
            }
            None => out.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn pause(&mut self, out: &mut Vec<u8>) -> Result<(), FilterError> {
        if let Some(text) = &mut self.text {
            text.flush(out);
        }
        Ok(())
    }

    fn end(&mut self, trailers: &mut Head, out: &mut Vec<u8>) -> Result<(), FilterError> {
        self.frames.finish().map_err(malformed)?;
        if trailers.named(b"grpc-status").next().is_none() {
            trailers.append(b"grpc-status", NO_STATUS);
            trailers.append(b"grpc-message", NO_STATUS_MESSAGE);
        }
        match &mut self.text {
            Some(text) => {
                let mut frame = Vec::new();
                write_trailers(trailers, &mut frame);
                text.encode(&frame, out);
                text.flush(out);
            }
            None => write_trailers(trailers, out),
        }
        trailers.clear();
        Ok(())
    }
}

fn malformed(cause: impl std::fmt::Display) -> FilterError {
    FilterError(cause.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = &[0, 0, 0, 0, 2, b'h', b'i'];

    fn trailers() -> Head {
        let mut trailers = Head::default();
        trailers.append(b"Grpc-Status", b"0");
        trailers
    }

    #[test]
    fn messages_of_a_request_are_decoded_and_whole() {
        let run = |mode, pieces: &[&[u8]]| {
            let (mut filter, mut out) = (RequestFilter::new(mode), Vec::new());
            pieces.iter().try_for_each(|piece| filter.push(piece, &mut out))?;
            filter.end(&mut Head::default(), &mut out)?;
            Ok::<_, FilterError>(out)
        };
        assert_eq!(run(Mode::Binary, &[&MESSAGE[..3], &MESSAGE[3..]]).unwrap(), MESSAGE);
        assert_eq!(run(Mode::Text, &[b"AAAAA", b"AJoaQ", b"=="]).unwrap(), MESSAGE);
        assert!(run(Mode::Binary, &[&MESSAGE[..3]]).is_err());
        assert!(run(Mode::Binary, &[MESSAGE, &[0x80, 0, 0, 0, 0]]).is_err());
        assert!(run(Mode::Text, &[b"AAAAA"]).is_err());
        assert!(run(Mode::Text, &[b"????"]).is_err());
    }

    #[test]
    fn the_trailers_of_an_answer_are_its_last_frame_and_nothing_else() {
        let (mut filter, mut out, mut head) = (ResponseFilter::new(Mode::Binary), Vec::new(), trailers());
        filter.push(MESSAGE, &mut out).unwrap();
        filter.end(&mut head, &mut out).unwrap();
        assert_eq!(out, [MESSAGE, b"\x80\0\0\0\x10grpc-status: 0\r\n"].concat());
        assert!(head.is_empty());
    }

    #[test]
    fn a_text_can_be_read_behind_each_message_and_after_each_pause() {
        let (mut filter, mut out) = (ResponseFilter::new(Mode::Text), Vec::new());
        filter.push(MESSAGE, &mut out).unwrap();
        assert_eq!(out, b"AAAAAAJoaQ==");
        let mut part = Vec::new();
        filter.push(&MESSAGE[..4], &mut part).unwrap();
        assert_eq!(part, b"AAAA");
        filter.pause(&mut part).unwrap();
        assert_eq!(part, b"AAAAAA==");
        filter.push(&MESSAGE[4..], &mut part).unwrap();
        assert_eq!(part, b"AAAAAA==Amhp");
        filter.end(&mut trailers(), &mut out).unwrap();
        assert!(out[12..].starts_with(b"gAAAABBncnBjLXN0YXR1czogMA0K"), "{}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn a_service_cannot_write_a_trailers_frame_and_must_say_how_it_ended() {
        let mut filter = ResponseFilter::new(Mode::Binary);
        assert!(filter.push(b"\x80\0\0\0\x10grpc-status: 0\r\n", &mut Vec::new()).is_err());
        let (mut filter, mut out) = (ResponseFilter::new(Mode::Binary), Vec::new());
        filter.end(&mut Head::default(), &mut out).unwrap();
        assert!(out.windows(14).any(|window| window == b"grpc-status: 2"));
    }
}
