//! Endpoints that speak HTTP/2: shared connections, and what goes wrong on them.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use weir_testkit::h2::{
    H2Event, H2Origin, H2Peer, RawH2, STATUS_200, block, code, data, kind, reset, setting,
};
use weir_testkit::{Authority, Gate, Gateway, LoadReport, Nginx, Problem, wait, wrk};

use crate::Config;

/// A gateway whose upstream is spoken to by HTTP/2.
fn to(endpoints: impl IntoIterator<Item = SocketAddr>) -> Config {
    Config::to(endpoints).upstream("http: \"2\"")
}

/// Answers each request when its body has ended, with `ok`.
fn answer(peer: &mut H2Peer, event: H2Event) {
    if let H2Event::Headers { stream, end: true } | H2Event::Data { stream, end: true, .. } = event {
        peer.answer(stream, b"ok");
    }
}

fn well() -> H2Origin {
    H2Origin::start(&[], answer)
}

/// Asks for a second over so many connections.
fn load(gateway: &Gateway, connections: u32) -> LoadReport {
    let report = wrk(&format!("http://{}/", gateway.addr("web")), connections, 1).report();
    assert!(report.requests > 50, "{report:?}");
    report
}

fn post(gateway: &Gateway, body: &str) -> weir_testkit::Response {
    let mut client = gateway.connect();
    let length = body.len();
    client.send(format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{body}"));
    client.response()
}

#[test]
fn nginx_answers_over_http2_and_sees_the_request_as_it_was() {
    let nginx = Nginx::listening(
        "http2",
        "location / { return 200 '$server_protocol $request_method $request_uri $http_host $http_x_forwarded_for $http_x_team'; }",
    );
    let gateway = to([nginx.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET /a/b?c=%20d HTTP/1.1\r\nHost: shop.example:81\r\nX-Team: red\r\nConnection: x-gone\r\nX-Gone: 1\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 200);
    assert_eq!(response.text(), "HTTP/2.0 GET /a/b?c=%20d shop.example:81 127.0.0.1 red");
    let line = gateway.access_line("/a/b");
    assert_eq!(line["protocol"], "HTTP/1.1", "{line}");
}

#[test]
fn bodies_of_any_length_pass_both_ways() {
    let nginx = Nginx::listening("http2", "");
    let file: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8 ^ (n >> 8) as u8).collect();
    std::fs::write(nginx.root().join("file"), &file).unwrap();
    let gateway = to([nginx.addr()]).start();
    let response = gateway.get("/file");
    assert_eq!(response.field("content-length"), Some("3000000"));
    assert!(response.body == file, "another body");
    // And towards the endpoint, counted there.
    let received = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&received);
    let origin = H2Origin::start(&[], move |peer, event| {
        if let H2Event::Data { bytes, .. } = &event {
            count.fetch_add(bytes.len(), Ordering::SeqCst);
        }
        answer(peer, event);
    });
    let gateway = to([origin.addr()]).start();
    assert_eq!(post(&gateway, &"x".repeat(1_000_000)).text(), "ok");
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
    assert_eq!(received.load(Ordering::SeqCst), 1_000_005);
}

/// An nginx that says over TLS which version it was spoken to by.
fn nginx_tls(authority: &Authority, options: &str) -> Nginx {
    let certificate = authority.issue(&["127.0.0.1"]);
    let told = "location / { return 200 $server_protocol; }";
    Nginx::listening(options, &format!("{} {told}", certificate.nginx()))
}

#[test]
fn over_tls_both_sides_choose_the_version() {
    let authority = Authority::new("tests");
    for (options, http, spoken) in [
        ("ssl http2", "auto", "HTTP/2.0"),
        ("ssl", "auto", "HTTP/1.1"),
        ("ssl http2", "\"2\"", "HTTP/2.0"),
        ("ssl http2", "\"1.1\"", "HTTP/1.1"),
    ] {
        let nginx = nginx_tls(&authority, options);
        let gateway = Config::to([nginx.addr()])
            .upstream(&format!("tls: {{ ca: {} }}", authority.file().display()))
            .upstream(&format!("http: {http}"))
            .top("workers: 1")
            .start();
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let mut client = gateway.connect();
                client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
                client
            })
            .collect();
        for mut client in clients {
            assert_eq!(client.response().text(), spoken, "{options}, {http}");
        }
        assert_eq!(gateway.get("/").text(), spoken, "{options}, {http}");
        let connections = gateway.metrics().sum("weir_upstream_connects_total", &[]);
        assert!(
            connections <= if spoken == "HTTP/2.0" { 1.0 } else { 9.0 },
            "{options}, {http}: {connections}"
        );
    }
}

#[test]
fn an_upstream_of_http_2_alone_refuses_a_server_of_http_1() {
    let authority = Authority::new("tests");
    let nginx = nginx_tls(&authority, "ssl");
    let gateway = Config::to([nginx.addr()])
        .upstream(&format!("tls: {{ ca: {} }}", authority.file().display()))
        .upstream("http: \"2\"")
        .start();
    assert_eq!(gateway.get("/").status, 502);
}

#[test]
fn many_clients_share_one_connection() {
    let origin = well();
    let gateway = to([origin.addr()]).top("workers: 1").start();
    let report = load(&gateway, 20);
    assert_eq!((report.bad_statuses, report.socket_errors), (0, 0), "{report:?}");
    assert_eq!(origin.connection_count(), 1);
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("weir_upstream_h2_connections", &[]), 1.0);
    assert!(metrics.sum("weir_upstream_h2_streams_total", &[]) > 20.0);
}

#[test]
fn a_peer_that_allows_one_stream_gets_more_connections_and_no_request_fails() {
    let origin = H2Origin::start(&[(setting::MAX_CONCURRENT_STREAMS, 1)], answer);
    let gateway = to([origin.addr()]).top("workers: 1").start();
    let report = load(&gateway, 8);
    assert_eq!((report.bad_statuses, report.socket_errors), (0, 0), "{report:?}");
    assert!((2..=20).contains(&origin.connection_count()), "{}", origin.connection_count());
}

#[test]
fn a_goaway_under_load_costs_no_request() {
    // Each connection answers twenty requests, then says so, and never looks at those that come behind.
    let counts: Mutex<HashMap<usize, usize>> = Mutex::default();
    let origin = H2Origin::start(&[], move |peer, event| {
        let H2Event::Headers { stream, .. } = event else { return };
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(peer.connection).or_default();
        *count += 1;
        if *count <= 20 {
            peer.answer(stream, b"ok");
        }
        if *count == 20 {
            peer.go_away(stream);
        }
    });
    let gateway = to([origin.addr()]).top("workers: 1").start();
    let report = load(&gateway, 10);
    assert_eq!((report.bad_statuses, report.socket_errors), (0, 0), "{report:?}");
    assert!(origin.connection_count() > 2);
    assert!(gateway.metrics().sum("weir_upstream_h2_goaways_total", &[]) > 1.0);
}

#[test]
fn a_refused_stream_is_sent_again_whatever_the_method() {
    let refused = AtomicUsize::new(0);
    let origin = H2Origin::start(&[], move |peer, event| match event {
        H2Event::Headers { stream, .. } if refused.fetch_add(1, Ordering::SeqCst) < 3 => {
            peer.reset(stream, code::REFUSED_STREAM);
        }
        event => answer(peer, event),
    });
    let gateway = to([origin.addr()]).upstream("retry: { attempts: 1 }").start();
    assert_eq!(post(&gateway, "body").text(), "ok");
    assert_eq!(gateway.metrics().sum("weir_upstream_h2_streams_refused_total", &[]), 3.0);
}

#[test]
fn an_endpoint_that_refuses_everything_is_not_asked_without_end() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let origin = H2Origin::start(&[], move |peer, event| {
        if let H2Event::Headers { stream, .. } = event {
            count.fetch_add(1, Ordering::SeqCst);
            peer.reset(stream, code::REFUSED_STREAM);
        }
    });
    let gateway = to([origin.addr()]).upstream("health: { passive: off }").start();
    Problem::expect(&gateway.get("/"), 502, "upstream-closed");
    assert_eq!(asked.load(Ordering::SeqCst), 9);
}

#[test]
fn a_stream_reset_before_the_head_is_repeated_only_where_that_is_harmless() {
    let bad = H2Origin::start(&[], |peer, event| {
        if let H2Event::Headers { stream, .. } = event {
            peer.reset(stream, code::INTERNAL_ERROR);
        }
    });
    let good = well();
    let gateway = to([bad.addr(), good.addr()])
        .upstream("retry: { budget: 100% }")
        .upstream("health: { passive: off }")
        .top("workers: 1")
        .start();
    let statuses: Vec<u16> = (0..4).map(|_| gateway.get("/").status).collect();
    assert_eq!(statuses, [200; 4]);
    let mut statuses: Vec<u16> = (0..4).map(|_| post(&gateway, "body").status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502]);
    assert_eq!(bad.connection_count(), 1, "a reset ends a stream, not the connection");
}

#[test]
fn a_reset_or_a_wrong_length_in_the_middle_cuts_the_answer() {
    type Script = fn(&mut H2Peer, u32);
    let scripts: [Script; 4] = [
        |peer, stream| {
            peer.headers(stream, STATUS_200, false);
            peer.data(stream, b"half", false);
            peer.reset(stream, code::INTERNAL_ERROR);
        },
        |peer, stream| {
            peer.headers(stream, STATUS_200, false);
            peer.data(stream, b"half", false);
            peer.reset(stream, code::NO_ERROR);
        },
        |peer, stream| {
            peer.headers(stream, &[STATUS_200, &block(&[("content-length", "10")])].concat(), false);
            peer.data(stream, b"half", true);
        },
        |peer, stream| {
            peer.headers(stream, STATUS_200, false);
            peer.data(stream, b"half", false);
            peer.close();
        },
    ];
    for (n, script) in scripts.into_iter().enumerate() {
        let origin = H2Origin::start(&[], move |peer, event| {
            if let H2Event::Headers { stream, .. } = event {
                script(peer, stream);
            }
        });
        let gateway = to([origin.addr()]).start();
        let mut client = gateway.connect();
        client.send("GET /cut HTTP/1.1\r\nHost: t\r\n\r\n");
        assert!(client.read_response("GET").is_err(), "script {n} looks like a whole answer");
        assert_eq!(gateway.access_line("/cut")["error"], "upstream-cut", "script {n}");
    }
}

#[test]
fn more_data_than_was_declared_never_reaches_the_client() {
    let origin = H2Origin::start(&[], |peer, event| {
        if let H2Event::Headers { stream, .. } = event {
            peer.headers(stream, &[STATUS_200, &block(&[("content-length", "4")])].concat(), false);
            peer.data(stream, b"fourHTTP/1.1 200 OK\r\n\r\n", true);
        }
    });
    let gateway = to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET /long HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(client.read_response("GET").is_err());
    assert_eq!(gateway.access_line("/long")["error"], "upstream-cut");
}

#[test]
fn an_answer_that_breaks_the_rules_is_malformed() {
    for (n, block) in [
        // No status, a status twice, a field that belongs to a connection, a name in capitals, a switch of protocols.
        block(&[("a", "b")]),
        [STATUS_200, STATUS_200].concat(),
        [STATUS_200, &block(&[("connection", "close")])].concat(),
        [STATUS_200, &block(&[("transfer-encoding", "chunked")])].concat(),
        [STATUS_200, &block(&[("X-Upper", "b")])].concat(),
        [STATUS_200, &block(&[("content-length", "1"), ("content-length", "2")])].concat(),
        block(&[(":status", "101")]),
    ]
    .into_iter()
    .enumerate()
    {
        let origin = H2Origin::start(&[], move |peer, event| {
            if let H2Event::Headers { stream, .. } = event {
                peer.headers(stream, &block, false);
            }
        });
        let gateway = to([origin.addr()]).upstream("retry: off").start();
        let response = gateway.get("/");
        assert_eq!((response.status, n), (502, n), "{response:?}");
        assert_eq!(response.field("weir-error"), Some("upstream-malformed"), "{n}");
    }
}

#[test]
fn a_server_of_http_1_is_not_taken_for_one_of_http_2() {
    let nginx = Nginx::start("");
    let gateway = to([nginx.addr()]).upstream("retry: off").start();
    Problem::expect(&gateway.get("/"), 502, "upstream-malformed");
}

#[test]
fn an_early_answer_that_wants_no_more_of_the_request_is_whole() {
    let origin = H2Origin::start(&[], |peer, event| {
        if let H2Event::Headers { stream, .. } = event {
            peer.answer(stream, b"enough");
            peer.reset(stream, code::NO_ERROR);
        }
    });
    let gateway = to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\nbegin");
    assert_eq!(client.response().text(), "enough");
}

#[test]
fn an_early_answer_without_an_end_is_cut_however_its_stream_is_reset() {
    let origin = H2Origin::start(&[], |peer, event| {
        if let H2Event::Headers { stream, .. } = event {
            peer.headers(stream, STATUS_200, false);
            peer.data(stream, b"half", false);
            peer.reset(stream, code::NO_ERROR);
        }
    });
    let gateway = to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\nbegin");
    assert_eq!(client.head().0, 200);
    assert!(client.chunked_body().is_err());
    assert_eq!(gateway.access_line("/")["error"], "upstream-cut");
}

#[test]
fn a_repeated_body_is_whole_though_the_answer_begins_before_it_was_sent() {
    let refusing = H2Origin::start(&[], |peer, event| {
        if let H2Event::Data { stream, end: true, .. } = event {
            peer.reset(stream, code::REFUSED_STREAM);
        }
    });
    let seen = Mutex::new(Vec::new());
    let narrow = H2Origin::start(&[(4, 10)], move |peer, event| match event {
        H2Event::Headers { stream, .. } => peer.headers(stream, STATUS_200, false),
        H2Event::Data { stream, bytes, end } => {
            let mut seen = seen.lock().unwrap();
            seen.extend(bytes);
            if end {
                peer.data(stream, &std::mem::take(&mut *seen), true);
            }
        }
        _ => {}
    });
    let gateway = to([refusing.addr(), narrow.addr()]).start();
    let body = "0123456789abcdef".repeat(20);
    let mut client = gateway.connect();
    for _ in 0..4 {
        client.send(format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        assert_eq!(client.response().text(), body);
    }
}

#[test]
fn a_client_that_cancels_what_the_endpoint_does_not_take_is_noticed() {
    for answers in [false, true] {
        let (begun, cancelled) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (beginnings, resets) = (Arc::clone(&begun), Arc::clone(&cancelled));
        let origin = H2Origin::start(&[(setting::INITIAL_WINDOW_SIZE, 10)], move |peer, event| {
            peer.gives_credit = false;
            match event {
                H2Event::Headers { stream, .. } if answers => peer.headers(stream, STATUS_200, false),
                H2Event::Data { .. } => drop(beginnings.fetch_add(1, Ordering::SeqCst)),
                H2Event::Reset { .. } => drop(resets.fetch_add(1, Ordering::SeqCst)),
                _ => {}
            }
        });
        let gateway = to([origin.addr()]).start();
        let mut client = RawH2::connect(gateway.addr("web"));
        let head = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "t")];
        let stream = client.headers(0, &head);
        client.send(data(stream, 0, [7; 3_000]));
        wait::until_true("a part of the body to arrive", || begun.load(Ordering::SeqCst) > 0);
        if answers {
            assert_eq!(client.frame_of(stream).unwrap().fields.get(":status"), Some("200"));
        }
        client.send(reset(stream, code::CANCEL));
        assert_eq!(gateway.access_line("/")["error"], "client-gone");
        wait::until_true("the endpoint to be told", || cancelled.load(Ordering::SeqCst) == 1);
    }
}

#[test]
fn interim_answers_pass() {
    let origin = H2Origin::start(&[], |peer, event| {
        if let H2Event::Headers { stream, .. } = event {
            let link = block(&[("link", "</a.css>; rel=preload")]);
            peer.headers(stream, &[block(&[(":status", "103")]), link].concat(), false);
            peer.answer(stream, b"ok");
        }
    });
    let gateway = to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let (status, head) = client.head();
    assert_eq!((status, head.fields.get("link")), (103, Some("</a.css>; rel=preload")));
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn a_client_that_goes_cancels_its_stream_and_no_other() {
    let cancelled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&cancelled);
    let origin = H2Origin::start(&[], move |peer, event| match event {
        // Every other request is never answered.
        H2Event::Headers { stream, .. } if stream % 4 == 1 => {}
        H2Event::Reset { code: code::CANCEL, .. } => {
            count.fetch_add(1, Ordering::SeqCst);
        }
        event => answer(peer, event),
    });
    let gateway = to([origin.addr()]).top("workers: 1").start();
    for n in 1..=3 {
        let mut client = gateway.connect();
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        wait::until("the request at the endpoint", || {
            (gateway.metrics().sum("weir_upstream_h2_streams", &[]) == 1.0).then_some(())
        });
        drop(client);
        wait::until("the reset", || (cancelled.load(Ordering::SeqCst) == n).then_some(()));
        assert_eq!(gateway.get("/").text(), "ok");
    }
    assert_eq!(origin.connection_count(), 1);
}

#[test]
fn a_slow_answer_times_out_alone_and_a_dead_peer_is_left() {
    let origin = H2Origin::start(&[], |peer, event| match event {
        H2Event::Headers { stream, .. } if peer.connection == 0 => {
            // Dead from the first request on: not even a PING is answered.
            let _unanswered = stream;
            peer.answers = false;
        }
        event => answer(peer, event),
    });
    let gateway = to([origin.addr()])
        .upstream("response_timeout: 300ms")
        .upstream("retry: off")
        .upstream("health: { passive: off }")
        .top("workers: 1")
        .start();
    Problem::expect(&gateway.get("/"), 504, "response-timeout");
    let asked = Instant::now();
    assert_eq!(gateway.get("/").text(), "ok", "another connection is opened while the first is in doubt");
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!(origin.connection_count(), 2);
    wait::until("the dead connection to be given up", || {
        (gateway.metrics().sum("weir_upstream_h2_lost_total", &[]) == 1.0).then_some(())
    });
}

#[test]
fn a_window_that_stays_shut_holds_one_request_and_no_other() {
    let origin = H2Origin::start(&[(setting::INITIAL_WINDOW_SIZE, 0)], |peer, event| match event {
        H2Event::Headers { stream, end: true } => peer.answer(stream, b"ok"),
        H2Event::Data { stream, end: true, .. } => peer.answer(stream, b"taken"),
        _ => {}
    });
    let gateway = to([origin.addr()]).upstream("idle_timeout: 500ms").top("workers: 1").start();
    // The first request settles the connection; from then on the window is known.
    assert_eq!(gateway.get("/").text(), "ok");
    let held = {
        let mut client = gateway.connect();
        client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody");
        client
    };
    for _ in 0..5 {
        assert_eq!(gateway.get("/").text(), "ok");
    }
    let mut held = held;
    Problem::expect(&held.response(), 504, "response-timeout");
    assert_eq!(origin.connection_count(), 1);
}

#[test]
fn a_lowered_limit_is_kept() {
    let most = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&most);
    let connections = Mutex::new(HashMap::<usize, (u32, VecDeque<u32>)>::new());
    // With its first answer each connection allows two streams. Each one that comes after that was acknowledged is held
    // for a round trip, so that those beside it would be seen.
    let origin = H2Origin::start(&[], move |peer, event| {
        let mut connections = connections.lock().unwrap();
        let (acknowledged, open) = connections.entry(peer.connection).or_default();
        match event {
            H2Event::SettingsAck => *acknowledged += 1,
            H2Event::Headers { stream: 1, .. } => {
                peer.settings(&[(setting::MAX_CONCURRENT_STREAMS, 2)]);
                peer.answer(1, b"ok");
            }
            H2Event::Headers { stream, .. } if *acknowledged < 2 => peer.answer(stream, b"ok"),
            H2Event::Headers { stream, .. } => {
                open.push_back(stream);
                count.fetch_max(open.len(), Ordering::SeqCst);
                peer.frame(kind::PING, 0, 0, &[0; 8]);
            }
            H2Event::Pong => {
                let stream = open.pop_front().expect("one PING for each stream");
                peer.answer(stream, b"ok");
            }
            _ => {}
        }
    });
    let gateway = to([origin.addr()]).top("workers: 1").start();
    assert_eq!(gateway.get("/").text(), "ok");
    let report = load(&gateway, 10);
    assert_eq!((report.bad_statuses, report.socket_errors), (0, 0), "{report:?}");
    let most = most.load(Ordering::SeqCst);
    assert!((1..=2).contains(&most), "{most}");
}

#[test]
fn an_endpoint_that_leaves_the_configuration_finishes_its_streams() {
    let gate = Gate::new();
    let (held, new) = (gate.clone(), well());
    let old = H2Origin::start(&[], move |peer, event| {
        if let H2Event::Headers { stream, .. } = event {
            held.wait();
            peer.answer(stream, b"late");
        }
    });
    let gateway = to([old.addr()]).start();
    let mut slow = gateway.connect();
    slow.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    wait::until("the request at the endpoint", || {
        (gateway.metrics().sum("weir_upstream_h2_streams", &[]) == 1.0).then_some(())
    });
    assert_eq!(gateway.reload(&to([new.addr()]).yaml()).status, 200);
    assert_eq!(gateway.get("/").text(), "ok");
    gate.open();
    assert_eq!(slow.response().text(), "late");
    wait::until("the old connection to end", || {
        (gateway.metrics().sum("weir_upstream_h2_connections", &[]) == 1.0).then_some(())
    });
}

#[test]
fn a_storm_of_resets_fails_its_own_requests_and_the_gateway_serves_on() {
    let count = AtomicUsize::new(0);
    let origin = H2Origin::start(&[], move |peer, event| {
        let H2Event::Headers { stream, .. } = event else { return };
        if count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            peer.reset(stream, code::INTERNAL_ERROR);
        } else {
            peer.answer(stream, b"ok");
        }
    });
    let gateway = to([origin.addr()])
        .upstream("retry: off")
        .upstream("health: { passive: off }")
        .top("workers: 1")
        .start();
    let statuses: Vec<u16> = (0..200).map(|_| gateway.get("/").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 100);
    assert_eq!(origin.connection_count(), 1);
}
