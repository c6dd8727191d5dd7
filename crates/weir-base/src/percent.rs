use std::fmt;

/// A share of a whole, 0 % to 100 %, written `20%`, `2.5%`; kept in hundredths of a per cent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u16);

/// Why a text is not a [`Percent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PercentError {
    /// Not a number followed by `%`.
    Malformed,
    /// Above `100%`.
    TooLarge,
}

impl Percent {
    /// The whole: 100 %.
    pub const ALL: Self = Self(10_000);
    /// Nothing: 0 %.
    pub const NONE: Self = Self(0);

    /// `n` per cent; `n` above 100 counts as 100.
    pub const fn new(n: u16) -> Self {
        Self(if n > 100 { 10_000 } else { n * 100 })
    }

    /// Hundredths of a per cent, 0 to 10,000.
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// This share of `whole`, rounded down.
    pub const fn of(self, whole: u64) -> u64 {
        (whole as u128 * self.0 as u128 / 10_000) as u64
    }

    /// Reads the written form.
    ///
    /// # Errors
    ///
    /// [`PercentError`] says whether the text or the amount is at fault.
    pub fn parse(text: &str) -> Result<Self, PercentError> {
        let number = text.trim().strip_suffix('%').ok_or(PercentError::Malformed)?.trim_end();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 2 {
            return Err(PercentError::Malformed);
        }
        let whole: u32 = whole.parse().map_err(|_| PercentError::TooLarge)?;
        let scale = if fraction.len() == 1 { 10 } else { 1 };
        let fraction: u32 = fraction.parse::<u32>().map_err(|_| PercentError::Malformed)? * scale;
        match whole.checked_mul(100).and_then(|w| w.checked_add(fraction)) {
            Some(points) if points <= 10_000 => Ok(Self(points as u16)),
            _ => Err(PercentError::TooLarge),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, part) if part % 10 == 0 => write!(f, "{whole}.{}%", part / 10),
            (whole, part) => write!(f, "{whole}.{part:02}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_read_back_as_they_are_written() {
        for text in ["0%", "20%", "2.5%", "0.25%", "100%"] {
            assert_eq!(Percent::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Percent::parse("50%").unwrap().of(7), 3);
    }

    #[test]
    fn shares_refuse_what_is_no_share() {
        for text in ["", "20", "%", "-1%", "1.234%", "x%"] {
            assert_eq!(Percent::parse(text), Err(PercentError::Malformed), "{text}");
        }
        for text in ["101%", "100.01%", "99999999999%"] {
            assert_eq!(Percent::parse(text), Err(PercentError::TooLarge), "{text}");
        }
    }
}
