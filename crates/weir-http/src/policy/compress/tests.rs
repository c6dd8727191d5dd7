use super::*;
use std::time::Instant;
use weir_wire::http1::HeadLimits;

fn plan() -> CompressPlan {
    CompressPlan {
        codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
        bytes_min: ByteSize::kib(1),
        types: media::DEFAULT.iter().filter_map(|text| MediaPattern::parse(text)).collect(),
        levels: Levels::default(),
        streams_max: 1,
    }
}

/// The status and fields of an answer, and whether its body is encoded.
fn answered(
    policy: &Compress,
    request: &str,
    status: u16,
    length: Option<u64>,
    fields: &[(&str, &str)],
) -> (Vec<String>, bool) {
    let mut exchange = Exchange::new(Instant::now());
    exchange.request.parse(format!("{request}\r\n\r\n").as_bytes(), &HeadLimits::default()).unwrap();
    policy.on_request(&mut exchange).unwrap();
    exchange.response.reset(status);
    exchange.body_length = length;
    for (name, value) in fields {
        exchange.response.fields.append(name.as_bytes(), value.as_bytes());
    }
    policy.on_response(&mut exchange);
    let line = |(_, name, value): (Known, &[u8], &[u8])| {
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    };
    (exchange.response.fields.iter().map(line).collect(), exchange.response_filter.is_some())
}

const GET: &str = "GET / HTTP/1.1\r\nAccept-Encoding: gzip, br";

#[test]
fn an_answer_says_what_became_of_it() {
    let fields = [
        ("Content-Type", "Text/HTML; charset=utf-8"),
        ("Content-Length", "5000"),
        ("Accept-Ranges", "bytes"),
        ("ETag", "\"v1\""),
        ("Vary", "Origin"),
    ];
    for method in ["GET", "HEAD"] {
        let (lines, encoded) =
            answered(&plan().compile(), &GET.replace("GET", method), 200, Some(5000), &fields);
        assert!(encoded);
        let wanted = [
            "Content-Type: Text/HTML; charset=utf-8",
            "Vary: Origin",
            "vary: Accept-Encoding",
            "content-encoding: br",
            "etag: W/\"v1\"",
        ];
        assert_eq!(lines, wanted, "{method}");
    }
}

#[test]
fn who_cannot_decode_gets_vary_and_the_body_as_it_is() {
    for request in [
        "GET / HTTP/1.1",
        "GET / HTTP/1.1\r\nAccept-Encoding: gzip;q=0",
        "GET / HTTP/1.0\r\nAccept-Encoding: gzip",
    ] {
        let fields = [("content-type", "text/css"), ("etag", "\"v1\"")];
        let (lines, encoded) = answered(&plan().compile(), request, 200, None, &fields);
        assert_eq!(lines, ["content-type: text/css", "etag: \"v1\"", "vary: Accept-Encoding"], "{request}");
        assert!(!encoded);
    }
}

type Case<'a> = (u16, Option<u64>, &'a [(&'a str, &'a str)]);

#[test]
fn what_must_not_or_need_not_be_compressed_is_untouched() {
    let html = ("content-type", "text/html");
    let cases: [Case; 15] = [
        (200, Some(1023), &[html]),
        (200, Some(0), &[html]),
        (200, None, &[]),
        (200, None, &[("content-type", "image/png")]),
        (200, None, &[("content-type", "text/event-stream")]),
        (200, None, &[("content-type", "application/grpc")]),
        (200, None, &[html, ("content-encoding", "gzip")]),
        (200, None, &[html, ("cache-control", "public, No-Transform")]),
        (200, None, &[html, ("content-range", "bytes 0-1/2")]),
        (200, None, &[html, ("repr-digest", "sha-256=:AAE=:")]),
        (206, None, &[html]),
        (204, None, &[html]),
        (205, None, &[html]),
        (304, None, &[html, ("etag", "\"v1\"")]),
        (101, None, &[html]),
    ];
    for (status, length, fields) in cases {
        let (lines, encoded) = answered(&plan().compile(), GET, status, length, fields);
        assert!(!encoded && lines.len() == fields.len(), "{status} {fields:?}: {lines:?}");
    }
}

#[test]
fn weak_etags_stay_and_errors_are_compressed_too() {
    let fields = [("content-type", "application/problem+json"), ("etag", "W/\"v1\"")];
    let (lines, encoded) = answered(&plan().compile(), GET, 404, Some(2000), &fields);
    assert!(encoded && lines.contains(&"etag: W/\"v1\"".to_owned()), "{lines:?}");
}

#[test]
fn one_answer_too_many_goes_out_as_it_is() {
    let policy = plan().compile();
    let mut exchanges: Vec<Exchange> = (0..2).map(|_| Exchange::new(Instant::now())).collect();
    for exchange in &mut exchanges {
        exchange.request.parse(format!("{GET}\r\n\r\n").as_bytes(), &HeadLimits::default()).unwrap();
        policy.on_request(exchange).unwrap();
        exchange.response.reset(200);
        exchange.response.fields.append(b"content-type", b"text/html");
        policy.on_response(exchange);
    }
    let encoded: Vec<bool> = exchanges.iter().map(|exchange| exchange.response_filter.is_some()).collect();
    let refused: Vec<bool> = exchanges.iter().map(|exchange| exchange.record.compression_refused).collect();
    assert_eq!((encoded, refused), (vec![true, false], vec![false, true]));
    exchanges[0].response_filter = None;
    policy.on_response(&mut exchanges[1]);
    assert!(exchanges[1].response_filter.is_some());
}
