//! Which fields may stand in a trailer section.

/// Fields that a reader acts on before it reads the body, or that the gateway vouches for (RFC 9110 section 6.5.1).
/// A reader that merged them into the head would believe what nobody has judged.
const REFUSED: &[&str] = &[
    // Framing and the connection.
    "connection",
    "content-length",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // Routing, and what the request asks for.
    "cache-control",
    "expect",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    // Who is asking.
    "authorization",
    "cookie",
    "proxy-authenticate",
    "proxy-authorization",
    "set-cookie",
    "www-authenticate",
    // How the answer is to be used.
    "age",
    "alt-svc",
    "content-encoding",
    "content-range",
    "content-type",
    "date",
    "expires",
    "location",
    "retry-after",
    "vary",
    "warning",
    // What the gateway writes.
    "forwarded",
    "traceparent",
    "tracestate",
    "weir-error",
    "x-real-ip",
    "x-request-id",
];

/// Refused with whatever follows them.
const REFUSED_PREFIXES: &[&str] = &["sec-websocket-", "x-forwarded-"];

/// Whether a field of this name may be passed on in a trailer section. Names that a CGI server could not tell from a
/// refused one (`x_real_ip`) are refused too.
pub(super) fn may_be_trailer(name: &[u8]) -> bool {
    let is = |refused: &str| {
        name.len() == refused.len() && name.iter().zip(refused.as_bytes()).all(|(a, b)| fold(*a) == *b)
    };
    let starts_with = |prefix: &str| {
        name.len() >= prefix.len() && name.iter().zip(prefix.as_bytes()).all(|(a, b)| fold(*a) == *b)
    };
    !REFUSED.iter().any(|refused| is(refused)) && !REFUSED_PREFIXES.iter().any(|prefix| starts_with(prefix))
}

fn fold(byte: u8) -> u8 {
    if matches!(byte, b'_' | b'.') { b'-' } else { byte.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::may_be_trailer;
    use crate::http1::Known;

    #[test]
    fn what_is_acted_on_before_the_body_is_no_trailer_however_it_is_written() {
        for name in [
            "Host",
            "CONTENT-LENGTH",
            "Transfer_Encoding",
            "transfer.encoding",
            "X-Forwarded-For",
            "x_forwarded_user",
            "Authorization",
            "Sec-WebSocket-Key",
            "If-None-Match",
            "Set-Cookie",
            "x-real.ip",
        ] {
            assert!(!may_be_trailer(name.as_bytes()), "{name}");
        }
        for name in [
            "X-Sum",
            "Digest",
            "Server-Timing",
            "Grpc-Status",
            "grpc-message",
            "ETag",
            "x-forwarded",
            "hosts",
        ] {
            assert!(may_be_trailer(name.as_bytes()), "{name}");
        }
    }

    /// Goal: a field that the gateway learns to read or write is not forgotten here.
    #[test]
    fn of_the_known_fields_only_harmless_ones_may_be_trailers() {
        let may: Vec<_> = Known::names().filter(|name| may_be_trailer(name.as_bytes())).collect();
        assert_eq!(may, ["accept", "server", "user-agent"]);
    }
}
