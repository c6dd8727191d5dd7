//! The two ends of the test bed against each other and against nginx.

use std::time::Duration;

use weir_testkit::{After, Blackhole, Ending, Gate, Nginx, Origin, RawClient, ReadError, Refusing};
use weir_testkit::{RawServer, TcpOrigin, behaviour, curl, wait, websocket, wrk};

#[test]
fn an_echo_returns_the_head_byte_for_byte() {
    let origin = Origin::start(behaviour::echo_head);
    let request = "GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-CaSe:   kept \r\n\r\n";
    let mut client = RawClient::connect(origin.addr());
    client.send_split(request, 1);
    assert_eq!(client.response().text(), request);
    assert!(origin.only_request().head.fields.has_exact_case("X-CaSe"));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|request, connection| {
        connection.respond(200, &[], &request.target);
        After::KeepOpen
    });
    let mut client = RawClient::connect(origin.addr());
    client.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((client.response().text(), client.response().text()), ("/1".into(), "/2".into()));
}

#[test]
fn a_chunked_body_and_its_trailers_are_read_as_they_come() {
    let gate = Gate::new();
    let origin = Origin::start(behaviour::chunked_with_trailer(&gate));
    let mut client = RawClient::connect(origin.addr());
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.head().0, 200);
    assert_eq!(client.chunk().unwrap(), b"first");
    gate.open();
    let (rest, trailers) = client.chunked_body().unwrap();
    assert_eq!((rest.as_slice(), trailers.get("x-sum")), (b"second".as_slice(), Some("42")));
}

#[test]
fn a_cut_body_is_told_from_a_reset_and_from_a_close() {
    let cut = Origin::start(behaviour::dies_mid_body(10, After::Close));
    let mut client = RawClient::connect(cut.addr());
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.read_response("GET").unwrap_err(), ReadError::Cut { body: vec![b'x'; 10] });

    let reset = Origin::start(|_, _| After::Reset);
    let mut client = RawClient::connect(reset.addr());
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.ending(), Ending::Reset);

    let close = Origin::start(|_, _| After::Close);
    let mut client = RawClient::connect(close.addr());
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.read_response("GET").unwrap_err(), ReadError::Closed);
}

#[test]
fn an_origin_notes_what_is_malformed() {
    let mut origin = Origin::start(behaviour::echo_head);
    let mut client = RawClient::connect(origin.addr());
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.ending(), Ending::Closed);
    origin.kill();
    assert_eq!(origin.violations().len(), 1);
    std::mem::forget(origin);
}

#[test]
fn a_websocket_echo_ends_with_the_clients_fin() {
    let origin = Origin::start(behaviour::websocket_echo);
    let mut client = RawClient::connect(origin.addr());
    client.send(websocket::handshake("x", "/ws"));
    let answer = client.response();
    assert_eq!(answer.field("sec-websocket-accept"), Some(websocket::accept_of(websocket::KEY).as_str()));
    client.send("frames");
    client.half_close();
    assert_eq!(client.rest().unwrap(), b"frames");
}

#[test]
fn a_killed_origin_refuses_and_can_come_back_on_its_port() {
    let mut origin = Origin::start(behaviour::fixed(200, "one"));
    let addr = origin.addr();
    let mut client = RawClient::connect(addr);
    assert_eq!(client.get("x", "/").text(), "one");
    origin.kill();
    client.ending();
    assert!(RawClient::try_connect(addr).is_err());
    let _back = Origin::start_at(addr, behaviour::fixed(200, "two"));
    assert_eq!(RawClient::connect(addr).get("x", "/").text(), "two");
}

#[test]
fn a_refusing_address_refuses_and_a_black_hole_does_not_answer() {
    let refusing = Refusing::start();
    let error = RawClient::try_connect(refusing.addr()).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    let hole = Blackhole::start();
    let error = std::net::TcpStream::connect_timeout(&hole.addr(), Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn nginx_serves_the_snippet_to_curl_and_wrk() {
    let nginx = Nginx::start("location / { return 200 'from nginx'; }");
    let url = format!("http://{}/", nginx.addr());
    assert_eq!(curl(&[&url]).stdout, "from nginx");
    let report = wrk(&url, 2, 1).report();
    assert!(report.requests > 100 && report.bad_statuses == 0 && report.socket_errors == 0, "{report:?}");
}

#[test]
fn an_origin_knows_how_many_connections_are_open() {
    let origin = Origin::start(behaviour::echo_head);
    let clients: Vec<_> = (0..3).map(|_| RawClient::connect(origin.addr())).collect();
    wait::until_true("three connections", || origin.open_count() == 3);
    drop(clients);
    wait::until_true("no connection", || origin.open_count() == 0);
    assert_eq!(origin.connection_count(), 3);
}

#[test]
fn a_raw_server_and_a_raw_client_tell_an_end_from_a_reset() {
    let server = RawServer::start();
    let mut client = RawClient::connect(server.addr());
    let mut accepted = server.accept();
    assert_eq!(accepted.peer_addr(), client.local_addr());
    client.send("hello");
    client.half_close();
    assert_eq!(accepted.rest().unwrap(), b"hello");
    accepted.reset();
    assert_eq!(client.ending(), Ending::Reset);
    assert!(server.try_accept().is_none());
}

#[test]
fn a_tcp_origin_echoes_counts_and_dies() {
    let mut origin = TcpOrigin::greeting("hi ");
    let mut client = RawClient::connect(origin.addr());
    client.send("there");
    assert_eq!(client.exactly(8).unwrap(), b"hi there");
    assert_eq!((origin.connection_count(), origin.open_count()), (1, 1));
    origin.stop_listening();
    assert!(RawClient::try_connect(origin.addr()).is_err());
    client.send("!");
    assert_eq!(client.exactly(1).unwrap(), b"!");
    origin.kill();
    client.ending();
}
