//! Clients that are slow, large, many or malformed.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Example, Running, TOKEN, read_reply};
use crate::Guard;
use crate::connection::{BODY_BYTES_MAX, HEAD_BYTES_MAX, Service, serve};
use crate::places::Places;
use crate::source::Ends;
use weir_config::Secret;

/// A connection without a socket, for tests in which time is not real.
fn pair(bytes_held: usize) -> (DuplexStream, watch::Sender<bool>, JoinHandle<()>) {
    let (client, server) = tokio::io::duplex(bytes_held);
    let stopping = watch::Sender::new(false);
    let service = Arc::new(Service::new(Arc::new(Example::default()), Guard::new(&[], None)));
    let places = Places::new(Arc::clone(&service.stats));
    let ending = stopping.subscribe();
    let serving = tokio::spawn(async move {
        let place = places.place(Ends::default().source()).await.unwrap();
        serve(server, Ends::default(), place, service, ending).await;
    });
    (client, stopping, serving)
}

#[tokio::test(start_paused = true)]
async fn a_head_or_body_that_does_not_come_is_refused_in_time() {
    let body = "POST /api/v1/explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{";
    let chunks =
        "POST /api/v1/explain HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{";
    for sent in ["GET /healthz HTTP/1.1\r\nHo", "G", body, chunks] {
        let (mut client, _stopping, _) = pair(1 << 20);
        let began = tokio::time::Instant::now();
        client.write_all(sent.as_bytes()).await.unwrap();
        let reply = read_reply(&mut client, &mut Vec::new(), true).await.unwrap();
        reply.expect_problem(408, "request-timeout");
        assert_eq!(reply.field("connection"), Some("close"));
        assert!(began.elapsed() <= Duration::from_secs(6), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_no_faster_than_one_that_stands() {
    let (mut client, _stopping, _) = pair(1 << 20);
    let began = tokio::time::Instant::now();
    let drip = async {
        for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: yyyyyyyyyyyyyyyyyyy".iter().cycle() {
            tokio::time::sleep(Duration::from_millis(900)).await;
            if client.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    };
    drip.await;
    assert!(began.elapsed() <= Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed_without_a_word() {
    let (mut client, _stopping, _) = pair(1 << 20);
    let mut received = Vec::new();
    assert_eq!(client.read_to_end(&mut received).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_given_up() {
    let (client, _stopping, served) = pair(16);
    let (_unread, mut sending) = tokio::io::split(client);
    sending.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    served.await.unwrap();
}

#[tokio::test]
async fn bodies_are_bounded_before_and_while_they_are_read() {
    let running = Running::example();
    for (fields, body) in [
        ("Content-Length: 4000000000\r\n".to_owned(), String::new()),
        (format!("Content-Length: {}\r\n", BODY_BYTES_MAX + 1), String::new()),
        ("Content-Length: 99999999\r\nExpect: 100-continue\r\n".to_owned(), String::new()),
        (
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("{:x}\r\n{}", BODY_BYTES_MAX + 1, "x".repeat(BODY_BYTES_MAX + 1)),
        ),
    ] {
        let request = format!("POST /api/v1/explain HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}");
        running.ask_raw(&request).await.expect_problem(413, "body-too-large");
    }
    let largest = format!("{{\"url\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX - 10));
    assert_eq!(largest.len(), BODY_BYTES_MAX);
    let fields = format!("Content-Length: {}\r\n", largest.len());
    let request = format!("POST /api/v1/explain HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{largest}");
    assert_eq!(running.ask_raw(&request).await.status, 200);
}

#[tokio::test]
async fn a_refusal_after_a_head_request_has_its_body() {
    let running = Running::example();
    let mut stream = running.connect().await;
    stream.write_all(b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nHEAD \0\r\n\r\n").await.unwrap();
    let mut received = Vec::new();
    assert_eq!(read_reply(&mut stream, &mut received, false).await.unwrap().status, 200);
    read_reply(&mut stream, &mut received, true).await.unwrap().expect_problem(400, "bad-request");
}

#[tokio::test]
async fn a_client_that_waits_is_told_to_go_on() {
    let running = Running::example();
    let mut stream = running.connect().await;
    let head = "POST /api/v1/explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    assert_eq!(read_reply(&mut stream, &mut received, false).await.unwrap().status, 100);
    stream.write_all(br#"{"url":"/a"}"#).await.unwrap();
    assert_eq!(read_reply(&mut stream, &mut received, true).await.unwrap().status, 200);
}

#[tokio::test]
async fn heads_are_bounded() {
    let running = Running::example();
    let long = "x".repeat(HEAD_BYTES_MAX);
    running.ask(&format!("GET /{long}"), "").await.expect_problem(414, "uri-too-long");
    running.ask("GET /healthz", &format!("X: {long}\r\n")).await.expect_problem(431, "headers-too-large");
    running.ask("GET /healthz", &"X: y\r\n".repeat(65)).await.expect_problem(431, "headers-too-large");
}

#[tokio::test]
async fn a_stranger_is_refused_before_the_body_is_read() {
    let running = Running::start(Example::default(), &[], Some(TOKEN));
    let reply = running.ask("POST /api/v1/explain", "Content-Length: 4000000000\r\n").await;
    reply.expect_problem(401, "unauthorized");
    assert_eq!(reply.field("connection"), Some("close"), "what follows is no request");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_until_the_first_that_is_garbage() {
    let running = Running::example();
    let good = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let post =
        "POST /api/v1/explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n{\"url\":\"/a\"}";
    for (garbage, status) in [
        ("\0\0\0\0\r\n\r\n", 400),
        ("GET\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\nHost: localhost\n\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        ("GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (
            "POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ] {
        let mut stream = running.connect().await;
        stream.write_all(format!("{good}{post}\r\n{good}{garbage}{good}").as_bytes()).await.unwrap();
        let mut received = Vec::new();
        for _ in 0..3 {
            assert_eq!(
                read_reply(&mut stream, &mut received, true).await.unwrap().status,
                200,
                "{garbage:?}"
            );
        }
        let refused = read_reply(&mut stream, &mut received, true).await.unwrap();
        assert_eq!(refused.status, status, "{garbage:?} {refused:?}");
        refused.expect_problem(status, refused.field("weir-error").unwrap());
        assert!(
            read_reply(&mut stream, &mut received, true).await.is_none(),
            "{garbage:?} was followed by more"
        );
    }
    assert_eq!(running.gateway.revision.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_shutdown_closes_idle_connections_and_refuses_new_ones() {
    let Running { server, gateway: _gateway } = Running::start(Example::default(), &[], Some(TOKEN));
    let running = Running { server, gateway: Arc::new(Example::default()) };
    let addr = running.addr();
    let mut idle = running.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(&mut idle, &mut Vec::new(), true).await.unwrap().status, 200);
    running.server.shut_down(Duration::from_secs(60)).await;
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

#[test]
fn the_token_is_not_shown_in_debug_output() {
    let guard = Guard::new(&[], Some(Secret::new(TOKEN)));
    assert!(!format!("{guard:?}").contains(TOKEN));
}
