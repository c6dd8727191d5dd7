use thiserror::Error;

/// Decodes the base64 of text mode, cut anywhere.
///
/// Padding may stand within the stream, because senders pad whenever they flush. Strict otherwise: the standard
/// alphabet, no white space, no bits that are not part of a byte. Keeps less than one quantum of four characters.
#[derive(Debug, Default)]
pub struct TextDecoder {
    /// The bits of the characters of an unfinished quantum.
    bits: u32,
    /// How many characters of the quantum were read, padding included.
    characters: u8,
    /// How many of them were padding.
    padding: u8,
}

/// Why bytes are not the base64 of text mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TextError {
    /// A byte that is not of the alphabet.
    #[error("a character is not base64")]
    BadCharacter,
    /// Padding where none can stand, or bits behind the last byte.
    #[error("the base64 is padded wrongly")]
    BadPadding,
    /// The text ends within a quantum.
    #[error("the base64 ends in the middle of four characters")]
    Truncated,
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// No character of the alphabet.
const NONE: u8 = 0xff;

const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut i = 0;
    while i < ALPHABET.len() {
        values[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    values
};

impl TextDecoder {
    /// Appends the bytes that `input` completes: at most three for four characters, and two more.
    ///
    /// # Errors
    ///
    /// [`TextError`]; what was appended before it is right.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), TextError> {
        out.reserve(input.len() / 4 * 3 + 3);
        let mut at = 0;
        while at < input.len() {
            if self.characters == 0
                && let Some(quantum) = input[at..].first_chunk::<4>()
            {
                let value = quantum.map(|character| VALUES[usize::from(character)]);
                if value.iter().all(|value| *value < 64) {
                    out.extend_from_slice(&[
                        value[0] << 2 | value[1] >> 4,
                        value[1] << 4 | value[2] >> 2,
                        value[2] << 6 | value[3],
                    ]);
                    at += 4;
                    continue;
                }
            }
            self.take(input[at], out)?;
            at += 1;
        }
        Ok(())
    }

    fn take(&mut self, character: u8, out: &mut Vec<u8>) -> Result<(), TextError> {
        if character == b'=' {
            if self.characters < 2 {
                return Err(TextError::BadPadding);
            }
            self.padding += 1;
            self.bits <<= 6;
        } else if self.padding > 0 {
            return Err(TextError::BadPadding);
        } else {
            let value = VALUES[usize::from(character)];
            if value == NONE {
                return Err(TextError::BadCharacter);
            }
            self.bits = self.bits << 6 | u32::from(value);
        }
        self.characters += 1;
        if self.characters == 4 {
            let [_, bytes @ ..] = self.bits.to_be_bytes();
            let (bytes, rest) = bytes.split_at(3 - usize::from(self.padding));
            if rest.iter().any(|byte| *byte != 0) {
                return Err(TextError::BadPadding);
            }
            out.extend_from_slice(bytes);
            *self = Self::default();
        }
        Ok(())
    }

    /// The text has ended.
    ///
    /// # Errors
    ///
    /// [`TextError::Truncated`] within a quantum.
    pub fn finish(&self) -> Result<(), TextError> {
        if self.characters == 0 { Ok(()) } else { Err(TextError::Truncated) }
    }
}

/// Encodes the base64 of text mode. Keeps at most two bytes, until there is a third or a [`flush`](Self::flush).
#[derive(Debug, Default)]
pub struct TextEncoder {
    kept: [u8; 2],
    count: usize,
}

impl TextEncoder {
    /// Appends the text of all whole groups of three bytes: at most four characters for three bytes, and four more.
    pub fn encode(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        out.reserve((input.len() / 3 + 1) * 4);
        while self.count > 0 && !input.is_empty() {
            let byte = input[0];
            input = &input[1..];
            if self.count == 2 {
                out.extend_from_slice(&quantum([self.kept[0], self.kept[1], byte]));
                self.count = 0;
            } else {
                self.kept[1] = byte;
                self.count = 2;
            }
        }
        let (groups, rest) = input.as_chunks::<3>();
        for group in groups {
            out.extend_from_slice(&quantum(*group));
        }
        if !rest.is_empty() {
            self.kept[..rest.len()].copy_from_slice(rest);
            self.count = rest.len();
        }
    }

    /// Appends what is kept, padded, so that a reader has every byte.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if self.count == 0 {
            return;
        }
        let mut group = [0; 3];
        group[..self.count].copy_from_slice(&self.kept[..self.count]);
        let mut text = quantum(group);
        text[self.count + 1..].fill(b'=');
        out.extend_from_slice(&text);
        self.count = 0;
    }
}

fn quantum([a, b, c]: [u8; 3]) -> [u8; 4] {
    let character = |value: u8| ALPHABET[usize::from(value & 63)];
    [character(a >> 2), character(a << 4 | b >> 4), character(b << 2 | c >> 6), character(c)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(pieces: &[&[u8]]) -> Result<Vec<u8>, TextError> {
        let (mut decoder, mut out) = (TextDecoder::default(), Vec::new());
        pieces.iter().try_for_each(|piece| decoder.decode(piece, &mut out))?;
        decoder.finish().map(|()| out)
    }

    #[test]
    fn text_is_decoded_however_it_is_cut() {
        let text = b"AAECA/8=QQ==QUI=QUJD";
        let wanted = [&[0, 1, 2, 3, 0xff][..], b"A", b"AB", b"ABC"].concat();
        assert_eq!(decoded(&[text]), Ok(wanted.clone()));
        for cut in 0..text.len() {
            assert_eq!(decoded(&[&text[..cut], &text[cut..]]), Ok(wanted.clone()), "{cut}");
        }
        assert_eq!(decoded(&text.chunks(1).collect::<Vec<_>>()), Ok(wanted));
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        use TextError::*;
        let cases: [(&str, TextError); 13] = [
            ("A", Truncated),
            ("AAA", Truncated),
            ("AA=", Truncated),
            ("=", BadPadding),
            ("A===", BadPadding),
            ("AA=A", BadPadding),
            ("AA==A===", BadPadding),
            ("AB==", BadPadding),
            ("AAB=", BadPadding),
            ("AAA\n", BadCharacter),
            ("AA A", BadCharacter),
            ("AA-_", BadCharacter),
            ("AAA\u{e9}", BadCharacter),
        ];
        for (text, error) in cases {
            assert_eq!(decoded(&[text.as_bytes()]), Err(error), "{text}");
        }
    }

    #[test]
    fn encoded_text_decodes_to_what_it_was_wherever_it_is_cut_and_flushed() {
        let bytes: Vec<u8> = (0..=255).collect();
        for cut in 0..8 {
            for flushes in [false, true] {
                let (mut encoder, mut text) = (TextEncoder::default(), Vec::new());
                for piece in [&bytes[..cut], &bytes[cut..cut + 1], &bytes[cut + 1..]] {
                    encoder.encode(piece, &mut text);
                    if flushes {
                        encoder.flush(&mut text);
                        assert_eq!(text.len() % 4, 0);
                    }
                }
                encoder.flush(&mut text);
                assert_eq!(decoded(&[&text]), Ok(bytes.clone()), "cut at {cut}");
            }
        }
    }
}
