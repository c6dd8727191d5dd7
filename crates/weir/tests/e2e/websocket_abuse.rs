//! WebSocket from hostile clients and servers: the gateway relays frames and holds none of them.

use std::time::Duration;

use weir_testkit::{After, Gateway, Origin, RawClient, behaviour, wait, websocket};

use crate::Config;

fn upgraded(mut client: RawClient) -> RawClient {
    client.send(websocket::handshake("t", "/ws"));
    assert_eq!(client.head().0, 101);
    client
}

/// Takes frames and never answers.
fn swallowing() -> Origin {
    Origin::start(|request, connection| {
        let Some(key) = request.field("sec-websocket-key") else {
            connection.respond(200, &[], "ok");
            return After::KeepOpen;
        };
        let _ = connection.write(websocket::accepted(key));
        connection.wait_for_close();
        After::Close
    })
}

fn flat(gateway: &Gateway, rss_kib: u64) {
    let grown = gateway.rss_kib().saturating_sub(rss_kib);
    assert!(grown < 8 << 10, "grew by {grown} KiB");
    assert_eq!(gateway.get("/fine").status, 200);
}

#[test]
fn a_million_fragments_of_one_byte_pass_and_cost_no_memory() {
    let origin = Origin::start(behaviour::websocket_echo);
    let gateway = Config::to([origin.addr()]).start();
    let mut client = upgraded(gateway.connect());
    let rss = gateway.rss_kib();
    let fragments = b"\x00\x81abcdx".repeat(10_000);
    client.send(b"\x01\x81abcdx");
    assert_eq!(client.exactly(7).unwrap(), b"\x01\x81abcdx");
    for _ in 0..100 {
        client.send(&fragments);
        assert!(client.exactly(fragments.len()).unwrap() == fragments);
    }
    flat(&gateway, rss);
}

#[test]
fn pings_whose_pongs_are_not_read_are_held_back() {
    let origin = Origin::start(behaviour::websocket_echo);
    let gateway = Config::to([origin.addr()]).start();
    let rss = gateway.rss_kib();
    let mut client = upgraded(RawClient::connect_narrow(gateway.addr("web")));
    // What no one reads fills the sockets on the way, and no buffer of the gateway's beyond them.
    let taken = client.send_until_held(Duration::from_millis(500), 1 << 30);
    assert!(taken < 256 << 20, "{taken} bytes are somewhere");
    flat(&gateway, rss);
}

/// A frame that says it has 2^63 bytes, one that is not masked, a ping of more than 125: the server's to judge, and not
/// waited for by us.
#[test]
fn frames_that_lie_pass_as_they_are_and_are_not_waited_for() {
    let origin = Origin::start(behaviour::websocket_echo);
    let gateway = Config::to([origin.addr()]).start();
    let rss = gateway.rss_kib();
    let mut client = upgraded(gateway.connect());
    for bytes in [
        &b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00abcdstart"[..],
        b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcdstart",
        b"\x81\x05hello",
        b"\x89\xfe\x00\x7eabcd",
        b"\xf1\x80abcd",
    ] {
        client.send(bytes);
        assert_eq!(client.exactly(bytes.len()).unwrap(), bytes);
    }
    flat(&gateway, rss);
}

#[test]
fn a_handshake_byte_by_byte_ends_with_the_patience_for_heads() {
    let origin = swallowing();
    let gateway = Config::to([origin.addr()]).top("timeouts: { request_head: 1s }").start();
    let mut client = gateway.connect();
    let handshake = websocket::handshake("t", "/ws");
    let is_over = handshake
        .as_bytes()
        .chunks(1)
        .any(|byte| client.try_send(byte).is_err() || !client.is_quiet_for(Duration::from_millis(50)));
    assert!(is_over, "the whole handshake was waited for");
    assert_eq!(origin.request_count(), 0);
    assert_eq!(gateway.get("/fine").status, 200);
}

/// The server speaks before it has agreed: nothing of it is a frame, and nothing of it reaches the client as one.
#[test]
fn data_before_the_101_is_no_answer() {
    for early in ["\u{1}\u{1}x", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\u{1}\u{1}x"] {
        let origin = Origin::start(behaviour::raw(early, After::Close));
        let gateway = Config::to([origin.addr()]).start();
        let mut client = gateway.connect();
        client.send(websocket::handshake("t", "/ws"));
        let response = client.response();
        assert!([200, 502].contains(&response.status), "{response:?}");
        assert!(!response.body.ends_with(b"\x01\x01x"), "{response:?}");
    }
}

#[test]
fn an_upstream_that_floods_a_client_that_does_not_read_is_held_back() {
    let origin = Origin::start(|request, connection| {
        let Some(key) = request.field("sec-websocket-key") else {
            connection.respond(200, &[], "ok");
            return After::KeepOpen;
        };
        let _ = connection.write(websocket::accepted(key));
        let pings = b"\x89\x00".repeat(1 << 15);
        while connection.write(&pings).is_ok() {}
        After::Close
    });
    let gateway = Config::to([origin.addr()]).start();
    let rss = gateway.rss_kib();
    let client = upgraded(RawClient::connect_narrow(gateway.addr("web")));
    let before = gateway.cpu_time();
    assert_eq!(gateway.get("/fine").status, 200);
    flat(&gateway, rss);
    let spent = gateway.cpu_time() - before;
    assert!(spent < Duration::from_secs(1), "{spent:?} of CPU while nothing moves");
    client.reset();
    wait::until_true("the upstream to be let go", || origin.open_count() <= 4);
}

/// A tunnel in which nothing is said ends; a ping of the client's is a word.
#[test]
fn a_silent_tunnel_ends_and_a_ping_keeps_it() {
    let origin = swallowing();
    let gateway = Config::to([origin.addr()]).top("timeouts: { upgrade_idle: 1s }").start();
    let mut spoken = upgraded(gateway.connect());
    let mut silent = upgraded(gateway.connect());
    let mut is_over = false;
    for _ in 0..8 {
        spoken.send(b"\x89\x80abcd");
        is_over |= !silent.is_quiet_for(Duration::from_millis(300));
    }
    assert!(is_over, "the silent one is still open");
    assert!(spoken.is_quiet_for(Duration::from_millis(10)), "the spoken one was closed");
}
