//! Each wait for an upstream has its own limit and its own answer.

use std::time::{Duration, Instant};

use weir_testkit::{After, Blackhole, Gate, Origin, Problem, ReadError, behaviour, wait};

use crate::Config;

const ONCE: &str = "retry: { attempts: 1 }";

/// Asserts that `act` takes between `least` and a second more than it, with room for a busy machine.
fn takes<T>(least: Duration, act: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = act();
    let took = started.elapsed();
    assert!(
        took >= least - Duration::from_millis(50) && took < least + Duration::from_secs(4),
        "took {took:?}"
    );
    result
}

#[test]
fn a_connection_that_is_not_made_in_time_is_504() {
    let hole = Blackhole::start();
    let gateway = Config::to([hole.addr()]).upstream("connect_timeout: 300ms").upstream(ONCE).start();
    let response = takes(Duration::from_millis(300), || gateway.get("/"));
    Problem::expect(&response, 504, "connect-timeout");
}

#[test]
fn a_head_that_does_not_come_in_time_is_504_and_its_connection_is_not_used_again() {
    let gate = Gate::new();
    let origin = Origin::start(behaviour::gated(&gate, "late"));
    let gateway = Config::to([origin.addr()]).upstream("response_timeout: 300ms").upstream(ONCE).start();
    let mut client = gateway.connect();
    let response = takes(Duration::from_millis(300), || client.get("t", "/1"));
    Problem::expect(&response, 504, "response-timeout");
    gate.open();
    assert_eq!(gateway.get("/2").text(), "late");
    let requests = origin.requests();
    assert_ne!(requests[0].connection, requests[1].connection);
}

#[test]
fn the_time_for_the_head_begins_when_the_body_is_sent_not_before() {
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).upstream("response_timeout: 400ms").upstream(ONCE).start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n");
    // An upload that takes longer than the limit is no fault of the upstream.
    for _ in 0..10 {
        assert!(client.is_quiet_for(Duration::from_millis(80)), "the upload was cut");
        client.send("x");
    }
    assert_eq!(client.response().text(), "xxxxxxxxxx");
}

#[test]
fn the_time_for_the_head_holds_after_an_upload_in_pieces() {
    let origin = Origin::start(behaviour::silent);
    let gateway = Config::to([origin.addr()]).upstream("response_timeout: 300ms").upstream(ONCE).start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\n");
    for _ in 0..2 {
        assert!(client.is_quiet_for(Duration::from_millis(80)), "the upload was cut");
        client.send("x");
    }
    assert!(client.is_quiet_for(Duration::from_millis(80)), "the upload was cut");
    client.send("x");
    let response = takes(Duration::from_millis(300), || client.response());
    Problem::expect(&response, 504, "response-timeout");
}

#[test]
fn a_client_that_is_slow_with_its_head_takes_nothing_from_the_upstreams_time() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).upstream("response_timeout: 300ms").upstream(ONCE).start();
    let mut client = gateway.connect();
    // The next request goes over a connection that is kept.
    assert_eq!(client.get("t", "/1").text(), "ok");
    client.send("GET /2 HTTP/1.1\r\n");
    assert!(client.is_quiet_for(Duration::from_millis(600)), "a head that is on its way was cut");
    client.send("Host: t\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn a_body_that_stalls_is_cut_and_an_event_stream_has_more_time() {
    let origin = Origin::start(|request, connection| {
        let kind = if request.target == "/events" { "text/event-stream" } else { "text/plain" };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
        let _ = connection.write(head + "3\r\none\r\n");
        connection.wait_for_close();
        After::Close
    });
    let gateway = Config::to([origin.addr()])
        .upstream("idle_timeout: 300ms")
        .top("timeouts: { stream_idle: 1500ms, body_idle: 300ms }")
        .start();
    for (path, least) in [("/plain", 300), ("/events", 1_500)] {
        let mut client = gateway.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
        let result = takes(Duration::from_millis(least), || client.read_response("GET"));
        match result {
            Err(ReadError::Cut { body }) => assert_eq!(body, b"one"),
            Err(ReadError::Reset) => {}
            other => panic!("{path}: {other:?}"),
        }
    }
    wait::until_true("the upstream connections to be closed", || origin.open_count() == 0);
}

#[test]
fn the_routes_timeout_bounds_all_attempts_together() {
    let silent: Vec<_> = (0..3).map(|_| Origin::start(behaviour::silent)).collect();
    let gateway = Config::to(silent.iter().map(Origin::addr))
        .upstream("response_timeout: 300ms")
        .upstream("retry: { attempts: 3, budget: 100% }")
        .route("timeout: 450ms")
        .start();
    let response = takes(Duration::from_millis(450), || gateway.get("/"));
    Problem::expect(&response, 504, "total-timeout");
    let tried: usize = silent.iter().map(Origin::request_count).sum();
    assert_eq!(tried, 2);
}

#[test]
fn the_routes_timeout_cuts_a_body_that_goes_on_for_too_long() {
    let origin = Origin::start(|_, connection| {
        let _ = connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while connection.write("1\r\nx\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
        After::Close
    });
    let gateway = Config::to([origin.addr()]).route("timeout: 500ms").start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let result = takes(Duration::from_millis(500), || client.read_response("GET"));
    assert!(matches!(result, Err(ReadError::Cut { .. } | ReadError::Reset)), "{result:?}");
}

#[test]
fn a_client_that_stops_reading_is_cut_after_the_idle_time() {
    let origin = Origin::start(|_, connection| {
        connection.respond(200, &[], vec![b'x'; 20 << 20]);
        After::Close
    });
    let gateway = Config::to([origin.addr()]).top("timeouts: { body_idle: 500ms }").start();
    let mut client = weir_testkit::RawClient::connect_narrow(gateway.addr("web"));
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    wait::until_true("the request upstream", || origin.request_count() == 1);
    wait::until_true("the stalled answer to be given up", || origin.open_count() == 0);
}
