use std::fmt;

/// A number of bytes, written `64KiB`, `10MiB`, `1GiB` or a bare number of bytes.
///
/// Decimal units (`KB`, `MB`, `GB`) mean powers of 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

/// Why a text is not a [`ByteSize`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeError {
    /// No digits at the start, or an unknown unit after them.
    Malformed,
    /// More than 2^63 bytes.
    TooLarge,
}

const UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl ByteSize {
    /// `n` times 1024 bytes.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` times 1024 × 1024 bytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Reads the written form.
    ///
    /// # Errors
    ///
    /// [`SizeError`] says whether the text or the amount is at fault.
    pub fn parse(text: &str) -> Result<Self, SizeError> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(SizeError::Malformed);
        }
        let number: u64 = number.parse().map_err(|_| SizeError::TooLarge)?;
        let unit = unit.trim_start();
        let factor = if unit.is_empty() {
            1
        } else {
            UNITS.iter().find(|(name, _)| *name == unit).ok_or(SizeError::Malformed)?.1
        };
        match number.checked_mul(factor) {
            Some(bytes) if bytes <= i64::MAX as u64 => Ok(Self(bytes)),
            _ => Err(SizeError::TooLarge),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, factor) in [UNITS[3], UNITS[2], UNITS[1], UNITS[0]] {
            if self.0 != 0 && self.0.is_multiple_of(factor) {
                return write!(f, "{}{name}", self.0 / factor);
            }
        }
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back_as_they_are_written() {
        for text in ["0", "1", "64KiB", "10MiB", "3GiB", "1TiB", "1500"] {
            assert_eq!(ByteSize::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(ByteSize::parse("5 MB"), Ok(ByteSize(5_000_000)));
    }

    #[test]
    fn sizes_refuse_what_is_no_size() {
        for text in ["", "KiB", "-1", "1.5MiB", "1kib", "1 KiB x"] {
            assert_eq!(ByteSize::parse(text), Err(SizeError::Malformed), "{text}");
        }
        assert_eq!(ByteSize::parse("99999999999TiB"), Err(SizeError::TooLarge));
        assert_eq!(ByteSize::parse("99999999999999999999999"), Err(SizeError::TooLarge));
    }
}
