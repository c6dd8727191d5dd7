use thiserror::Error;

use super::TRAILERS_FLAG;

/// Bytes before each message: a byte of flags and the length, most significant byte first.
pub const HEADER_BYTES: usize = 5;

/// Follows the frames of a gRPC body that passes by, so that nothing in it can be taken for trailers.
///
/// Keeps the place in a frame and no byte of it; how long messages may be is for their reader to say.
#[derive(Debug, Default)]
pub struct Frames {
    /// Bytes of the header seen; [`HEADER_BYTES`] while a message passes.
    header: usize,
    /// The length as far as it was seen, then what is left of the message.
    left: u32,
}

/// Why bytes are not the messages of a gRPC body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A trailers frame, which only ends an answer of gRPC-Web and is written by the gateway.
    #[error("a trailers frame stands among the messages")]
    Trailers,
    /// A compressed trailers frame, which nobody reads.
    #[error("a trailers frame is compressed")]
    CompressedTrailers,
    /// Flags that mean nothing.
    #[error("a message has unknown flags")]
    UnknownFlags,
    /// The body ends within a frame.
    #[error("the body ends in the middle of a message")]
    Truncated,
}

impl Frames {
    /// Looks at the next bytes of the body.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; the body must then be cut.
    pub fn pass(&mut self, mut bytes: &[u8]) -> Result<(), FrameError> {
        while let Some(&byte) = bytes.first() {
            let taken = if self.header == HEADER_BYTES {
                let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= taken as u32;
                taken
            } else {
                self.read_header(byte)?;
                1
            };
            if self.header == HEADER_BYTES && self.left == 0 {
                self.header = 0;
            }
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    fn read_header(&mut self, byte: u8) -> Result<(), FrameError> {
        if self.header == 0 {
            match byte {
                0 | 1 => {}
                TRAILERS_FLAG => return Err(FrameError::Trailers),
                0x81 => return Err(FrameError::CompressedTrailers),
                _ => return Err(FrameError::UnknownFlags),
            }
        } else {
            self.left = self.left << 8 | u32::from(byte);
        }
        self.header += 1;
        Ok(())
    }

    /// Whether the last byte was the end of a frame, or there was none.
    pub fn is_between(&self) -> bool {
        self.header == 0
    }

    /// The body has ended.
    ///
    /// # Errors
    ///
    /// [`FrameError::Truncated`] within a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.is_between() { Ok(()) } else { Err(FrameError::Truncated) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(pieces: &[&[u8]]) -> Result<(), FrameError> {
        let mut frames = Frames::default();
        pieces.iter().try_for_each(|piece| frames.pass(piece))?;
        frames.finish()
    }

    #[test]
    fn messages_pass_however_they_are_cut() {
        let body = [&[0, 0, 0, 0, 3][..], b"abc", &[1, 0, 0, 0, 0], &[0, 0, 0, 1, 0], &[0x80; 256]].concat();
        assert_eq!(passed(&[&body]), Ok(()));
        for cut in 0..body.len() {
            assert_eq!(passed(&[&body[..cut], &body[cut..]]), Ok(()), "{cut}");
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(passed(&bytes), Ok(()));
    }

    #[test]
    fn what_could_be_taken_for_trailers_is_refused() {
        let behind_a_message = |flags: u8| passed(&[&[0, 0, 0, 0, 1, b'a', flags]]);
        assert_eq!(behind_a_message(0x80), Err(FrameError::Trailers));
        assert_eq!(behind_a_message(0x81), Err(FrameError::CompressedTrailers));
        for flags in [2, 0x7f, 0x82, 0xff] {
            assert_eq!(behind_a_message(flags), Err(FrameError::UnknownFlags), "{flags}");
        }
    }

    #[test]
    fn a_body_ends_between_frames_only() {
        assert_eq!(passed(&[]), Ok(()));
        for body in [&[0][..], &[0, 0, 0, 0], &[0, 0, 0, 0, 1], &[0, 0, 0, 0, 2, b'a']] {
            assert_eq!(passed(&[body]), Err(FrameError::Truncated), "{body:?}");
        }
        let mut frames = Frames::default();
        frames.pass(&[0, 0xff, 0xff, 0xff, 0xff]).unwrap();
        assert!(!frames.is_between());
    }
}
