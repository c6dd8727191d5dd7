/// An origin as a browser writes it, or a pattern of origins. Exact, so compared byte by byte: browsers write origins
/// in lower case and without the port that the scheme stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// `https://app.example.com`, or `null`.
    Exact(String),
    /// `https://*.example.com`: one label for the star.
    Wildcard {
        /// The scheme with `://`.
        scheme: String,
        /// What stands behind the star, from its dot on, port included.
        rest: String,
    },
}

impl OriginPattern {
    /// Reads an origin, whatever its case.
    ///
    /// # Errors
    ///
    /// What to write instead.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.to_ascii_lowercase();
        if text == "null" {
            return Ok(Self::Exact(text));
        }
        let (scheme, place) =
            text.split_once("://").ok_or("write for example `https://app.example.com`, without a path")?;
        let is_scheme = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
        if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
            return Err("a scheme is letters, digits, `+`, `-` and `.`");
        }
        if place.ends_with('/') {
            return Err("an origin has no path: leave the slash out");
        }
        let (host, port) = split_port(place);
        let is_default = matches!((scheme, port), ("http", Some("80")) | ("https", Some("443")));
        if is_default {
            return Err("browsers leave the port out that the scheme stands for: leave it out here too");
        }
        if !port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == port)) {
            return Err("a port is a number up to 65535");
        }
        if let Some(name) = host.strip_prefix("*.") {
            if !is_host(name) || !name.contains('.') || name.starts_with('[') {
                return Err(
                    "a star stands for one label before a name of two or more: `https://*.example.com`",
                );
            }
            return Ok(Self::Wildcard { scheme: format!("{scheme}://"), rest: place[1..].to_owned() });
        }
        if !is_host(host) {
            return Err("a host is letters, digits, `-`, `_` and `.`, or an IPv6 address in brackets");
        }
        Ok(Self::Exact(text))
    }

    /// Whether this is, or stands for, the origin.
    pub(super) fn covers(&self, origin: &[u8]) -> bool {
        match self {
            Self::Exact(text) => text.as_bytes() == origin,
            Self::Wildcard { scheme, rest } => {
                let label = origin
                    .strip_prefix(scheme.as_bytes())
                    .and_then(|place| place.strip_suffix(rest.as_bytes()));
                let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
                label.is_some_and(|label| !label.is_empty() && label.iter().all(is_part))
            }
        }
    }
}

impl std::fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Wildcard { scheme, rest } => write!(f, "{scheme}*{rest}"),
        }
    }
}

fn split_port(place: &str) -> (&str, Option<&str>) {
    let behind_host = place.rfind(']').map_or(0, |bracket| bracket + 1);
    match place[behind_host..].find(':') {
        Some(colon) => (&place[..behind_host + colon], Some(&place[behind_host + colon + 1..])),
        None => (place, None),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.strip_suffix(']').is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_exactly_and_a_star_is_one_label() {
        let cases: [(&str, &[&str], &[&str]); 5] = [
            (
                "HTTPS://App.Example",
                &["https://app.example"],
                &[
                    "http://app.example",
                    "https://app.example:8443",
                    "https://app.example.",
                    "https://xapp.example",
                    "null",
                ],
            ),
            ("http://[::1]:3000", &["http://[::1]:3000"], &["http://[::1]"]),
            ("null", &["null"], &["https://null", ""]),
            (
                "https://*.example.com",
                &["https://a.example.com", "https://a-b_1.example.com"],
                &[
                    "https://example.com",
                    "https://.example.com",
                    "https://a.b.example.com",
                    "https://evil.com/.example.com",
                    "https://evil.com#.example.com",
                    "https://a.example.com.evil.com",
                    "http://a.example.com",
                    "https://a.example.com:444",
                    "https://aexample.com",
                ],
            ),
            ("https://*.example.com:8443", &["https://a.example.com:8443"], &["https://a.example.com"]),
        ];
        for (pattern, good, bad) in cases {
            let pattern = OriginPattern::parse(pattern).unwrap();
            assert!(good.iter().all(|origin| pattern.covers(origin.as_bytes())), "{pattern}");
            for origin in bad {
                assert!(!pattern.covers(origin.as_bytes()), "{pattern} covers {origin}");
            }
        }
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        for text in [
            "app.example.com",
            "https://",
            "https://a.example/",
            "https://a.example/x",
            "https://a.example:443",
            "http://a.example:80",
            "https://a.example:99999",
            "https://a.example:",
            "https://*.com",
            "https://*",
            "https://a*.example.com",
            "https://a.*.example.com",
            "https://user@a.example",
            "https://a..example",
            "https://[::1",
            "://a.example",
            "*",
        ] {
            assert!(OriginPattern::parse(text).is_err(), "{text}");
        }
    }
}
