use crate::Origin;

macro_rules! codes {
    ($( $(#[doc = $doc:literal])+ $variant:ident = $text:literal, $status:literal, $origin:ident, $title:literal; )+) => {
        /// The one registry of errors that Weir itself answers: the same word in the body's `type`, the
        /// `weir-error` header, logs and metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ErrorCode { $( $(#[doc = $doc])+ $variant, )+ }

        impl ErrorCode {
            /// All codes, in the order of the registry.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// The kebab-case word; stable once released.
            pub const fn as_str(self) -> &'static str { match self { $( Self::$variant => $text, )+ } }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> u16 { match self { $( Self::$variant => $status, )+ } }

            /// Who is at fault.
            pub const fn origin(self) -> Origin { match self { $( Self::$variant => Origin::$origin, )+ } }

            /// One short sentence for people, without a full stop.
            pub const fn title(self) -> &'static str { match self { $( Self::$variant => $title, )+ } }

            /// What it means, for the reference page.
            pub const fn doc(self) -> &'static str { match self { $( Self::$variant => concat!($($doc),+), )+ } }
        }
    };
}

codes! {
    /// The request's bytes are not one unambiguous HTTP/1.1 message; the connection is closed.
    BadRequest = "bad-request", 400, Client, "The request is malformed";
    /// The path climbs above the root or has a backslash, `%00`, an invalid percent-encoding, or a refused `%2F`.
    BadPath = "bad-path", 400, Client, "The request path is not valid";
    /// A request without TLS at a listener with TLS; the connection is closed.
    PlainHttpOnTls = "plain-http-on-tls", 400, Client, "This port speaks HTTPS, and the request came without TLS";
    /// The TLS handshake failed; seen in logs only, `weir_tls_handshake_failures_total` tells why.
    TlsHandshakeFailed = "tls-handshake-failed", 400, Client, "The TLS handshake failed";
    /// The host is another than the one that the TLS handshake was for, and the listener asks clients for certificates.
    MisdirectedRequest = "misdirected-request", 421, Client, "The TLS connection is for another host";
    /// The `Host` field is missing, repeated, empty or not a host name.
    BadHost = "bad-host", 400, Client, "The Host field is not valid";
    /// A `headers` policy denies requests that carry this field, as a trailer too.
    HeaderDenied = "header-denied", 400, Client, "The request carries a field that is not allowed";
    /// An `ip_rules` policy does not let this address through.
    ClientNotAllowed = "client-not-allowed", 403, Client, "This client address is not allowed";
    /// A `websocket_origins` policy does not list this origin.
    OriginNotAllowed = "origin-not-allowed", 403, Client, "This origin is not allowed";
    /// No route matches the request.
    RouteNotFound = "route-not-found", 404, Client, "No route matches the request";
    /// `CONNECT` and `TRACE` are not served.
    MethodNotAllowed = "method-not-allowed", 405, Client, "This method is not served";
    /// The request did not arrive in time.
    RequestTimeout = "request-timeout", 408, Client, "The request did not arrive in time";
    /// The body is larger than `body_limit` allows.
    BodyTooLarge = "body-too-large", 413, Client, "The request body is too large";
    /// The request line is longer than `limits.header_bytes`.
    UriTooLong = "uri-too-long", 414, Client, "The request line is too long";
    /// A WebSocket handshake with a version other than 13.
    UpgradeRequired = "upgrade-required", 426, Client, "Only WebSocket version 13 is served";
    /// The header block is larger than `limits.header_bytes` or `limits.headers`.
    HeadersTooLarge = "headers-too-large", 431, Client, "The request header fields are too large";
    /// The client went away before it was answered; seen in logs and metrics only.
    ClientGone = "client-gone", 499, Client, "The client closed the connection";
    /// A fault of the gateway itself.
    Internal = "internal", 500, Gateway, "The gateway failed";
    /// A transfer coding other than `chunked`.
    UnknownCoding = "unknown-coding", 501, Client, "This transfer coding is not served";
    /// A CONNECT over HTTP/2 names a protocol other than `websocket`.
    UnknownProtocol = "unknown-protocol", 501, Client, "This protocol is not served";
    /// HTTP, but of a version that the listener does not serve.
    UnknownVersion = "unknown-version", 505, Client, "This version of HTTP is not served here";
    /// The endpoint refused the connection or could not be reached.
    ConnectFailed = "connect-failed", 502, Upstream, "The upstream could not be reached";
    /// There is no TLS to the endpoint: its certificate is expired, for another name or from an unknown issuer, or there is no protocol in common.
    UpstreamTlsFailed = "upstream-tls-failed", 502, Upstream, "The TLS connection to the upstream failed";
    /// The endpoint closed the connection before it answered.
    UpstreamClosed = "upstream-closed", 502, Upstream, "The upstream closed the connection before it answered";
    /// The endpoint's answer is not one unambiguous HTTP/1.1 message.
    UpstreamMalformed = "upstream-malformed", 502, Upstream, "The upstream's answer is malformed";
    /// The endpoint's answer to an upgrade does not fit the request.
    UpgradeFailed = "upgrade-failed", 502, Upstream, "The upstream's answer to the upgrade is not valid";
    /// The endpoint closed or stalled in the middle of the body; the response is cut, never completed.
    UpstreamCut = "upstream-cut", 502, Upstream, "The upstream broke off its answer";
    /// No endpoint of the upstream is available.
    NoEndpoint = "no-endpoint", 503, Upstream, "No endpoint of the upstream is available";
    /// Every endpoint is at its cap and the queue is full.
    QueueFull = "queue-full", 503, Gateway, "The upstream's queue is full";
    /// Every endpoint stayed at its cap for the queue's whole timeout.
    QueueTimeout = "queue-timeout", 503, Gateway, "The upstream stayed busy for too long";
    /// The gateway is at its limit of connections or descriptors.
    Overloaded = "overloaded", 503, Gateway, "The gateway is at its limit";
    /// The gateway stopped before the request was over; `timeouts.drain` had passed.
    ShuttingDown = "shutting-down", 503, Gateway, "The gateway is shutting down";
    /// The agent behind the endpoint has no session with this relay.
    AgentOffline = "agent-offline", 503, Upstream, "The agent is offline";
    /// The agent's session ended before the answer.
    AgentLost = "agent-lost", 502, Upstream, "The agent's session ended before the answer";
    /// The agent refused the stream, or could not reach its service.
    AgentRefused = "agent-refused", 502, Upstream, "The agent did not take the request";
    /// A session of this agent is open, and its `on_duplicate` does not allow another.
    AgentConnected = "agent-connected", 409, Client, "This agent is connected already";
    /// Connecting to the endpoint took longer than `connect_timeout`.
    ConnectTimeout = "connect-timeout", 504, Upstream, "The upstream did not accept the connection in time";
    /// The response head took longer than `response_timeout`.
    ResponseTimeout = "response-timeout", 504, Upstream, "The upstream did not answer in time";
    /// The whole request took longer than the route's `timeout` or the caller's `grpc-timeout`.
    TotalTimeout = "total-timeout", 504, Gateway, "The request took longer than it may";
    /// An admin request whose `Host` is not one of the admin address's names.
    AdminHostRefused = "admin-host-refused", 421, Client, "This host name is not served here";
    /// An admin request from a foreign origin.
    AdminOriginRefused = "admin-origin-refused", 403, Client, "Requests from this origin are refused";
    /// An admin request without the bearer token.
    Unauthorized = "unauthorized", 401, Client, "A valid bearer token is required";
    /// An admin request from a source that presented too many wrong tokens within a minute.
    TooManyFailures = "too-many-failures", 429, Client, "Too many wrong tokens came from this address";
    /// An admin request whose body is not what the resource takes.
    InvalidArgument = "invalid-argument", 400, Client, "The request's content is not valid";
    /// The admin address has no such resource.
    NotFound = "not-found", 404, Client, "There is no such resource";
    /// The new configuration has problems; nothing was changed.
    ConfigurationRejected = "configuration-rejected", 422, Operator, "The configuration has problems";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_kebab_case_words() {
        let mut seen = HashSet::new();
        for code in ErrorCode::ALL {
            let text = code.as_str();
            assert!(seen.insert(text), "{text} stands twice");
            assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{text}");
            assert!((400..=599).contains(&code.status()), "{text}");
            assert!(!code.title().ends_with('.'), "{text}");
        }
    }

    /// Goal: the page that people look a code up in knows every code, with what goes with it, and no other.
    #[test]
    fn the_page_of_errors_has_a_row_for_each_code_and_none_for_others() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md"))
            .expect("the page stands in the tree");
        let rows: Vec<Vec<&str>> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .map(|row| row.split(" | ").collect())
            .filter(|row: &Vec<&str>| row.get(1).is_some_and(|status| status.parse::<u16>().is_ok()))
            .collect();
        for code in ErrorCode::ALL {
            let start = format!("{}`", code.as_str());
            let row = rows.iter().find(|row| row[0] == start).unwrap_or_else(|| panic!("no row: {start}"));
            let meaning = row[3].trim_end_matches(" |");
            assert_eq!(row[1], code.status().to_string(), "{start}");
            assert_eq!(row[2], code.origin().as_str(), "{start}");
            assert_eq!(meaning, code.doc().trim(), "{start}");
        }
        assert_eq!(rows.len(), ErrorCode::ALL.len(), "a row is stale or stands twice");
    }
}
