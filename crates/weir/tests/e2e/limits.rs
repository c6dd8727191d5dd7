//! What is too large, too many or too slow, and how it is answered.

use std::time::Duration;

use weir_testkit::{Gate, Origin, Problem, RawClient, ReadError, behaviour, wait};

use crate::Config;

#[test]
fn a_request_line_beyond_the_limit_is_414() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).top("limits: { header_bytes: 4KiB }").start();
    let mut client = gateway.connect();
    let _ = client.try_send(format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "a".repeat(5_000)));
    Problem::expect(&client.response(), 414, "uri-too-long");
    client.ending();
    assert_eq!(origin.request_count(), 0);
    assert_eq!(gateway.connect().get("t", &format!("/{}", "a".repeat(3_500))).status, 200);
}

#[test]
fn a_header_block_beyond_the_limit_is_431() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).top("limits: { header_bytes: 4KiB }").start();
    for fields in
        [format!("X-A: {}\r\n", "a".repeat(5_000)), "X-A: aaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(200)]
    {
        let mut client = gateway.connect();
        let _ = client.try_send(format!("GET / HTTP/1.1\r\nHost: t\r\n{fields}\r\n"));
        Problem::expect(&client.response(), 431, "headers-too-large");
        client.ending();
    }
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn the_defaults_allow_60_kib_and_128_fields_and_no_more() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    for (fields, status) in [
        (format!("X-A: {}\r\n", "a".repeat(60_000)), 200),
        (format!("X-A: {}\r\n", "a".repeat(70_000)), 431),
        ("A: 1\r\n".repeat(127), 200),
        ("A: 1\r\n".repeat(128), 431),
    ] {
        let mut client = gateway.connect();
        let _ = client.try_send(format!("GET / HTTP/1.1\r\nHost: t\r\n{fields}\r\n"));
        assert_eq!(client.response().status, status, "{} bytes", fields.len());
    }
}

#[test]
fn a_head_without_an_end_costs_no_more_than_the_limit() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    let before = gateway.rss_kib();
    let mut clients: Vec<_> = (0..20).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        let _ = client.try_send("GET / HTTP/1.1\r\nHost: t\r\nX-A: ");
        for _ in 0..64 {
            if client.try_send(vec![b'a'; 64 * 1024]).is_err() {
                break;
            }
        }
    }
    let grown = gateway.rss_kib().saturating_sub(before);
    assert!(grown < 8 * 1024, "20 endless heads cost {grown} KiB");
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn trailers_are_bounded_like_headers() {
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
    let mut taken = 0;
    while taken < 16 << 20 && client.try_send("X-T: aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(1_000)).is_ok() {
        taken += 35_000;
    }
    assert!(taken < 16 << 20, "16 MiB of trailers were taken");
    assert!(origin.requests().iter().all(|r| !r.is_complete));
}

#[test]
fn body_limit_answers_413_by_length_and_by_count() {
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).route("policies: [ { body_limit: { max: 1KiB } } ]").start();
    let post = "POST / HTTP/1.1\r\nHost: t\r\n";
    let mut client = gateway.connect();
    client.send(format!("{post}Content-Length: 1025\r\n\r\n"));
    Problem::expect(&client.response(), 413, "body-too-large");
    assert_eq!(origin.request_count(), 0);
    let mut client = gateway.connect();
    client.send(format!("{post}Transfer-Encoding: chunked\r\n\r\n"));
    let _ = client.try_send(format!("800\r\n{}\r\n0\r\n\r\n", "x".repeat(0x800)));
    Problem::expect(&client.response(), 413, "body-too-large");
    assert!(origin.requests().iter().all(|r| !r.is_complete));
    let mut client = gateway.connect();
    client.send(format!("{post}Content-Length: 1024\r\n\r\n{}", "x".repeat(1_024)));
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_head_that_takes_too_long_is_408() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).top("timeouts: { request_head: 500ms }").start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHo");
    Problem::expect(&client.response(), 408, "request-timeout");
    client.ending();
    // A connection that never says a word is closed without an answer.
    let mut silent = gateway.connect();
    match silent.read_response("GET") {
        Err(ReadError::Closed) => {}
        Ok(response) => assert_eq!(response.status, 408),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_dripping_head_does_not_extend_its_time() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).top("timeouts: { request_head: 600ms }").start();
    let mut client = gateway.connect();
    let started = std::time::Instant::now();
    client.send("GET / HTTP/1.1\r\nX: ");
    while client.is_quiet_for(Duration::from_millis(50)) {
        assert!(started.elapsed() < Duration::from_secs(5), "one byte now and then held the connection");
        let _ = client.try_send("a");
    }
    assert!(started.elapsed() >= Duration::from_millis(500));
}

#[test]
fn a_body_that_stops_is_408_and_frees_the_upstream() {
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).top("timeouts: { body_idle: 500ms }").start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhello");
    Problem::expect(&client.response(), 408, "request-timeout");
    client.ending();
    wait::until_true("the upstream to be freed", || origin.open_count() == 0);
}

#[test]
fn a_kept_connection_is_closed_quietly_after_its_time() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).top("timeouts: { keep_alive: 400ms }").start();
    let mut client = gateway.connect();
    assert_eq!(client.get("t", "/").status, 200);
    assert!(client.is_quiet_for(Duration::from_millis(100)));
    client.ending();
}

#[test]
fn the_last_request_of_a_connection_is_announced() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).top("limits: { requests_per_connection: 3 }").start();
    let mut client = gateway.connect();
    let closes: Vec<bool> = (0..3).map(|_| client.get("t", "/").announces_close()).collect();
    assert_eq!(closes, [false, false, true]);
    client.ending();
}

#[test]
fn one_address_gets_no_more_connections_than_it_may() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).top("limits: { connections_per_ip: 3 }").start();
    let web = gateway.addr("web");
    let mut held: Vec<_> = (0..3).map(|_| gateway.connect()).collect();
    for client in &mut held {
        assert_eq!(client.get("t", "/").status, 200);
    }
    let mut extra = gateway.connect();
    let _ = extra.try_send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    match extra.read_response("GET") {
        Ok(response) => assert_eq!(response.status, 503),
        Err(error) => assert!(matches!(error, ReadError::Closed | ReadError::Reset), "{error:?}"),
    }
    let mut other = RawClient::connect_from("127.0.0.2".parse().unwrap(), web);
    assert_eq!(other.get("t", "/").status, 200);
    held.pop();
    wait::until_true("a freed place", || {
        let mut client = gateway.connect();
        let _ = client.try_send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        client.read_response("GET").is_ok_and(|r| r.status == 200)
    });
}

/// Goal: an idle connection makes room whichever worker holds it. Method: of so many, some come to the other worker.
#[test]
fn at_the_connection_limit_an_idle_one_of_any_worker_makes_room() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).top("workers: 2").top("limits: { connections: 1 }").start();
    let mut idle = gateway.connect();
    assert_eq!(idle.get("t", "/").status, 200);
    for _ in 0..16 {
        // The one before is idle a moment after it was answered.
        let next = wait::until("room", || {
            let mut next = gateway.connect();
            (next.get("t", "/").status == 200).then_some(next)
        });
        idle.ending();
        idle = next;
    }
    assert_eq!(gateway.metrics().sum("weir_idle_clients_shed_total", &[]), 16.0);
}

#[test]
fn beyond_the_connection_limit_idle_ones_go_first_and_busy_ones_stay() {
    let gate = Gate::new();
    let origin = Origin::start(behaviour::gated(&gate, "busy"));
    let gateway = Config::to([origin.addr()]).top("limits: { connections: 4 }").start();
    let mut busy = gateway.connect();
    busy.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    wait::until_true("the busy request", || origin.request_count() == 1);
    let _idle: Vec<_> = (0..3).filter_map(|_| RawClient::try_connect(gateway.addr("web")).ok()).collect();
    let mut last = gateway.connect();
    let _ = last.try_send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    gate.open();
    assert_eq!(busy.response().text(), "busy");
    // Whether an idle one made room or this one was shed, it is told at once.
    match last.read_response("GET") {
        Ok(response) => assert!([200, 503].contains(&response.status), "{response:?}"),
        Err(error) => assert!(matches!(error, ReadError::Closed | ReadError::Reset), "{error:?}"),
    }
    drop((busy, last, _idle));
    wait::until_true("room again", || {
        let mut client = gateway.connect();
        let _ = client.try_send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        client.read_response("GET").is_ok_and(|r| r.status == 200)
    });
}

#[test]
fn a_descriptor_limit_that_is_too_low_is_warned_of_at_start_and_in_the_status() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = crate::binary().descriptors_max(512).start(&Config::to([origin.addr()]).yaml());
    let said = |text: &str| text.contains("descriptor limit is 512");
    let told =
        || gateway.events("start_warning").iter().any(|event| said(event["message"].as_str().unwrap()));
    wait::until_true("the warning", told);
    let status: serde_json::Value =
        serde_json::from_str(&gateway.admin_get("/api/v1/status").text()).unwrap();
    assert!(
        status["warnings"].as_array().unwrap().iter().any(|warning| said(warning.as_str().unwrap())),
        "{status}"
    );
}
