use std::fmt;

use super::{PatternError, PatternErrorKind as Kind};

const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

/// A request method, compared with case.
///
/// `GET` does not stand for `HEAD`: a route that takes both lists both, as in Envoy, Caddy and Traefik.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(Box<str>);

impl Method {
    /// Reads a method: one of the known ones in upper case, or any other token.
    ///
    /// # Errors
    ///
    /// [`PatternError`], for a byte that no method has (RFC 9110 section 5.6.2) and for `get`.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::new(0..0, Kind::Empty));
        }
        if let Some((at, bad)) = text.char_indices().find(|&(_, c)| !is_token_char(c)) {
            return Err(PatternError::new(at..at + bad.len_utf8(), Kind::InvalidMethod));
        }
        let upper = text.to_ascii_uppercase();
        if upper != text && KNOWN.contains(&upper.as_str()) {
            return Err(PatternError::new(0..text.len(), Kind::MethodCase { upper }));
        }
        Ok(Self(text.into()))
    }

    /// The method as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}
