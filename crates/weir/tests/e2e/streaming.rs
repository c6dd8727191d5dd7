//! Bodies flow while they are made, and stop flowing when nobody takes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use weir_testkit::{After, Ending, Gate, Origin, RawClient, ReadError, behaviour, wait};

use crate::Config;

/// What a body that nobody takes may cost: the socket buffers of both sides are the kernel's, this is ours.
const HELD_KIB_MAX: u64 = 8 * 1024;

#[test]
fn a_chunk_arrives_before_the_next_one_exists() {
    let gate = Gate::new();
    let origin = Origin::start(behaviour::chunked_with_trailer(&gate));
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.head().0, 200);
    assert_eq!(client.chunk().unwrap(), b"first");
    gate.open();
    let (rest, trailers) = client.chunked_body().unwrap();
    assert_eq!((rest.as_slice(), trailers.get("x-sum")), (b"second".as_slice(), Some("42")));
}

#[test]
fn the_head_arrives_before_the_body_exists() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |_, connection| {
        let _ = connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
        held.wait();
        let _ = connection.write("ok");
        After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.head().0, 200);
    gate.open();
    assert_eq!(client.exactly(2).unwrap(), b"ok");
}

#[test]
fn server_sent_events_arrive_one_by_one() {
    let origin = Origin::start(|_, connection| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = connection.write(head);
        for n in 0..5 {
            let event = format!("data: {n}\n\n");
            let _ = connection.write(format!("{:x}\r\n{event}\r\n", event.len()));
        }
        connection.wait_for_close();
        After::Close
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET /events HTTP/1.1\r\nHost: t\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!(client.head().0, 200);
    let mut text = String::new();
    while !text.ends_with("data: 4\n\n") {
        text.push_str(std::str::from_utf8(&client.chunk().unwrap()).unwrap());
    }
    assert_eq!(text, "data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\ndata: 4\n\n");
}

#[test]
fn the_upstream_reads_a_request_body_before_the_client_has_sent_all() {
    let origin = Origin::start_on_head(|_, connection| {
        let first = connection.read_some().unwrap();
        connection.respond(200, &[], if first.is_empty() { "nothing" } else { "something" });
        After::Close
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    assert_eq!(client.response().text(), "something");
}

/// Writes without end and counts what was taken.
fn endless(sent: &Arc<AtomicUsize>, chunked: bool) -> Origin {
    let sent = Arc::clone(sent);
    Origin::start(move |_, connection| {
        let block = vec![b'x'; 64 * 1024];
        let framing = if chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 4000000000" };
        let mut bytes = block.clone();
        if chunked {
            bytes = [b"10000\r\n".as_slice(), &block, b"\r\n"].concat();
        }
        let mut result = connection.write(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n"));
        while result.is_ok() {
            result = connection.write(&bytes);
            sent.fetch_add(block.len(), Ordering::SeqCst);
        }
        After::Close
    })
}

/// Waits until the counter has not moved for a while, and answers it.
fn settled(counter: &AtomicUsize) -> usize {
    let mut last = (0, std::time::Instant::now());
    wait::until("the flow to stop", || {
        let now = counter.load(Ordering::SeqCst);
        if now != last.0 {
            last = (now, std::time::Instant::now());
        }
        (now > 0 && last.1.elapsed() > Duration::from_millis(400)).then_some(now)
    })
}

#[test]
fn a_client_that_does_not_read_holds_the_upstream_back_without_memory() {
    for chunked in [false, true] {
        let sent = Arc::new(AtomicUsize::new(0));
        let origin = endless(&sent, chunked);
        let gateway = Config::to([origin.addr()]).start();
        let before = gateway.rss_kib();
        let mut clients: Vec<_> = (0..8).map(|_| RawClient::connect_narrow(gateway.addr("web"))).collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        }
        settled(&sent);
        let grown = gateway.rss_kib().saturating_sub(before);
        assert!(grown < HELD_KIB_MAX, "grew by {grown} KiB, chunked: {chunked}");
        // Reading goes on where it stopped.
        let stopped_at = sent.load(Ordering::SeqCst);
        clients[0].exactly(30 << 20).unwrap();
        assert!(sent.load(Ordering::SeqCst) > stopped_at);
        // Gone clients are gone upstream too.
        drop(clients);
        wait::until_true("the upstream requests to be cancelled", || origin.open_count() == 0);
    }
}

#[test]
fn an_upstream_that_does_not_read_holds_the_client_back_without_memory() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start_on_head(move |request, connection| {
        held.wait();
        match connection.read_body(request) {
            Ok(()) => connection.respond(200, &[], request.body.len().to_string()),
            Err(_) => return After::Close,
        }
        After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    let before = gateway.rss_kib();
    // Half of it is more than the kernel may hold on the two connections: 32 MiB to receive and 4 MiB to send on each,
    // as `net.ipv4.tcp_rmem` and `tcp_wmem` allow at most on common systems.
    let size = 192 << 20;
    let sent = Arc::new(AtomicUsize::new(0));
    let sender = std::thread::spawn({
        let (addr, sent) = (gateway.addr("web"), Arc::clone(&sent));
        move || {
            let mut client = RawClient::connect(addr);
            client.send(format!("PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n"));
            for _ in 0..size / 65_536 {
                client.send(vec![b'x'; 65_536]);
                sent.fetch_add(65_536, Ordering::SeqCst);
            }
            client.response().text()
        }
    });
    assert!(settled(&sent) < size / 2, "nobody held the client back");
    let grown = gateway.rss_kib().saturating_sub(before);
    assert!(grown < HELD_KIB_MAX, "grew by {grown} KiB");
    gate.open();
    assert_eq!(sender.join().unwrap(), size.to_string());
}

#[test]
fn a_client_that_goes_away_cancels_the_upstream_request() {
    for resets in [false, true] {
        let origin = Origin::start(behaviour::silent);
        let gateway = Config::to([origin.addr()]).start();
        let mut client = gateway.connect();
        client.send("GET /gone HTTP/1.1\r\nHost: t\r\n\r\n");
        wait::until_true("the request upstream", || origin.request_count() == 1);
        if resets {
            client.reset();
        } else {
            drop(client);
        }
        wait::until_true("the upstream connection to be closed", || origin.open_count() == 0);
        assert_eq!(gateway.access_line("/gone")["http_status"], 499);
    }
}

#[test]
fn a_client_that_only_stops_sending_is_still_answered() {
    let gate = Gate::new();
    let origin = Origin::start(behaviour::gated(&gate, "late"));
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    wait::until_true("the request upstream", || origin.request_count() == 1);
    // nginx and HAProxy treat a half-close before the answer as gone unless told otherwise; both are sound.
    client.half_close();
    gate.open();
    match client.read_response("GET") {
        Ok(response) => assert_eq!(response.text(), "late"),
        Err(error) => assert!(matches!(error, ReadError::Closed | ReadError::Reset), "{error:?}"),
    }
}

#[test]
fn a_client_that_goes_away_in_an_upload_never_completes_it() {
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).start();
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let mut client = gateway.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: t\r\n{framing}\r\n\r\n5\r\nhello\r\n"));
        let seen = origin.request_count();
        wait::until_true("some of it upstream", || origin.request_count() > seen || origin.open_count() > 0);
        drop(client);
        wait::until_true("the upload to be given up", || origin.open_count() == 0);
    }
    assert!(origin.requests().iter().all(|r| !r.is_complete));
}

#[test]
fn a_large_body_passes_both_ways_at_once() {
    let origin = Origin::start_on_head(|_, connection| {
        let _ = connection.write("HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n");
        let mut left = 8_000_000;
        while left > 0 {
            let Ok(bytes) = connection.read_some() else { return After::Close };
            if bytes.is_empty() || connection.write(&bytes).is_err() {
                return After::Close;
            }
            left -= bytes.len();
        }
        After::Close
    });
    let gateway = Config::to([origin.addr()]).start();
    let addr = gateway.addr("web");
    let mut client = RawClient::connect(addr);
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 8000000\r\n\r\n");
    assert_eq!(client.head().0, 200);
    for n in 0..100_u8 {
        client.send(vec![n; 80_000]);
        assert!(client.exactly(80_000).unwrap() == vec![n; 80_000], "block {n}");
    }
}

#[test]
fn the_body_of_an_answer_to_a_closing_client_is_complete_before_the_fin() {
    let body = "z".repeat(3_000_000);
    let origin = Origin::start({
        let body = body.clone();
        move |_, connection| {
            connection.respond(200, &[], &body);
            After::Close
        }
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = RawClient::connect_narrow(gateway.addr("web"));
    client.send("GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    assert!(client.response().text() == body);
    assert_eq!(client.ending(), Ending::Closed);
}
