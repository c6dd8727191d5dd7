//! `rewrite`: changes the path and the host that are forwarded, never what was matched.

mod spec;

use regex::bytes::Regex;
use weir_base::ErrorCode;

pub(crate) use spec::KIND;

use super::{Flow, Policy};
use crate::exchange::Exchange;
use crate::reject::Reject;
use crate::template::Template;

/// `rewrite` as checked.
#[derive(Debug, Clone)]
pub struct RewritePlan {
    /// What happens to the path; the query is kept.
    pub path: Option<PathRewrite>,
    /// What happens to the host.
    pub host: Option<HostRewrite>,
}

/// A change of the path.
#[derive(Debug, Clone)]
pub enum PathRewrite {
    /// Takes a prefix of whole segments away: `/v1` makes `/` of `/v1` and `/a` of `/v1/a`.
    StripPrefix(String),
    /// Puts a prefix of whole segments before the path.
    AddPrefix(String),
    /// Replaces the first match of an expression; `$1` and `${name}` stand for its groups.
    Regex {
        /// The expression.
        pattern: Regex,
        /// What stands in its place.
        replacement: String,
    },
    /// Replaces the whole path.
    Path(Template),
}

/// A change of the host that the upstream sees.
#[derive(Debug, Clone)]
pub struct HostRewrite(pub Template);

impl Policy for RewritePlan {
    fn kind(&self) -> &'static str {
        "rewrite"
    }

    fn on_request(&self, exchange: &mut Exchange) -> Result<Flow, Reject> {
        if let Some(rewrite) = &self.path {
            let (path, query) = current(exchange);
            let mut target = rewrite.apply(path, exchange);
            if target.first() != Some(&b'/') {
                target.insert(0, b'/');
            }
            // A group or a variable may hold bytes that no target may have.
            if target.iter().any(|b| *b <= b' ' || *b >= 0x7f || *b == b'#' || *b == b'?')
                || (climbs(&target) && !climbs(&exchange.path))
            {
                return Err(Reject::because(ErrorCode::BadPath, "the rewritten path is not valid"));
            }
            if let Some(query) = query {
                target.push(b'?');
                target.extend_from_slice(query);
            }
            exchange.rewritten = Some(target);
        }
        if let Some(HostRewrite(template)) = &self.host {
            let mut host = Vec::new();
            template.write(exchange, &mut host);
            weir_route::normalize_host(&host, &mut Vec::new())
                .map_err(|error| Reject::because(ErrorCode::BadHost, error.to_string()))?;
            exchange.rewritten_host = Some(host);
        }
        Ok(Flow::Continue)
    }
}

/// Whether a segment is `.` or `..`, with or without a parameter: `^/api(.*)` cuts `/..` out of `/api..`, which no
/// rule has looked at.
fn climbs(path: &[u8]) -> bool {
    path.split(|b| *b == b'/').any(|mut segment| {
        let mut dots = 0;
        loop {
            segment = match segment {
                [] | [b';', ..] => return matches!(dots, 1 | 2),
                [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
                _ => return false,
            };
            dots += 1;
        }
    })
}

/// The path and the query as rewritten so far.
fn current(exchange: &Exchange) -> (&[u8], Option<&[u8]>) {
    match &exchange.rewritten {
        Some(target) => match memchr::memchr(b'?', target) {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        },
        None => (&exchange.path, exchange.has_query.then_some(&exchange.query[..])),
    }
}

impl PathRewrite {
    fn apply(&self, path: &[u8], exchange: &Exchange) -> Vec<u8> {
        match self {
            Self::StripPrefix(prefix) => match path.strip_prefix(prefix.trim_end_matches('/').as_bytes()) {
                Some(rest) if rest.is_empty() || rest[0] == b'/' => rest.to_vec(),
                _ => path.to_vec(),
            },
            Self::AddPrefix(prefix) => [prefix.trim_end_matches('/').as_bytes(), path].concat(),
            Self::Regex { pattern, replacement } => {
                pattern.replace(path, replacement.as_bytes()).into_owned()
            }
            Self::Path(template) => {
                let mut target = Vec::new();
                template.write(exchange, &mut target);
                target
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn rewrite(path: PathRewrite, from: &str) -> String {
        let mut x = Exchange::new(Instant::now());
        let (path_part, query) = from.split_once('?').map_or((from, None), |(p, q)| (p, Some(q)));
        x.path = path_part.into();
        if let Some(query) = query {
            x.query = query.into();
            x.has_query = true;
        }
        RewritePlan { path: Some(path), host: None }.on_request(&mut x).unwrap();
        let mut out = Vec::new();
        x.write_target(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn prefixes_are_whole_segments() {
        let strip = || PathRewrite::StripPrefix("/v1".into());
        assert_eq!(rewrite(strip(), "/v1/a?x=1"), "/a?x=1");
        assert_eq!(rewrite(strip(), "/v1"), "/");
        assert_eq!(rewrite(strip(), "/v10/a"), "/v10/a");
        assert_eq!(rewrite(PathRewrite::AddPrefix("/api/".into()), "/a"), "/api/a");
    }

    #[test]
    fn segments_that_climb_are_told_from_those_that_only_hold_dots() {
        for path in ["/..", "/a/../b", "/.", "/%2e%2E/x", "/.%2e", "/..;x/y", "/a/.;"] {
            assert!(climbs(path.as_bytes()), "{path}");
        }
        for path in ["/", "/...", "/a..", "/..a", "/.well-known/x", "/;..", "/%2f..", ""] {
            assert!(!climbs(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn expressions_fill_in_their_groups() {
        let regex = PathRewrite::Regex {
            pattern: Regex::new("^/u/([0-9]+)").unwrap(),
            replacement: "/users/$1".into(),
        };
        assert_eq!(rewrite(regex, "/u/42/x?q"), "/users/42/x?q");
    }
}
