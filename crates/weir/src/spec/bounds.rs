//! `timeouts` and `limits`.

use weir_config::{Key, Object, Problems, Section, Shape};
use weir_http::{Limits, Timeouts};
use weir_net::tls::HANDSHAKES_MAX_DEFAULT;

use crate::plan::LimitsPlan;

pub(super) static TIMEOUTS: Object = Object::new(
    "timeouts",
    "How long things may take on the clients' side. None of them can be switched off.",
    &[
        Key::new(
            "request_head",
            Shape::duration(1, 3_600_000),
            "From the first byte of a request to the end of its head.",
        )
        .default("10s"),
        Key::new(
            "keep_alive",
            Shape::duration(1, 86_400_000),
            "How long a connection may wait for its next request.",
        )
        .default("75s"),
        Key::new(
            "body_idle",
            Shape::duration(1, 86_400_000),
            "Longest pause between two pieces of a body, in either direction.",
        )
        .default("60s"),
        Key::new(
            "stream_idle",
            Shape::duration(1, 7 * 86_400_000),
            "The same for event streams and gRPC, in place of `body_idle` and the upstream's `idle_timeout`.",
        )
        .default("5m"),
        Key::new(
            "upgrade_idle",
            Shape::duration(1, 30 * 86_400_000),
            "Longest silence on an upgraded connection such as a WebSocket.",
        )
        .default("1h"),
        Key::new(
            "drain",
            Shape::duration(0, 86_400_000),
            "How long running requests may take to end at shutdown; 0 cuts them at once.",
        )
        .default("30s"),
    ],
);

pub(super) static LIMITS: Object = Object::new(
    "limits",
    "How much clients may use.",
    &[
        Key::new(
            "header_bytes",
            Shape::Size { min: 1 << 10, max: 1 << 20 },
            "The request line and all headers of one request together.",
        )
        .default("64KiB"),
        Key::new("headers", Shape::Integer { min: 8, max: 4_096 }, "Headers of one request.").default("128"),
        Key::new(
            "connections",
            Shape::Integer { min: 1, max: 10_000_000 },
            "Open client connections; what the descriptor limit allows by default.",
        ),
        Key::new(
            "connections_per_ip",
            Shape::Integer { min: 1, max: 10_000_000 },
            "Open connections of one client address, of IPv6 a /64; none by default.",
        ),
        Key::new(
            "tls_handshakes",
            Shape::Integer { min: 1, max: 1_000_000 },
            "TLS handshakes with clients that are under way at a time; the oldest gives way to the newest.",
        )
        .default("1024"),
        Key::new(
            "requests_per_connection",
            Shape::Integer { min: 1, max: i64::MAX },
            "Requests on one connection, after which it is closed; none by default.",
        ),
    ],
);

pub(super) fn timeouts(root: &Section, problems: &Problems) -> Timeouts {
    let Some(section) = root.object("timeouts", &TIMEOUTS, problems) else { return Timeouts::default() };
    Timeouts {
        request_head: section.duration("request_head"),
        keep_alive: section.duration("keep_alive"),
        body_idle: section.duration("body_idle"),
        stream_idle: section.duration("stream_idle"),
        upgrade_idle: section.duration("upgrade_idle"),
        drain: section.duration("drain"),
    }
}

/// `limits.header_bytes`.
pub(super) fn header_bytes(root: &Section) -> usize {
    limits(root, &Problems::new()).base.header_bytes
}

pub(super) fn limits(root: &Section, problems: &Problems) -> LimitsPlan {
    let Some(section) = root.object("limits", &LIMITS, problems) else {
        let tls_handshakes = HANDSHAKES_MAX_DEFAULT;
        return LimitsPlan { base: Limits::default(), connections: None, tls_handshakes };
    };
    let base = Limits {
        header_bytes: usize::try_from(section.size("header_bytes").bytes()).unwrap_or(usize::MAX),
        headers: section.integer("headers"),
        connections_per_ip: section.opt_integer("connections_per_ip"),
        requests_per_connection: section.opt_integer("requests_per_connection"),
        ..Limits::default()
    };
    let tls_handshakes = section.integer("tls_handshakes");
    LimitsPlan { base, connections: section.opt_integer("connections"), tls_handshakes }
}
