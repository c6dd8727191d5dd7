/// A media type whose bodies are compressed: `text/css`, `text/*`, or `application/*+json`; in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPattern {
    kind: Box<str>,
    subtype: Subtype,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subtype {
    Any,
    /// What every one ends with, from its `+` on.
    Suffix(Box<str>),
    Exact(Box<str>),
}

/// What is compressed unless the configuration says otherwise: what browsers and programs send as text, and what is
/// as repetitive as text.
pub(super) const DEFAULT: [&str; 24] = [
    "text/*",
    "application/*+json",
    "application/*+xml",
    "application/javascript",
    "application/json",
    "application/json5",
    "application/json-seq",
    "application/graphql",
    "application/rtf",
    "application/sql",
    "application/toml",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-sh",
    "application/xml",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    "image/x-icon",
    "model/gltf+json",
];

/// Never compressed by `text/*`: its readers wait for each event, and what is compressed may wait in them.
const EVENTS: &[u8] = b"text/event-stream";

impl MediaPattern {
    /// Reads a pattern, whatever its case; `None` for what is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (kind, subtype) = text.split_once('/')?;
        let is_name = |name: &str| weir_wire::http1::is_token(name.as_bytes()) && !name.contains('*');
        let subtype = match subtype.strip_prefix('*') {
            Some("") => Subtype::Any,
            Some(suffix) if suffix.len() > 1 && suffix.starts_with('+') && is_name(suffix) => {
                Subtype::Suffix(suffix.into())
            }
            None if is_name(subtype) => Subtype::Exact(subtype.into()),
            Some(_) | None => return None,
        };
        is_name(kind).then(|| Self { kind: kind.into(), subtype })
    }

    /// Whether a `Content-Type` without its parameters is meant.
    pub(super) fn covers(&self, media: &[u8]) -> bool {
        let Some(slash) = memchr::memchr(b'/', media) else { return false };
        let (kind, subtype) = (&media[..slash], &media[slash + 1..]);
        kind.eq_ignore_ascii_case(self.kind.as_bytes())
            && match &self.subtype {
                Subtype::Any => !media.eq_ignore_ascii_case(EVENTS),
                Subtype::Exact(own) => subtype.eq_ignore_ascii_case(own.as_bytes()),
                Subtype::Suffix(suffix) => subtype
                    .len()
                    .checked_sub(suffix.len())
                    .is_some_and(|at| subtype[at..].eq_ignore_ascii_case(suffix.as_bytes())),
            }
    }
}

impl std::fmt::Display for MediaPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.subtype {
            Subtype::Any => write!(f, "{}/*", self.kind),
            Subtype::Suffix(suffix) => write!(f, "{}/*{suffix}", self.kind),
            Subtype::Exact(subtype) => write!(f, "{}/{subtype}", self.kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_types_suffixes_and_whole_kinds_but_no_events_unless_named() {
        let cases = [
            ("text/*", "Text/HTML", true),
            ("text/*", "text/event-stream", false),
            ("Text/Event-Stream", "text/event-stream", true),
            ("application/*+json", "application/problem+json", true),
            ("application/*+json", "application/json", false),
            ("application/json", "application/json", true),
            ("application/json", "application/jsonx", false),
            ("text/*", "text", false),
        ];
        for (pattern, media, wanted) in cases {
            assert_eq!(
                MediaPattern::parse(pattern).unwrap().covers(media.as_bytes()),
                wanted,
                "{pattern} {media}"
            );
        }
        for text in
            ["json", "*/*", "text/", "text/x*", "text/*x", "text/*+", "/x", "text/html; charset=utf-8"]
        {
            assert_eq!(MediaPattern::parse(text), None, "{text}");
        }
        assert!(DEFAULT.iter().all(|text| MediaPattern::parse(text).unwrap().to_string() == **text));
    }
}
