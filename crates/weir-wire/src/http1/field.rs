macro_rules! known {
    ($( $variant:ident = $text:literal ),+ $(,)?) => {
        /// A field name that the gateway itself reads, writes or removes; all others are [`Known::Other`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)] // Each variant is the field's name.
        pub enum Known { Other, $( $variant, )+ }

        impl Known {
            /// The name in lower case; empty for [`Known::Other`].
            pub const fn as_str(self) -> &'static str {
                match self { Self::Other => "", $( Self::$variant => $text, )+ }
            }

            const ALL: &'static [(&'static str, Self)] = &[ $( ($text, Self::$variant), )+ ];
        }
    };
}

known! {
    Accept = "accept",
    AltSvc = "alt-svc",
    Authorization = "authorization",
    Connection = "connection",
    ContentEncoding = "content-encoding",
    ContentLength = "content-length",
    ContentRange = "content-range",
    ContentType = "content-type",
    Cookie = "cookie",
    Date = "date",
    Expect = "expect",
    Forwarded = "forwarded",
    Host = "host",
    Http2Settings = "http2-settings",
    KeepAlive = "keep-alive",
    Location = "location",
    MaxForwards = "max-forwards",
    Origin = "origin",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    ProxyConnection = "proxy-connection",
    SecWebSocketAccept = "sec-websocket-accept",
    SecWebSocketKey = "sec-websocket-key",
    SecWebSocketVersion = "sec-websocket-version",
    Server = "server",
    SetCookie = "set-cookie",
    Te = "te",
    Traceparent = "traceparent",
    Tracestate = "tracestate",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    UserAgent = "user-agent",
    WeirError = "weir-error",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port",
    XForwardedProto = "x-forwarded-proto",
    XRealIp = "x-real-ip",
    XRequestId = "x-request-id",
}

const NAME_MAX: usize = 24;

/// For each length, where its names stand in [`SORTED`].
const BY_LENGTH: [(u8, u8); NAME_MAX + 1] = {
    let mut index = [(0u8, 0u8); NAME_MAX + 1];
    let mut length = 0;
    let mut position = 0u8;
    while length <= NAME_MAX {
        let start = position;
        let mut i = 0;
        while i < Known::ALL.len() {
            if Known::ALL[i].0.len() == length {
                position += 1;
            }
            i += 1;
        }
        index[length] = (start, position);
        length += 1;
    }
    index
};

/// The known names by length, each with its [`fold`].
const SORTED: [(Folded, Known); Known::ALL.len()] = {
    let mut sorted = [([0; 3], Known::Other); Known::ALL.len()];
    let mut length = 0;
    let mut position = 0;
    while length <= NAME_MAX {
        let mut i = 0;
        while i < Known::ALL.len() {
            let (text, known) = Known::ALL[i];
            if text.len() == length {
                sorted[position] = (fold(text.as_bytes()), known);
                position += 1;
            }
            i += 1;
        }
        length += 1;
    }
    assert!(position == sorted.len(), "NAME_MAX is shorter than a known name");
    sorted
};

/// A name without case: its last eight bytes, its first eight and the eight behind those, as far as it has them.
type Folded = [u64; 3];

/// Sets the bit that tells lower from upper case. Of the bytes that a token may have, only the two cases of a letter
/// become one of the letters, digits and hyphens that known names are made of.
const LOWER: u64 = 0x2020_2020_2020_2020;

/// Up to eight bytes from `at` as a word, without case.
const fn word(name: &[u8], at: usize) -> u64 {
    let mut word = 0;
    let mut i = at;
    while i < name.len() && i < at + 8 {
        word = word << 8 | name[i] as u64;
        i += 1;
    }
    word | LOWER
}

const fn fold(name: &[u8]) -> Folded {
    let last = word(name, name.len().saturating_sub(8));
    let first = if name.len() > 8 { word(name, 0) } else { 0 };
    let second = if name.len() > 16 { word(name, 8) } else { 0 };
    [last, first, second]
}

/// [`fold`], with whole words read at once.
#[inline]
fn fold_quickly(name: &[u8]) -> Folded {
    let load = |chunk: &[u8; 8]| u64::from_be_bytes(*chunk) | LOWER;
    match (name.last_chunk::<8>(), name.first_chunk::<8>()) {
        (Some(last), Some(_)) if name.len() == 8 => [load(last), 0, 0],
        (Some(last), Some(first)) if name.len() <= 16 => [load(last), load(first), 0],
        (Some(last), Some(first)) => [load(last), load(first), name[8..].first_chunk::<8>().map_or(0, load)],
        _ => fold(name),
    }
}

impl Known {
    /// Which known name this token is, whatever its case.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        if name.len() > NAME_MAX {
            return Self::Other;
        }
        let (start, end) = BY_LENGTH[name.len()];
        let folded = fold_quickly(name);
        let same_length = &SORTED[start as usize..end as usize];
        same_length.iter().find(|(known, _)| *known == folded).map_or(Self::Other, |(_, known)| *known)
    }

    /// All known names.
    #[cfg(test)]
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|(name, _)| *name)
    }

    /// The known name that `name` would be if its underscores and dots were hyphens, where it is not that name itself.
    ///
    /// CGI and WSGI servers fold `X_Real_IP` and `X-Real-IP` into one variable, so a twin would speak for the gateway.
    pub fn twin_of(name: &[u8]) -> Option<Self> {
        if name.len() > NAME_MAX || !name.iter().any(|b| matches!(b, b'_' | b'.')) {
            return None;
        }
        let mut folded = [0u8; NAME_MAX];
        for (to, from) in folded.iter_mut().zip(name) {
            *to = if matches!(from, b'_' | b'.') { b'-' } else { *from };
        }
        Some(Self::of(&folded[..name.len()])).filter(|known| *known != Self::Other)
    }

    /// A bit for each name that [`is_hop_by_hop`](Self::is_hop_by_hop).
    pub(super) const HOP_BY_HOP: u64 = {
        let mut bits = 0;
        let mut i = 0;
        while i < Self::ALL.len() {
            assert!((Self::ALL[i].1 as u8) < 64, "a word has a bit for each known name");
            if Self::ALL[i].1.is_hop_by_hop() {
                bits |= 1 << Self::ALL[i].1 as u8;
            }
            i += 1;
        }
        bits
    };

    /// Whether the field belongs to one connection and is never forwarded (RFC 9110 section 7.6.1).
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
                | Self::Http2Settings
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for (text, known) in Known::ALL {
            assert_eq!(Known::of(text.as_bytes()), *known);
            assert_eq!(Known::of(text.to_ascii_uppercase().as_bytes()), *known);
            assert_eq!(known.as_str(), *text);
        }
        for other in ["", "hos", "hosts", "x-team", "content_length", "a-name-longer-than-every-known-one"] {
            assert_eq!(Known::of(other.as_bytes()), Known::Other, "{other}");
        }
    }

    #[test]
    fn a_name_that_differs_in_one_byte_is_another() {
        for (text, known) in Known::ALL {
            for place in 0..text.len() {
                for other in (0x21..0x7f).filter(|b| crate::http1::is_token(&[*b])) {
                    let mut name = text.as_bytes().to_vec();
                    name[place] = other;
                    let same = name.eq_ignore_ascii_case(text.as_bytes());
                    assert_eq!(Known::of(&name) == *known, same, "{}", String::from_utf8_lossy(&name));
                }
            }
        }
    }

    #[test]
    fn underscore_and_dot_twins_are_seen() {
        assert_eq!(Known::twin_of(b"X_Real_IP"), Some(Known::XRealIp));
        assert_eq!(Known::twin_of(b"x-forwarded.for"), Some(Known::XForwardedFor));
        assert_eq!(Known::twin_of(b"x-real-ip"), None);
        assert_eq!(Known::twin_of(b"my_name"), None);
    }
}
