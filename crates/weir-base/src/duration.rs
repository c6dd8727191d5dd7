use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationError {
    /// No digits at the start, or an unknown unit.
    Malformed,
    /// A number without its unit: `10` may be seconds or milliseconds, so neither is guessed.
    NoUnit,
    /// More than a hundred years.
    TooLong,
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const LONGEST_MS: u64 = 100 * 365 * 86_400_000;

/// Reads `250ms`, `10s`, `5m`, `1h`, `2d`, or several in a row such as `1m30s`.
///
/// # Errors
///
/// [`DurationError`]; a bare `0` is allowed, any other bare number is [`DurationError::NoUnit`].
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(DurationError::Malformed);
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_lowercase).count();
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        if number.is_empty() {
            return Err(DurationError::Malformed);
        }
        if unit.is_empty() && digits == rest.len() {
            return Err(DurationError::NoUnit);
        }
        let factor = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationError::Malformed)?.1;
        let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
        total = number
            .checked_mul(factor)
            .and_then(|part| total.checked_add(part))
            .filter(|sum| *sum <= LONGEST_MS)
            .ok_or(DurationError::TooLong)?;
        rest = &rest[digits + letters..];
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration as [`parse_duration`] reads it, in the largest unit that divides it.
pub fn format_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".to_owned();
    }
    let (name, factor) = UNITS.iter().find(|(_, factor)| ms.is_multiple_of(*factor)).unwrap_or(&("ms", 1));
    format!("{}{name}", ms / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_as_they_are_written() {
        for text in ["250ms", "10s", "5m", "1h", "2d", "90s", "0s"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
    }

    #[test]
    fn durations_refuse_what_is_no_duration() {
        for text in ["", "s", "-1s", "1.5s", "5 s", "5x"] {
            assert_eq!(parse_duration(text), Err(DurationError::Malformed), "{text}");
        }
        assert_eq!(parse_duration("10"), Err(DurationError::NoUnit));
        assert_eq!(parse_duration("99999999d"), Err(DurationError::TooLong));
    }
}
