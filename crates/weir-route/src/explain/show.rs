use std::fmt;

use super::{Advantage, Explanation, NearMiss, PathKind, Rank, Reason, Winner};
use crate::ValueTest;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.winner {
            Some(winner) => write!(f, "{winner}")?,
            None => f.write_str("no rule matches")?,
        }
        self.near_misses.iter().try_for_each(|miss| write!(f, "\n{miss}"))
    }
}

impl fmt::Display for Winner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} wins: {}", self.id, self.rank)?;
        self.params.iter().try_for_each(|(name, value)| write!(f, "; {name} is `{value}`"))
    }
}

impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} ({}) does not: {}", self.id, self.rank, self.reason)
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host @ crate::HostPattern::Exact(_)) => write!(f, "host {host}")?,
            Some(host) => write!(f, "wildcard host {host}")?,
            None => f.write_str("any host")?,
        }
        match &self.path {
            Some(path) => write!(f, ", {} `{path}`", self.path_kind)?,
            None => write!(f, ", {}", self.path_kind)?,
        }
        let plural = if self.matcher_count == 1 { "" } else { "s" };
        write!(f, ", {} further matcher{plural}, priority {}", self.matcher_count, self.priority)
    }
}

impl fmt::Display for PathKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Literal => "literal path",
            Self::Param => "path with parameters",
            Self::Rest => "path with a wildcard",
            Self::Expression => "path expression",
            Self::Any => "any path",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outranked(advantage) => write!(f, "it matches too, but the winner {advantage}"),
            Self::Host { wanted, got } if got.is_empty() => write!(f, "wants host {wanted}, got none"),
            Self::Host { wanted, got } => write!(f, "wants host {wanted}, got {got}"),
            Self::Path { wanted, got } => write!(f, "wants path `{wanted}`, got `{got}`"),
            Self::Listener { wanted, got } => {
                let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
                write!(f, "wants listener {}, got {got}", wanted.join(" or "))
            }
            Self::Method { wanted, got } => write!(f, "wants method {}, got {got}", wanted.join(" or ")),
            Self::Param { name, wanted, got } => {
                write!(f, "wants parameter {name} to match `{wanted}`, got `{got}`")
            }
            Self::Header { name, wanted, got } => value(f, "header", name, wanted, got.as_deref()),
            Self::Accept { wanted, got } => {
                write!(f, "wants a client that accepts {}, got `{got}`", wanted.join(" or "))
            }
            Self::Query { name, wanted, got } => value(f, "query entry", name, wanted, got.as_deref()),
        }
    }
}

fn value(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    name: &str,
    wanted: &ValueTest,
    got: Option<&str>,
) -> fmt::Result {
    write!(f, "wants {what} {name} {wanted}, got ")?;
    match got {
        Some(got) => write!(f, "`{got}`"),
        None => f.write_str("none"),
    }
}

/// Reads after a name: `to be …`, `to match …`, `to be there`.
impl fmt::Display for ValueTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "to be `{text}`"),
            Self::Expression(expression) => write!(f, "to match `{expression}`"),
            Self::Present => f.write_str("to be there"),
        }
    }
}

impl fmt::Display for Advantage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "has the more specific host",
            Self::Path => "has the more specific path",
            Self::Matchers => "has more further matchers",
            Self::Accept => "offers what the client would rather accept",
            Self::Priority => "has the higher priority",
            Self::Order => "is tried first",
        })
    }
}
