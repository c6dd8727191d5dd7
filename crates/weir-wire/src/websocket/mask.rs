/// The key that a client's payload is combined with, byte by byte (RFC 6455 section 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask([u8; 4]);

impl Mask {
    /// A key; a client takes four bytes that nobody can foretell for each frame.
    pub const fn new(key: [u8; 4]) -> Self {
        Self(key)
    }

    /// The key as it stands in a header.
    pub const fn key(self) -> [u8; 4] {
        self.0
    }

    /// Masks or unmasks `bytes`, the first of which stands `offset` bytes into the payload.
    ///
    /// Works word by word: the loop over whole words becomes vector instructions.
    pub fn apply(self, bytes: &mut [u8], offset: u64) {
        let [a, b, c, d] = self.at(offset);
        let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for chunk in words {
            *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
            *byte ^= key;
        }
    }

    /// The key, turned so that its first byte belongs to the payload's byte at `offset`.
    const fn at(self, offset: u64) -> [u8; 4] {
        u32::from_be_bytes(self.0).rotate_left((offset % 4) as u32 * 8).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masking_by_words_is_masking_by_bytes_at_every_offset_and_length() {
        let mask = Mask::new([0x37, 0xfa, 0x21, 0x3d]);
        for offset in 0..9_u64 {
            for length in 0..70 {
                let plain: Vec<u8> = (0..length).map(|i| i as u8).collect();
                let mut masked = plain.clone();
                mask.apply(&mut masked, offset);
                for (i, (masked, plain)) in masked.iter().zip(&plain).enumerate() {
                    assert_eq!(*masked, plain ^ mask.key()[(i + offset as usize) % 4], "{offset} {length}");
                }
                mask.apply(&mut masked, offset);
                assert_eq!(masked, plain);
            }
        }
    }
}
