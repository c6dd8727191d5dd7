use super::HEADER_BYTES_MAX;

/// Follows the frames of one direction, whatever they hold, to tell where one may be put between two.
///
/// Looks at headers alone, and judges nothing: what is no WebSocket is between frames when it looks so.
#[derive(Debug, Default)]
pub struct Boundary {
    /// What came of a header that is not whole.
    header: [u8; HEADER_BYTES_MAX],
    length: usize,
    /// Bytes of the frame's payload that are still to come.
    left: u64,
}

impl Boundary {
    /// Looks at the next bytes, in any pieces.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while let [first, rest @ ..] = bytes {
            if self.left > 0 {
                let count = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= count as u64;
                bytes = &bytes[count..];
                continue;
            }
            self.header[self.length] = *first;
            self.length += 1;
            bytes = rest;
            if self.length == self.header_length() {
                self.left = self.payload();
                self.length = 0;
            }
        }
    }

    /// Whether the last frame is whole and the next has not begun.
    pub fn is_between(&self) -> bool {
        self.left == 0 && self.length == 0
    }

    /// How long the header is, as far as it can be told.
    fn header_length(&self) -> usize {
        if self.length < 2 {
            return 2;
        }
        let length = match self.header[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        if self.header[1] & 0x80 == 0 { length } else { length + 4 }
    }

    fn payload(&self) -> u64 {
        let long = |count: usize| self.header[2..2 + count].iter().fold(0, |n, b| n << 8 | u64::from(*b));
        match self.header[1] & 0x7f {
            126 => long(2),
            127 => long(8),
            short => u64::from(short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::{Mask, Opcode, close_frame, frame_header};

    /// Goal: every cut of the bytes gives the same. Method: frames of all kinds of lengths, passed byte by byte.
    #[test]
    fn only_behind_a_whole_frame_is_between_frames() {
        let mask = Mask::new([1, 2, 3, 4]);
        for (length, mask) in [(0, None), (5, Some(mask)), (125, None), (126, Some(mask)), (70_000, None)] {
            let mut frame = frame_header(Opcode::Binary, mask, length).as_slice().to_vec();
            frame.extend(vec![0x81; usize::try_from(length).unwrap()]);
            let mut boundary = Boundary::default();
            for _ in 0..2 {
                for (at, byte) in frame.iter().enumerate() {
                    assert_eq!(boundary.is_between(), at == 0, "byte {at} of a frame of {length}");
                    boundary.pass(&[*byte]);
                }
                boundary.pass(&frame);
                assert!(boundary.is_between());
            }
            boundary.pass(close_frame(mask, None, "").as_slice());
            assert!(boundary.is_between());
        }
    }
}
