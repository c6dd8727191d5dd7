use std::fmt;

use super::{PatternError, PatternErrorKind as Kind};
use crate::host::{HostError, normalize_host};

/// Which hosts a route answers for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This name, lower-case and without trailing dot.
    Exact(Box<str>),
    /// One or more labels before this name, which begins without a dot: `*.example.com` holds `example.com`.
    Wildcard(Box<str>),
}

impl HostPattern {
    /// Reads `example.com`, `*.example.com` or `[::1]`, without regard to case and a trailing dot.
    ///
    /// # Errors
    ///
    /// [`PatternError`], for a port, a `*` elsewhere and what [`normalize_host`] refuses.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::new(0..0, Kind::Empty));
        }
        let (name, skipped) = match text.strip_prefix("*.") {
            Some(name) => (name, 2),
            None => (text, 0),
        };
        if let Some(star) = name.find('*') {
            return Err(PatternError::new(skipped + star..skipped + star + 1, Kind::HostWildcardMisplaced));
        }
        let mut lowered = Vec::new();
        let host = normalize_host(name.as_bytes(), &mut lowered)
            .map_err(|error| PatternError::new(blamed(error, name, skipped), kind_of(error)))?;
        let colon = name.rfind(']').unwrap_or(0);
        if let Some(colon) = name[colon..].find(':').map(|at| at + colon).filter(|_| !name.ends_with(']')) {
            return Err(PatternError::new(skipped + colon..text.len(), Kind::HostHasPort));
        }
        let name: Box<str> = String::from_utf8_lossy(host.name).into();
        match skipped {
            0 => Ok(Self::Exact(name)),
            _ if name.starts_with('[') => Err(PatternError::new(0..2, Kind::HostWildcardMisplaced)),
            _ => Ok(Self::Wildcard(name)),
        }
    }

    /// Whether a normalised host is covered.
    pub fn covers(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(name) => name.as_bytes() == host,
            Self::Wildcard(name) => host
                .strip_suffix(name.as_bytes())
                .and_then(|labels| labels.strip_suffix(b"."))
                .is_some_and(|labels| !labels.is_empty()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(name) => write!(f, "*.{name}"),
        }
    }
}

fn kind_of(error: HostError) -> Kind {
    match error {
        HostError::InvalidPort => Kind::HostHasPort,
        HostError::Empty => Kind::Empty,
        other => Kind::InvalidHost(other),
    }
}

fn blamed(error: HostError, name: &str, skipped: usize) -> std::ops::Range<usize> {
    let range = match error {
        HostError::InvalidByte { offset, .. } | HostError::EmptyLabel { offset } => {
            let width = name[offset..].chars().next().map_or(0, char::len_utf8);
            offset..offset + width
        }
        HostError::InvalidPort => name.rfind(':').unwrap_or(0)..name.len(),
        HostError::Empty | HostError::TooLong | HostError::InvalidIpv6 => 0..name.len(),
    };
    range.start + skipped..range.end + skipped
}
