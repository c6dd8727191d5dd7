//! Connections of HTTP/2 clients: many streams, their limits, and their end.

use std::process::Command;
use std::time::{Duration, Instant};

use weir_testkit::h2::{RawH2, code, data, flag, frame, headers, kind, reset, setting, window_update};
use weir_testkit::{After, Gate, Gateway, Origin, RawClient, behaviour, curl, wait};

use crate::Config;

/// Answers `/slow` once the gate is open, `/large` with a mebibyte, and everything else at once.
fn origin(gate: &Gate) -> Origin {
    let held = gate.clone();
    Origin::start(move |request, connection| {
        match request.target.as_str() {
            "/slow" => held.wait(),
            "/large" => {
                connection.respond(200, &[], vec![b'x'; 1 << 20]);
                return After::KeepOpen;
            }
            _ => {}
        }
        connection.respond(200, &[], "ok");
        After::KeepOpen
    })
}

fn start(top: &str) -> (Gate, Origin, Gateway, RawH2) {
    let gate = Gate::new();
    let origin = origin(&gate);
    let gateway = Config::to([origin.addr()]).top(top).start();
    let client = RawH2::connect(gateway.addr("web"));
    (gate, origin, gateway, client)
}

#[test]
fn a_slow_stream_holds_up_no_other() {
    let (gate, _origin, gateway, mut client) = start("");
    let slow = client.request("t", "/slow");
    for _ in 0..50 {
        assert_eq!(client.get("t", "/").text(), "ok");
    }
    let metrics = gateway.metrics();
    assert_eq!((metrics.sum("weir_h2_connections", &[]), metrics.sum("weir_h2_streams", &[])), (1.0, 1.0));
    gate.open();
    assert_eq!(client.answer(slow).text(), "ok");
    assert!(gateway.metrics().sum("weir_h2_streams_total", &[]) >= 51.0);
}

#[test]
fn a_stream_whose_window_is_full_holds_up_no_other_and_goes_on_when_it_is_granted_more() {
    let (_gate, _origin, gateway, _) = start("");
    let mut client = RawH2::connect_with(gateway.addr("web"), &[(setting::INITIAL_WINDOW_SIZE, 1_000)]);
    client.silent();
    let large = client.request("t", "/large");
    let mut held = 0;
    while held < 1_000 {
        let frame = client.frame_of(large).unwrap();
        held += if frame.kind == kind::DATA { frame.payload.len() } else { 0 };
    }
    assert_eq!(held, 1_000);
    assert_eq!(client.get("t", "/").text(), "ok");
    client.send(window_update(0, 1 << 20));
    client.send(window_update(large, 1 << 20));
    assert_eq!(client.answer(large).body.len() + held, 1 << 20);
}

#[test]
fn a_client_that_grants_nothing_is_given_up() {
    let (_gate, origin, gateway, _) = start("timeouts: { body_idle: 300ms }");
    let mut client = RawH2::connect_with(gateway.addr("web"), &[(setting::INITIAL_WINDOW_SIZE, 0)]);
    client.silent();
    let stream = client.request("t", "/large");
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.body.len(), answer.reset), (200, 0, Some(code::INTERNAL_ERROR)));
    assert_eq!(gateway.access_line("/large")["error"], "client-gone");
    wait::until_true("the endpoint to be let go", || origin.open_count() == 0);
}

#[test]
fn a_request_that_the_client_cancels_is_cancelled_at_the_endpoint() {
    let origin = Origin::start(behaviour::silent);
    let gateway = Config::to([origin.addr()]).start();
    let mut client = RawH2::connect(gateway.addr("web"));
    let stream = client.request("t", "/cancelled");
    wait::until_true("the request", || origin.request_count() == 1);
    client.send(reset(stream, code::CANCEL));
    wait::until_true("its end", || origin.open_count() == 0);
    assert_eq!(gateway.access_line("/cancelled")["error"], "client-gone");
    let resets =
        gateway.metrics().sum("weir_h2_stream_resets_total", &["side=\"client\"", "code=\"cancel\""]);
    assert_eq!(resets, 1.0);
}

#[test]
fn a_connection_that_is_lost_cancels_all_its_requests() {
    let origin = Origin::start(behaviour::silent);
    let gateway = Config::to([origin.addr()]).start();
    let mut client = RawH2::connect(gateway.addr("web"));
    for _ in 0..20 {
        client.request("t", "/");
    }
    wait::until_true("the requests", || origin.request_count() == 20);
    drop(client);
    wait::until_true("their end", || origin.open_count() == 0);
    wait::until_true("the gauges", || {
        let metrics = gateway.metrics();
        metrics.sum("weir_h2_connections", &[]) == 0.0 && metrics.sum("weir_h2_streams", &[]) == 0.0
    });
}

#[test]
fn streams_beyond_the_limit_are_refused_and_those_within_served() {
    let (gate, _origin, _gateway, mut client) = start("http2: { streams_max: 3 }");
    // The limit binds once the client knows it.
    assert_eq!(client.get("t", "/").text(), "ok");
    let slow: Vec<u32> = (0..4).map(|_| client.request("t", "/slow")).collect();
    assert_eq!(client.answer(slow[3]).reset, Some(code::REFUSED_STREAM));
    gate.open();
    assert!(slow[..3].iter().all(|&stream| client.answer(stream).text() == "ok"));
}

#[test]
fn a_connection_that_had_its_requests_is_told_to_go_and_finishes_what_it_began() {
    let (gate, _origin, gateway, mut client) = start("limits: { requests_per_connection: 3 }");
    let slow = client.request("t", "/slow");
    assert_eq!(client.get("t", "/").text(), "ok");
    assert_eq!(client.get("t", "/").text(), "ok");
    wait::until_true("the goodbye", || {
        client.unread().any(|frame| frame.kind == kind::GOAWAY) || {
            client.send(frame(kind::PING, 0, 0, [0; 8]));
            client.frame_of(0).unwrap().kind == kind::GOAWAY
        }
    });
    gate.open();
    assert_eq!(client.answer(slow).text(), "ok");
    assert_eq!(client.ending(wait::PATIENCE).unwrap().goaway, Some(code::NO_ERROR));
    assert_eq!(gateway.metrics().sum("weir_h2_goaways_total", &["reason=\"requests\""]), 1.0);
}

#[test]
fn a_drain_says_goodbye_and_finishes_what_runs() {
    let (gate, _origin, mut gateway, mut client) = start("timeouts: { drain: 20s }");
    let mut idle = RawH2::connect(gateway.addr("web"));
    assert_eq!(idle.get("t", "/").text(), "ok");
    let slow = client.request("t", "/slow");
    assert_eq!(client.get("t", "/").text(), "ok");
    gateway.ask_to_stop();
    assert_eq!(idle.ending(wait::PATIENCE).unwrap().goaway, Some(code::NO_ERROR));
    wait::until_true("the goodbye", || client.frame_of(0).unwrap().kind == kind::GOAWAY);
    gate.open();
    assert_eq!(client.answer(slow).text(), "ok");
    client.ending(wait::PATIENCE).unwrap();
    assert_eq!(gateway.exit_status().code(), Some(0));
}

#[test]
fn the_deadline_of_a_drain_cuts_what_does_not_end() {
    let (_gate, _origin, mut gateway, mut client) = start("timeouts: { drain: 300ms }");
    client.request("t", "/slow");
    assert_eq!(client.get("t", "/").text(), "ok");
    let begun = Instant::now();
    gateway.ask_to_stop();
    client.ending(wait::PATIENCE).unwrap();
    gateway.exit_status();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(gateway.access_line("/slow")["error"], "shutting-down");
}

#[test]
fn a_listener_that_is_taken_away_says_goodbye_to_its_clients() {
    let (gate, origin, gateway, mut client) = start("");
    let slow = client.request("t", "/slow");
    assert_eq!(client.get("t", "/").text(), "ok");
    let other = Config::to([origin.addr()]).yaml().replace("  web:", "  other:");
    assert_eq!(gateway.reload(&other).status, 200);
    wait::until_true("the goodbye", || client.frame_of(0).unwrap().kind == kind::GOAWAY);
    gate.open();
    assert_eq!(client.answer(slow).text(), "ok");
    assert_eq!(client.ending(wait::PATIENCE).unwrap().goaway, Some(code::NO_ERROR));
}

#[test]
fn silent_connections_are_closed_after_their_timeouts() {
    let timeouts = "timeouts: { keep_alive: 300ms, request_head: 600ms }";
    let (_gate, _origin, gateway, mut client) = start(timeouts);
    assert_eq!(client.get("t", "/").text(), "ok");
    assert_eq!(client.ending(wait::PATIENCE).unwrap().goaway, Some(code::NO_ERROR));
    // One that never asks for anything, one that never ends its first head, one that sends half a preface.
    let mut fresh = RawH2::connect(gateway.addr("web"));
    assert_eq!(fresh.ending(wait::PATIENCE).unwrap().goaway, Some(code::NO_ERROR));
    let mut slow = RawH2::connect(gateway.addr("web"));
    slow.silent();
    slow.send(frame(kind::HEADERS, flag::END_STREAM, 1, [0x82, 0x86]));
    slow.ending(wait::PATIENCE).unwrap();
    let mut half = RawClient::connect(gateway.addr("web"));
    half.send("PRI * HTTP/2.0\r\n\r\nSM");
    half.rest().unwrap();
    let goaways = gateway.metrics().sum("weir_h2_goaways_total", &["reason=\"idle\""]);
    assert_eq!(goaways, 3.0);
}

#[test]
fn what_breaks_the_rules_ends_the_connection_and_is_counted() {
    let (_gate, _origin, gateway, mut client) = start("");
    client.send(data(1, 0, "of a stream that never was"));
    assert_eq!(client.ending(wait::PATIENCE).unwrap().goaway, Some(code::PROTOCOL_ERROR));
    assert_eq!(gateway.metrics().sum("weir_h2_goaways_total", &["reason=\"protocol\""]), 1.0);
}

#[test]
fn a_head_over_the_limits_is_answered_and_one_far_over_ends_the_connection() {
    let (_gate, origin, _gateway, mut client) = start("limits: { header_bytes: 4KiB, headers: 20 }");
    let long = "x".repeat(5_000);
    let fields = |more: &[(&str, &str)]| {
        let head: [(&str, &str); 4] =
            [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "t")];
        headers(0, flag::END_STREAM, &[&head[..], more].concat())
    };
    for more in [vec![("x", long.as_str())], vec![("cookie", "a=1"); 21]] {
        let stream = client.stream();
        let mut bytes = fields(&more);
        bytes[5..9].copy_from_slice(&stream.to_be_bytes());
        client.send(bytes);
        let answer = client.answer(stream);
        assert_eq!((answer.status, answer.field("weir-error")), (431, Some("headers-too-large")));
    }
    let path = format!("/{long}");
    let answer = client.get("t", &path);
    assert_eq!((answer.status, answer.field("weir-error")), (414, Some("uri-too-long")));
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn a_listener_serves_the_versions_that_it_is_told_to() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).http("versions: [\"1.1\"]").start();
    let mut client = RawClient::connect(gateway.addr("web"));
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.response().status, 505);
    let gateway = Config::to([origin.addr()]).http("versions: [\"2\"]").start();
    assert_eq!(gateway.get("/").status, 505);
    assert_eq!(RawH2::connect(gateway.addr("web")).get("t", "/").text(), "ok");
}

#[test]
fn curl_speaks_both_versions_to_one_address() {
    let gate = Gate::new();
    let origin = origin(&gate);
    let gateway = Config::to([origin.addr()]).start();
    let url = format!("http://{}/large", gateway.addr("web"));
    for (version, shown) in [("--http2-prior-knowledge", "2"), ("--http1.1", "1.1")] {
        let args = [version, "-s", "-o", "/dev/null", "-w", "%{http_version} %{size_download}", &url];
        assert_eq!(curl(&args).stdout, format!("{shown} {}", 1 << 20));
    }
}

/// Goal: nothing is lost among many streams of many connections. Method: h2load, which sends each request when another
/// is answered.
#[test]
fn h2load_loses_no_request_of_many_streams() {
    let gate = Gate::new();
    let origin = origin(&gate);
    let gateway = Config::to([origin.addr()]).start();
    let url = format!("http://{}/", gateway.addr("web"));
    let output = Command::new("h2load").args(["-n", "2000", "-c", "4", "-m", "32", &url]).output();
    let text = String::from_utf8(output.expect("h2load is installed by scripts/test").stdout).unwrap();
    assert!(text.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{text}");
    assert_eq!(gateway.metrics().sum("weir_h2_streams_total", &[]), 2_000.0);
}

#[test]
fn nghttp_reads_every_answer_of_several() {
    let gate = Gate::new();
    let origin = origin(&gate);
    let gateway = Config::to([origin.addr()]).start();
    let url = format!("http://{}/large", gateway.addr("web"));
    let output = Command::new("nghttp").args(["--no-verify-peer", "-m", "5", &url]).output();
    let output = output.expect("nghttp is installed by scripts/test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout.len(), 5 << 20);
}
