//! How it stops: what runs is finished, within a deadline.

use std::time::{Duration, Instant};

use weir_testkit::{Blackhole, Gate, Gateway, Origin, RawClient, behaviour, wait, websocket};

use crate::Config;

/// A gateway with one request in flight, held by the gate.
fn busy(drain: &str) -> (Gate, Origin, Gateway, RawClient) {
    let gate = Gate::new();
    let origin = Origin::start(behaviour::gated(&gate, "finished"));
    let gateway = Config::to([origin.addr()]).top(&format!("timeouts: {{ drain: {drain} }}")).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    wait::until_true("the request", || origin.request_count() == 1);
    (gate, origin, gateway, client)
}

#[test]
fn a_gateway_without_work_stops_at_once_with_0() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let mut gateway = Config::to([origin.addr()]).start();
    let mut idle = gateway.connect();
    assert_eq!(idle.get("t", "/").status, 200);
    let started = Instant::now();
    assert_eq!(gateway.terminate().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
    idle.ending();
}

#[test]
fn sigint_stops_it_too() {
    let mut gateway = Config::to(["127.0.0.1:9"]).start();
    gateway.signal(rustix::process::Signal::INT);
    assert_eq!(gateway.exit_status().code(), Some(0));
}

#[test]
fn what_runs_is_finished_while_nothing_new_begins() {
    let (gate, _origin, mut gateway, mut client) = busy("20s");
    let (web, admin) = (gateway.addr("web"), gateway.admin());
    let mut idle = gateway.connect();
    assert_eq!(gateway.admin_get("/health/ready").status, 200);
    gateway.ask_to_stop();
    wait::until_true("readiness to fall", || gateway.admin_get("/health/ready").status == 503);
    assert_eq!(gateway.admin_get("/health/live").status, 200);
    wait::until_true("new connections to be refused", || RawClient::try_connect(web).is_err());
    idle.ending();
    assert!(gateway.is_running());
    gate.open();
    let response = client.response();
    assert_eq!(response.text(), "finished");
    assert!(response.announces_close(), "{response:?}");
    client.ending();
    assert_eq!(gateway.exit_status().code(), Some(0));
    assert!(RawClient::try_connect(admin).is_err());
}

#[test]
fn a_second_signal_stops_at_once() {
    let (_gate, _origin, mut gateway, mut client) = busy("1h");
    gateway.ask_to_stop();
    wait::until_true("the drain to begin", || gateway.admin_get("/health/ready").status == 503);
    let started = Instant::now();
    gateway.ask_to_stop();
    gateway.exit_status();
    assert!(started.elapsed() < Duration::from_secs(5));
    let answer = client.response();
    assert_eq!((answer.status, answer.field("weir-error")), (503, Some("shutting-down")));
    client.ending();
    assert_eq!(gateway.access_line("/")["error"], "shutting-down");
}

#[test]
fn the_deadline_ends_what_does_not_end_by_itself() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request, connection| match request.target.as_str() {
        "/ws" => behaviour::websocket_echo(request, connection),
        _ => behaviour::chunked_with_trailer(&held)(request, connection),
    });
    let mut gateway = Config::to([origin.addr()]).top("timeouts: { drain: 1s }").start();
    let mut socket = gateway.connect();
    socket.send(websocket::handshake("t", "/ws"));
    assert_eq!(socket.head().0, 101);
    let mut stream = gateway.connect();
    stream.send("GET /stream HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!((stream.head().0, stream.chunk().unwrap()), (200, b"first".to_vec()));
    let mut upload = gateway.connect();
    upload.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf");
    let started = Instant::now();
    gateway.ask_to_stop();
    // Until the deadline both directions still work.
    socket.send("alive");
    assert_eq!(socket.exactly(5).unwrap(), b"alive");
    gateway.exit_status();
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(6), "{took:?}");
    socket.ending();
    assert!(stream.chunked_body().is_err(), "a cut stream was completed");
    let line = gateway.access_line("/stream");
    assert_eq!((&line["error"], &line["http_status"]), (&"shutting-down".into(), &200.into()));
}

#[test]
fn a_request_on_its_way_when_the_drain_begins_is_answered() {
    let origin = Origin::start(behaviour::echo_body);
    let mut gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    assert_eq!(client.get("t", "/").status, 200);
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nhalf ");
    wait::until_true("the request to begin", || origin.request_count() == 2);
    gateway.ask_to_stop();
    wait::until_true("the drain to begin", || RawClient::try_connect(gateway.addr("web")).is_err());
    client.send("other");
    assert_eq!(client.response().text(), "half other");
    client.ending();
    assert_eq!(gateway.exit_status().code(), Some(0));
}

#[test]
fn under_load_a_stop_cuts_no_answer() {
    let origin = Origin::start(behaviour::fixed(200, "whole answer"));
    let mut gateway = Config::to([origin.addr()]).start();
    let addr = gateway.addr("web");
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let mut whole = 0;
                // Ends when the gateway refuses; each request that was taken must be answered whole.
                while let Ok(mut client) = RawClient::try_connect(addr) {
                    if client.try_send("GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").is_err() {
                        break;
                    }
                    match client.read_response("GET") {
                        Ok(response) => assert_eq!(response.text(), "whole answer"),
                        Err(error) => return Err(format!("{error:?} after {whole}")),
                    }
                    whole += 1;
                }
                Ok(whole)
            })
        })
        .collect();
    wait::until_true("the load", || origin.request_count() > 200);
    assert_eq!(gateway.terminate().code(), Some(0));
    for thread in threads {
        let whole = thread.join().unwrap();
        assert!(whole.as_ref().is_ok_and(|n| *n > 0), "{whole:?}");
    }
}

/// Goal: a gateway that can no longer be reached at one address says so by ending, after what runs.
#[test]
fn a_listener_that_breaks_drains_the_rest_and_ends_with_1() {
    let (gate, _origin, mut gateway, mut client) = busy("20s");
    gateway.break_listener("web");
    wait::until_true("readiness to fall", || gateway.admin_get("/health/ready").status == 503);
    let failures = gateway.events("accept_failed");
    assert!(failures.iter().any(|event| event["listener"] == "web"), "{failures:?}");
    gate.open();
    assert_eq!(client.response().text(), "finished");
    assert_eq!(gateway.exit_status().code(), Some(1));
}

#[test]
fn a_request_that_no_endpoint_has_taken_yet_is_told_that_the_gateway_stops() {
    let hole = Blackhole::start();
    let config = Config::to([hole.addr()]).upstream("connect_timeout: 1m");
    let mut gateway = config.top("timeouts: { drain: 100ms }").start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    wait::until_true("it", || gateway.metrics().sum("weir_connections", &[]) as u64 == 1);
    gateway.ask_to_stop();
    let answer = client.response();
    assert_eq!((answer.status, answer.field("weir-error")), (503, Some("shutting-down")));
    gateway.exit_status();
    assert_eq!(gateway.access_line("/")["error"], "shutting-down");
}
