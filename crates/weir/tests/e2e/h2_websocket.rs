//! WebSocket over HTTP/2 in front (RFC 8441).

use weir_testkit::h2::{RawH2, code, data, flag, kind, setting};
use weir_testkit::{After, Gateway, Origin, behaviour, wait, websocket};

use crate::Config;

/// What a browser sends to open a WebSocket.
const CONNECT: [(&str, &str); 7] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/ws"),
    (":authority", "t"),
    ("sec-websocket-version", "13"),
    ("origin", "https://app.example"),
];

fn start() -> (Origin, Gateway) {
    let origin = Origin::start(behaviour::websocket_echo);
    let gateway = Config::to([origin.addr()]).start();
    (origin, gateway)
}

/// The next data of a stream.
fn said(client: &mut RawH2, stream: u32) -> Vec<u8> {
    loop {
        let frame = client.frame_of(stream).expect("the stream goes on");
        match frame.kind {
            kind::DATA if !frame.payload.is_empty() => return frame.payload,
            kind::DATA | kind::HEADERS | kind::WINDOW_UPDATE => {}
            kind => panic!("a frame of kind {kind}: {frame:?}"),
        }
    }
}

#[test]
fn a_tunnel_is_offered_and_passes_bytes_both_ways() {
    let (origin, gateway) = start();
    let mut client = RawH2::connect(gateway.addr("web"));
    let settings = client.frame_of(0).unwrap();
    let offered = [&setting::ENABLE_CONNECT_PROTOCOL.to_be_bytes()[..], &1_u32.to_be_bytes()].concat();
    assert!(settings.payload.chunks(6).any(|chunk| chunk == offered), "{settings:?}");
    let fields = [&CONNECT[..], &[("sec-websocket-protocol", "chat"), ("cookie", "a=1")]].concat();
    let stream = client.headers(0, &fields);
    let head = client.frame_of(stream).unwrap();
    assert_eq!(head.fields.get(":status"), Some("200"));
    for name in ["sec-websocket-accept", "connection", "upgrade"] {
        assert!(!head.fields.has(name), "{name}: {head:?}");
    }
    for bytes in [b"\x81\x05hello".as_slice(), b"GET / HTTP/1.1\r\n\r\n", &[7; 30_000]] {
        for piece in bytes.chunks(10_000) {
            client.send(data(stream, 0, piece));
        }
        let mut got = Vec::new();
        while got.len() < bytes.len() {
            got.extend(said(&mut client, stream));
        }
        assert!(got == bytes);
    }
    // Other requests go on beside it.
    assert_eq!(client.get("t", "/").text(), "no upgrade asked for");
    client.send(data(stream, flag::END_STREAM, ""));
    let rest = client.answer(stream);
    assert_eq!((rest.body.len(), rest.reset), (0, None));
    let seen = &origin.requests()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/ws"));
    assert_eq!(seen.field("upgrade"), Some("websocket"));
    assert_eq!(seen.field("sec-websocket-key").map(str::len), Some(24));
    assert_eq!((seen.field("sec-websocket-protocol"), seen.field("cookie")), (Some("chat"), Some("a=1")));
    let line = gateway.access_line("/ws");
    assert_eq!((&line["http_status"], &line["protocol"]), (&200.into(), &"HTTP/2".into()));
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&30_025.into(), &30_025.into()));
}

#[test]
fn an_endpoint_that_does_not_switch_answers_as_ever() {
    let origin = Origin::start(behaviour::fixed(403, "no"));
    let gateway = Config::to([origin.addr()]).start();
    let mut client = RawH2::connect(gateway.addr("web"));
    let stream = client.headers(0, &CONNECT);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
}

#[test]
fn a_length_never_reaches_an_endpoint_that_would_wait_for_a_body() {
    let origin = Origin::start(behaviour::fixed(200, "no"));
    let gateway = Config::to([origin.addr()]).start();
    let mut client = RawH2::connect(gateway.addr("web"));
    for length in ["0", "50"] {
        let fields = [&CONNECT[..], &[("content-length", length)]].concat();
        let stream = client.headers(0, &fields);
        let answer = client.answer(stream);
        assert_eq!((answer.status, answer.field("weir-error")), (400, Some("bad-request")), "{length}");
    }
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn an_endpoint_that_switches_without_the_proof_is_not_believed() {
    let bytes = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\r\n";
    let origin = Origin::start(behaviour::raw(bytes, After::Close));
    let gateway = Config::to([origin.addr()]).start();
    let mut client = RawH2::connect(gateway.addr("web"));
    let stream = client.headers(0, &CONNECT);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.field("weir-error")), (502, Some("upgrade-failed")));
}

#[test]
fn rules_on_origins_and_versions_hold() {
    let origin = Origin::start(behaviour::websocket_echo);
    let policies = "policies: [ { websocket_origins: { allow: [\"https://other.example\"] } } ]";
    let gateway = Config::to([origin.addr()]).route(policies).start();
    let mut client = RawH2::connect(gateway.addr("web"));
    let stream = client.headers(0, &CONNECT);
    assert_eq!(client.answer(stream).status, 403);
    let old = CONNECT.map(|(name, value)| (name, if value == "13" { "12" } else { value }));
    let stream = client.headers(0, &old);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.field("sec-websocket-version")), (426, Some("13")));
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn either_end_that_breaks_off_ends_the_other() {
    let (origin, gateway) = start();
    let mut client = RawH2::connect(gateway.addr("web"));
    let stream = client.headers(0, &CONNECT);
    assert_eq!(client.frame_of(stream).unwrap().fields.get(":status"), Some("200"));
    client.send(weir_testkit::h2::reset(stream, code::CANCEL));
    wait::until_true("the endpoint to be let go", || origin.open_count() == 0);
    let stream = client.headers(0, &CONNECT);
    assert_eq!(client.frame_of(stream).unwrap().fields.get(":status"), Some("200"));
    origin.close_connections();
    let answer = client.answer(stream);
    assert!(answer.reset.is_some() || answer.body.is_empty(), "{answer:?}");
}

#[test]
fn a_tunnel_lives_through_reloads_and_a_stop_says_goodbye_with_1001() {
    let origin = Origin::start(behaviour::websocket_echo);
    let config = Config::to([origin.addr()]).top("timeouts: { drain: 300ms }");
    let mut gateway = config.start();
    let mut client = RawH2::connect(gateway.addr("web"));
    let stream = client.headers(0, &CONNECT);
    assert_eq!(client.frame_of(stream).unwrap().fields.get(":status"), Some("200"));
    let mut plain = gateway.connect();
    plain.send(websocket::handshake("t", "/ws"));
    assert_eq!(plain.head().0, 101);
    for revision in 0..3 {
        let yaml = format!("{}# {revision}\n", config.yaml());
        assert_eq!(gateway.reload(&yaml).status, 200);
        client.send(data(stream, 0, b"\x81\x02hi"));
        assert_eq!(said(&mut client, stream), b"\x81\x02hi");
        plain.send(b"\x81\x02hi");
        assert_eq!(plain.exactly(4).unwrap(), b"\x81\x02hi");
    }
    gateway.ask_to_stop();
    // A close frame without a mask, with the code 1001.
    assert_eq!(said(&mut client, stream), b"\x88\x02\x03\xe9");
    assert_eq!(plain.exactly(4).unwrap(), b"\x88\x02\x03\xe9");
    gateway.exit_status();
}
