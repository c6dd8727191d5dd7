//! WebSocket to endpoints that speak HTTP/2: extended CONNECT (RFC 8441), to another gateway and to raw servers.

use weir_testkit::h2::{H2Event, H2Origin};
use weir_testkit::{After, Gateway, Origin, Problem, RawClient, behaviour, wait, websocket};

use crate::Config;

/// A gateway that passes everything to this one over HTTP/2.
fn before(gateway: &Gateway) -> Gateway {
    Config::to([gateway.addr("web")]).upstream("http: \"2\"").start()
}

fn upgraded(gateway: &Gateway) -> RawClient {
    let mut client = gateway.connect();
    client.send(websocket::handshake("t", "/ws"));
    let (status, head) = client.head();
    assert_eq!(status, 101, "{head:?}");
    let accept = websocket::accept_of(websocket::KEY);
    assert_eq!(head.fields.get("sec-websocket-accept"), Some(accept.as_str()));
    client
}

#[test]
fn websocket_passes_over_http2_whatever_stands_before_and_behind() {
    let origin = Origin::start(behaviour::websocket_echo);
    let last = Config::to([origin.addr()]).start();
    // The middle one has HTTP/2 on both sides.
    let middle = before(&last);
    for gateway in [before(&last), before(&middle)] {
        let mut client = upgraded(&gateway);
        for bytes in [b"\x81\x05hello".as_slice(), b"\0\r\n\xff", &[7; 300_000]] {
            client.send(bytes);
            assert!(client.exactly(bytes.len()).unwrap() == bytes);
        }
        client.half_close();
        assert!(client.rest().unwrap().is_empty());
        let line = gateway.access_line("/ws");
        assert_eq!((&line["http_status"], &line["bytes_in"]), (&101.into(), &300_011.into()), "{line}");
        wait::until("the stream to end", || {
            (gateway.metrics().sum("weir_upstream_h2_streams", &[]) == 0.0).then_some(())
        });
    }
    let seen = origin.requests();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|request| request.field("sec-websocket-key") != Some(websocket::KEY)));
}

#[test]
fn a_handshake_that_is_refused_is_answered_as_it_was() {
    let origin = Origin::start(|_, connection| {
        connection.respond(403, &[], "no");
        After::KeepOpen
    });
    let last = Config::to([origin.addr()]).start();
    let gateway = before(&last);
    let mut client = gateway.connect();
    client.send(websocket::handshake("t", "/ws"));
    let response = client.response();
    assert_eq!((response.status, response.text().as_ref()), (403, "no"));
}

#[test]
fn a_server_that_does_not_announce_it_is_not_asked() {
    let origin = H2Origin::start(&[], |peer, event| {
        if let H2Event::Headers { stream, end: true } = event {
            peer.answer(stream, b"ok");
        }
    });
    let gateway = Config::to([origin.addr()]).upstream("http: \"2\"").start();
    let mut client = gateway.connect();
    client.send(websocket::handshake("t", "/ws"));
    Problem::expect(&client.response(), 502, "upgrade-failed");
    // Another protocol is nothing that HTTP/2 could switch to.
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n");
    Problem::expect(&client.response(), 502, "upgrade-failed");
    assert_eq!(gateway.get("/").text(), "ok");
}
