//! `http2`: what bounds connections that speak HTTP/2.

use std::sync::Arc;

use weir_config::{Key, Object, Problems, Section, Shape};
use weir_http::Http2;
use weir_wire::h2_meter::Limits;

/// Smaller windows would have a peer ask for each piece anew; RFC 9113 allows none above 2^31 - 1.
const WINDOW: Shape = Shape::Size { min: 1 << 14, max: (1 << 31) - 1 };

/// How often something may be done before a client is asked to calm down.
const TIMES: Shape = Shape::Integer { min: 1, max: 1_000_000_000 };

pub(super) static HTTP2: Object = Object::new(
    "http2",
    "What bounds connections that speak HTTP/2. But for those of one header block, the limits on frames bound a score that rises with each and is halved every second: 200 lets through a burst of 200, or 100 a second for ever. A client beyond one is sent GOAWAY with ENHANCE_YOUR_CALM and counted in `weir_h2_goaways_total` by the limit's name.",
    &[
        Key::new(
            "streams_max",
            Shape::Integer { min: 1, max: 10_000 },
            "Requests that a client may have open at a time on one connection.",
        )
        .default("100"),
        Key::new(
            "stream_window",
            WINDOW,
            "Bytes of one request's body that may be on their way before the endpoint took them.",
        )
        .default("64KiB"),
        Key::new("connection_window", WINDOW, "The same for all requests of a connection together.")
            .default("1MiB"),
        Key::new(
            "rapid_resets_max",
            TIMES,
            "Requests that a client cancels right after it sent them and before their answer began.",
        )
        .default("200"),
        Key::new("resets_max", TIMES, "Streams that a client cancels, beyond as many that we ended.")
            .default("1000"),
        Key::new(
            "forced_resets_max",
            TIMES,
            "Streams that had to be reset because of the client's faults; halved about once a minute.",
        )
        .default("100"),
        Key::new("refused_streams_max", TIMES, "Streams opened beyond `streams_max`.").default("100"),
        Key::new("pings_max", TIMES, "PING frames with no answer of ours between them.").default("100"),
        Key::new("settings_max", TIMES, "SETTINGS frames.").default("50"),
        Key::new("priorities_max", TIMES, "PRIORITY frames beyond ten for each stream.").default("100"),
        Key::new("unknown_frames_max", TIMES, "Frames of unknown kinds beyond ten for each stream.")
            .default("100"),
        Key::new(
            "empty_data_max",
            TIMES,
            "DATA frames without data that do not end their stream, beyond as many with data.",
        )
        .default("100"),
        Key::new(
            "window_updates_max",
            TIMES,
            "WINDOW_UPDATE frames beyond 20 for each DATA frame of ours and for each stream.",
        )
        .default("500"),
        Key::new("window_drips_max", TIMES, "WINDOW_UPDATE frames that grant less than 32 bytes.")
            .default("2000"),
        Key::new("continuations_max", TIMES, "CONTINUATION frames of one header block.").default("8"),
        Key::new(
            "small_continuations_max",
            TIMES,
            "CONTINUATION frames of less than 1 KiB that do not end their block.",
        )
        .default("20"),
        Key::new(
            "header_block_bytes_max",
            Shape::Size { min: 1 << 10, max: 1 << 24 },
            "Bytes of one header block as sent; twice `limits.header_bytes` by default, and what is between the two is answered 431.",
        ),
        Key::new(
            "unread_acks_max",
            TIMES,
            "PING and SETTINGS frames whose acknowledgements the client does not read.",
        )
        .default("1000"),
    ],
);

pub(super) fn decode(root: &Section, problems: &Problems) -> Http2 {
    let header_bytes = super::bounds::header_bytes(root);
    let header_block_bytes_max = u32::try_from(header_bytes.saturating_mul(2)).unwrap_or(u32::MAX);
    let Some(section) = root.object("http2", &HTTP2, problems) else {
        let meter = Arc::new(Limits { header_block_bytes_max, ..Limits::default() });
        return Http2 { meter, ..Http2::default() };
    };
    let bytes = |name| section.opt_size(name).map(|size| u32::try_from(size.bytes()).unwrap_or(u32::MAX));
    let limits = Limits {
        rapid_resets_max: section.integer("rapid_resets_max"),
        resets_max: section.integer("resets_max"),
        forced_resets_max: section.integer("forced_resets_max"),
        refused_streams_max: section.integer("refused_streams_max"),
        pings_max: section.integer("pings_max"),
        settings_max: section.integer("settings_max"),
        priorities_max: section.integer("priorities_max"),
        unknown_frames_max: section.integer("unknown_frames_max"),
        empty_data_max: section.integer("empty_data_max"),
        window_updates_max: section.integer("window_updates_max"),
        window_drips_max: section.integer("window_drips_max"),
        continuations_max: section.integer("continuations_max"),
        small_continuations_max: section.integer("small_continuations_max"),
        header_block_bytes_max: bytes("header_block_bytes_max").unwrap_or(header_block_bytes_max),
        unread_acks_max: section.integer("unread_acks_max"),
    };
    let window = |name| u32::try_from(section.size(name).bytes()).unwrap_or(u32::MAX);
    Http2 {
        streams_max: section.integer("streams_max"),
        stream_window: window("stream_window"),
        connection_window: window("connection_window"),
        meter: Arc::new(limits),
    }
}
