use std::fmt;

use super::{PatternError, PatternErrorKind as Kind};

/// A media type that a route offers, `application/json`, or all of one type, `text/*`; in lower case.
///
/// Without parameters: what a client asks of them is between it and the server behind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaRange {
    kind: Box<str>,
    /// None for `*`.
    subtype: Option<Box<str>>,
}

impl MediaRange {
    /// Reads a media type or a `type/*`, whatever its case.
    ///
    /// # Errors
    ///
    /// [`PatternError`], for what is neither, and for `*/*`, which asks nothing.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::new(0..0, Kind::Empty));
        }
        let wrong = || PatternError::new(0..text.len(), Kind::InvalidMediaType);
        let (kind, subtype) = text.split_once('/').ok_or_else(wrong)?;
        let is_name = |name: &str| !name.is_empty() && name.chars().all(super::method::is_token_char);
        if kind == "*" || !is_name(kind) || !is_name(subtype) || (subtype != "*" && subtype.contains('*')) {
            return Err(wrong());
        }
        Ok(Self {
            kind: kind.to_ascii_lowercase().into(),
            subtype: (subtype != "*").then(|| subtype.to_ascii_lowercase().into()),
        })
    }

    /// The part before the slash.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The part behind the slash; none where every one is meant.
    pub fn subtype(&self) -> Option<&str> {
        self.subtype.as_deref()
    }

    /// Whether everything that `other` stands for is part of this.
    pub(crate) fn includes(&self, other: &Self) -> bool {
        self.kind == other.kind && (self.subtype.is_none() || self.subtype == other.subtype)
    }
}

impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.subtype().unwrap_or("*"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_lowered_and_what_asks_nothing_is_refused() {
        for (text, shown) in
            [("Application/JSON", "application/json"), ("text/*", "text/*"), ("a/b+c.d", "a/b+c.d")]
        {
            assert_eq!(MediaRange::parse(text).unwrap().to_string(), shown);
        }
        for text in ["", "json", "*/*", "*", "text/", "/x", "text/x*", "text/html;q=1", "text/a b", "a/b/c"] {
            assert!(MediaRange::parse(text).is_err(), "{text}");
        }
    }
}
