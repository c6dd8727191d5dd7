//! WebSocket and other upgrades: checked on both sides, then a raw relay.

use std::time::Duration;

use weir_testkit::{After, Gate, Origin, Problem, RawClient, behaviour, wait, websocket};

use crate::Config;

/// A client whose handshake was answered with 101.
fn upgraded(gateway: &weir_testkit::Gateway) -> RawClient {
    let mut client = gateway.connect();
    client.send(websocket::handshake("t", "/ws"));
    let (status, head) = client.head();
    assert_eq!(status, 101, "{head:?}");
    let accept = websocket::accept_of(websocket::KEY);
    assert_eq!(head.fields.get("sec-websocket-accept"), Some(accept.as_str()));
    assert_eq!(head.fields.get("upgrade").map(str::to_lowercase).as_deref(), Some("websocket"));
    assert_eq!(head.fields.get("connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
    client
}

#[test]
fn bytes_pass_both_ways_after_the_handshake() {
    let origin = Origin::start(behaviour::websocket_echo);
    let gateway = Config::to([origin.addr()]).start();
    let mut client = upgraded(&gateway);
    // After 101 nothing is HTTP any more, whatever it looks like.
    for bytes in [b"\x81\x05hello".as_slice(), b"GET / HTTP/1.1\r\n\r\n", b"\0\r\n\xff", &[7; 200_000]] {
        client.send(bytes);
        assert!(client.exactly(bytes.len()).unwrap() == bytes);
    }
    let seen = origin.only_request();
    assert_eq!(seen.field("upgrade").map(str::to_lowercase).as_deref(), Some("websocket"));
    assert_eq!(seen.field("connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
    assert_eq!(seen.field("sec-websocket-key"), Some(websocket::KEY));
}

/// Goal: the line counts what was said after the handshake, not the heads.
#[test]
fn the_access_line_of_an_upgrade_counts_the_bytes_behind_the_heads() {
    let origin = Origin::start(behaviour::websocket_echo);
    let gateway = Config::to([origin.addr()]).start();
    let mut client = upgraded(&gateway);
    client.send(b"12345");
    assert_eq!(client.exactly(5).unwrap(), b"12345");
    client.half_close();
    assert!(client.rest().unwrap().is_empty());
    let line = gateway.access_line("/ws");
    assert_eq!(
        (&line["http_status"], &line["bytes_in"], &line["bytes_out"]),
        (&101.into(), &5.into(), &5.into())
    );
}

#[test]
fn bytes_sent_with_the_handshake_wait_for_the_101() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start_on_head(move |request, connection| {
        connection.patience(Duration::from_millis(300));
        let early = connection.read_some();
        held.open();
        let key = request.field("sec-websocket-key").unwrap_or_default().to_owned();
        let _ = connection.write(websocket::accepted(&key));
        connection.patience(wait::PATIENCE);
        let after = connection.read_some().unwrap_or_default();
        let early = early.map_or(0, |bytes| bytes.len());
        let _ = connection.write(format!("early {early}, then {}", String::from_utf8_lossy(&after)));
        After::Close
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send(websocket::handshake("t", "/ws") + "impatient");
    gate.wait();
    assert_eq!(client.head().0, 101);
    assert_eq!(client.rest().unwrap(), b"early 0, then impatient");
}

#[test]
fn a_refused_upgrade_is_an_ordinary_answer_and_later_bytes_are_a_request() {
    let origin = Origin::start(|request, connection| {
        let status = if request.target == "/ws" { 403 } else { 200 };
        connection.respond(status, &[], &request.target);
        After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send(websocket::handshake("t", "/ws") + "GET /next HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.response().status, 403);
    // Closing instead is sound as well: what never happens is that these bytes travel unparsed.
    if let Ok(next) = client.read_response("GET") {
        assert_eq!((next.status, next.text().as_str()), (200, "/next"));
    }
}

#[test]
fn a_version_other_than_13_is_answered_426() {
    let origin = Origin::start(behaviour::websocket_echo);
    let gateway = Config::to([origin.addr()]).start();
    for version in ["8", "14", "x", ""] {
        let mut client = gateway.connect();
        let handshake =
            websocket::handshake("t", "/ws").replace("Version: 13", &format!("Version: {version}"));
        client.send(handshake);
        let response = client.response();
        Problem::expect(&response, 426, "upgrade-required");
        assert_eq!(response.field("sec-websocket-version"), Some("13"));
    }
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn a_handshake_without_a_proper_key_is_refused() {
    let origin = Origin::start(behaviour::websocket_echo);
    let gateway = Config::to([origin.addr()]).start();
    let good = websocket::handshake("t", "/ws");
    let key = format!("Sec-WebSocket-Key: {}\r\n", websocket::KEY);
    for bad in ["", "Sec-WebSocket-Key: short\r\n", "Sec-WebSocket-Key:\r\n", &format!("{key}{key}")] {
        let mut client = gateway.connect();
        client.send(good.replace(&key, bad));
        assert_eq!(client.response().status, 400, "{bad:?}");
    }
    let mut client = gateway.connect();
    client.send(good.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"));
    assert!([400, 405, 426].contains(&client.response().status), "a handshake is a GET");
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn a_wrong_accept_or_protocol_from_the_upstream_is_502() {
    let accept = websocket::accept_of(websocket::KEY);
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n";
    for answer in [
        format!("{upgrade}Upgrade: websocket\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"),
        format!("{upgrade}Upgrade: websocket\r\n\r\n"),
        format!("{upgrade}Upgrade: h2c\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"),
        format!("{upgrade}Sec-WebSocket-Accept: {accept}\r\n\r\n"),
    ] {
        let origin = Origin::start(behaviour::raw(answer.clone() + "raw bytes", After::Close));
        let gateway = Config::to([origin.addr()]).start();
        let mut client = gateway.connect();
        client.send(websocket::handshake("t", "/ws"));
        let response = client.response();
        assert_eq!(response.field("weir-error"), Some("upgrade-failed"), "{answer}\n{response:?}");
        Problem::expect(&response, 502, "upgrade-failed");
    }
}

#[test]
fn each_direction_may_end_before_the_other() {
    let origin = Origin::start(|request, connection| {
        let _ = connection.write(websocket::accepted(request.field("sec-websocket-key").unwrap_or_default()));
        let mut count = 0;
        while let Ok(bytes) = connection.read_some() {
            if bytes.is_empty() {
                break;
            }
            count += bytes.len();
        }
        let _ = connection.write(format!("{count} bytes, then the end; "));
        let _ = connection.write(vec![b'.'; 2_000_000]);
        After::Close
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = upgraded(&gateway);
    client.send(vec![1; 100_000]);
    client.half_close();
    let rest = client.rest().unwrap();
    assert!(rest.starts_with(b"100000 bytes, then the end; "), "{}", rest[..40].escape_ascii());
    assert_eq!(rest.len(), 28 + 2_000_000);
}

#[test]
fn the_upstreams_end_leaves_the_clients_direction_open() {
    let received = Gate::new();
    let seen = received.clone();
    let origin = Origin::start(move |request, connection| {
        let _ = connection.write(websocket::accepted(request.field("sec-websocket-key").unwrap_or_default()));
        let _ = connection.write("bye");
        connection.half_close();
        let mut late = Vec::new();
        while let Ok(bytes) = connection.read_some() {
            if bytes.is_empty() {
                break;
            }
            late.extend(bytes);
        }
        if late == b"still here" {
            seen.open();
        }
        After::Close
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = upgraded(&gateway);
    assert_eq!(client.rest().unwrap(), b"bye");
    client.send("still here");
    client.half_close();
    let before = std::time::Instant::now();
    received.wait();
    assert!(before.elapsed() < wait::PATIENCE, "the upstream did not get the client's last bytes");
}

#[test]
fn a_client_that_resets_an_upgraded_connection_ends_it_upstream() {
    let origin = Origin::start(behaviour::websocket_echo);
    let gateway = Config::to([origin.addr()]).start();
    let client = upgraded(&gateway);
    client.reset();
    wait::until_true("the upstream side to end", || origin.open_count() == 0);
}

#[test]
fn an_upgraded_connection_that_rests_is_closed_after_its_own_timeout() {
    let origin = Origin::start(behaviour::websocket_echo);
    let gateway = Config::to([origin.addr()])
        .top("timeouts: { upgrade_idle: 500ms, keep_alive: 100ms, body_idle: 100ms }")
        .route("timeout: 200ms")
        .upstream("idle_timeout: 100ms")
        .start();
    let mut client = upgraded(&gateway);
    // Longer in use than each of the other timeouts.
    for _ in 0..10 {
        client.send("x");
        assert_eq!(client.exactly(1).unwrap(), b"x");
        assert!(client.is_quiet_for(Duration::from_millis(60)));
    }
    client.ending();
    wait::until_true("the upstream side to end", || origin.open_count() == 0);
}

#[test]
fn an_upgrade_to_h2c_is_not_passed_on() {
    let origin = Origin::start(behaviour::echo_head);
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send(
        "GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_ne!(client.response().status, 101);
    for request in origin.requests() {
        assert!(
            !request.head.fields.has("upgrade") && !request.head.fields.has("http2-settings"),
            "{request:?}"
        );
    }
}

#[test]
fn an_upgrade_with_a_body_smuggles_nothing() {
    let origin = Origin::start(|request, connection| {
        connection.respond(200, &[], format!("{} {}", request.target, request.body.len()));
        After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n";
    let mut client = gateway.connect();
    let length = format!("\r\nContent-Length: {}\r\n\r\n", hidden.len());
    client.send(websocket::handshake("t", "/ws").replace("\r\n\r\n", &length) + hidden);
    let status = client.response().status;
    assert!([200, 400].contains(&status), "{status}");
    let _ = client.read_response("GET");
    assert!(origin.requests().iter().all(|r| r.target != "/smuggled"));
}

#[test]
fn websocket_origins_lets_only_the_listed_ones_through() {
    let origin = Origin::start(behaviour::websocket_echo);
    let gateway = Config::to([origin.addr()])
        .route("policies: [ { websocket_origins: { allow: [\"https://good.example\"] } } ]")
        .start();
    for (sent, status) in [
        ("Origin: https://good.example\r\n", 101),
        ("Origin: https://evil.example\r\n", 403),
        ("Origin: https://good.example.evil\r\n", 403),
        ("Origin: null\r\n", 403),
    ] {
        let mut client = gateway.connect();
        client.send(websocket::handshake("t", "/ws").replace("\r\n\r\n", &format!("\r\n{sent}\r\n")));
        assert_eq!(client.head().0, status, "{sent}");
    }
    assert_eq!(gateway.get("/plain").status, 200);
}
