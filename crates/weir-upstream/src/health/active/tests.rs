use std::net::SocketAddr;
use std::sync::Arc;

use regex::Regex;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket, UnixListener};

use super::*;
use crate::link::Links;
use crate::tls_tally::TlsTally;
use crate::{Address, BodyPlan, HttpCheckPlan, UdpCheckPlan, UpstreamPlan};

/// Accepts one connection, reads the request and writes what `answer` says, in pieces of at most that many bytes.
async fn server(answer: Vec<u8>, piece: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        read_request(&mut socket).await;
        for piece in answer.chunks(piece) {
            // The checker may have seen enough.
            if socket.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    address
}

async fn read_request(socket: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && socket.read_buf(&mut request).await.unwrap() > 0 {}
    String::from_utf8(request).unwrap()
}

/// An endpoint at this address, without TLS.
fn asked(address: impl Into<Address>) -> Asked {
    let tally = Arc::new(TlsTally::new("app".into()));
    let link = Links::new(&UpstreamPlan::new("app"), &tally).link(None, None);
    Asked { address: address.into(), host: "app:80".into(), link }
}

fn http(http: HttpCheckPlan) -> ActivePlan {
    ActivePlan::new(CheckPlan::Http(http))
}

fn holding(body: BodyPlan) -> HttpCheckPlan {
    HttpCheckPlan { body: Some(body), ..HttpCheckPlan::default() }
}

/// The status and the fault of a check that is answered with this.
async fn outcome(plan: HttpCheckPlan, answer: impl AsRef<[u8]>) -> (Option<u16>, Option<String>) {
    let address = server(answer.as_ref().to_vec(), usize::MAX).await;
    let result = check(&asked(address), &http(plan)).await;
    (result.status, result.fault)
}

fn text(body: &str) -> BodyPlan {
    BodyPlan::Text(body.to_owned())
}

fn at(path: &str, value: serde_json::Value) -> BodyPlan {
    BodyPlan::Json { path: path.to_owned(), value }
}

fn document(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn expected_statuses_are_good_and_redirects_are_not_followed() {
    let plan = HttpCheckPlan { statuses: vec![200..=204, 401..=401], ..HttpCheckPlan::default() };
    for (status, is_good) in [(200, true), (204, true), (205, false), (302, false), (401, true), (500, false)]
    {
        let answer = format!("HTTP/1.1 {status} X\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n");
        let fault = (!is_good).then(|| format!("status {status}"));
        assert_eq!(outcome(plan.clone(), answer).await, (Some(status), fault));
    }
}

#[tokio::test]
async fn the_final_status_counts_and_not_an_interim_one() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
    let good = outcome(HttpCheckPlan::default(), format!("{interim}HTTP/1.1 200 OK\r\n\r\n")).await;
    assert_eq!(good, (Some(200), None));
    let switched = outcome(HttpCheckPlan::default(), "HTTP/1.1 101 Switching Protocols\r\n\r\n").await;
    assert_eq!(switched, (Some(101), Some("status 101".to_owned())));
}

#[tokio::test]
async fn bodies_are_read_in_every_framing_and_in_every_piece() {
    let answers = [
        document("state: ready"),
        "HTTP/1.1 200 OK\r\n\r\nstate: ready".to_owned(),
        "HTTP/1.0 200 OK\r\n\r\nstate: ready".to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nstate: re\r\n3;x=1\r\nady\r\n0\r\nT: 1\r\n\r\n".to_owned(),
    ];
    for answer in answers {
        for piece in [1, 7, 1_000] {
            let address = server(answer.clone().into_bytes(), piece).await;
            let result = check(&asked(address), &http(holding(text("state: ready")))).await;
            assert_eq!((result.status, result.fault), (Some(200), None), "{answer:?} by {piece}");
        }
    }
}

#[tokio::test]
async fn a_body_must_hold_what_is_wanted() {
    let (plain, json) =
        (document("all 3 shards ready"), document(r#"{"a":{"b":[{"state":"UP","n":1.0,"on":true}]}}"#));
    let no_text = Some("the body does not hold the expected text");
    let no_match = Some("the body does not match the expected expression");
    let cases = [
        (text("3 shards"), &plain, None),
        (text("3 Shards"), &plain, no_text),
        (BodyPlan::Regex(Regex::new("all [0-9]+ shards").unwrap()), &plain, None),
        (BodyPlan::Regex(Regex::new("^shards").unwrap()), &plain, no_match),
        (at("a.b.0.state", json!("UP")), &json, None),
        (at("$.a.b.0.state", json!("UP")), &json, None),
        (at("a.b.0.n", json!(1)), &json, None),
        (at("a.b.0.on", json!("true")), &json, None),
        (at("a.b.0.n", json!("1.0")), &json, None),
        (at("$", json!({"a": {"b": [{"state": "UP", "n": 1.0, "on": true}]}})), &json, None),
        (at("a.b.0.state", json!("up")), &json, Some("`a.b.0.state` is \"UP\", not \"up\"")),
        (at("a.b.1.state", json!("UP")), &json, Some("the body has no `a.b.1.state`")),
        (at("a.b.state", json!("UP")), &json, Some("the body has no `a.b.state`")),
        (at("a", json!(1)), &plain, Some("the body is not a JSON document")),
    ];
    for (wanted, answer, fault) in cases {
        let judged = outcome(holding(wanted.clone()), answer).await;
        assert_eq!(judged, (Some(200), fault.map(str::to_owned)), "{wanted:?}");
    }
}

#[tokio::test]
async fn no_more_than_64_kib_of_a_body_are_read() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
    let early = format!("{head}needle{}", "x".repeat(100_000));
    assert_eq!(outcome(holding(text("needle")), early).await, (Some(200), None));
    let late = format!("{head}{}needle{}", "x".repeat(64 << 10), "x".repeat(100_000));
    assert!(outcome(holding(text("needle")), late).await.1.is_some());
}

#[tokio::test]
async fn what_is_not_a_whole_unambiguous_answer_is_a_failure() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let interims = "HTTP/1.1 100 Continue\r\n\r\n".repeat(4_000);
    for (answer, status, reason) in [
        ("", None, "the connection was closed before the head was complete"),
        ("HTTP/1.1 200 OK\r\nX: y\r\n", None, "the connection was closed before the head was complete"),
        ("\u{1}\u{2}\u{3}", None, "the answer is not HTTP/1.1"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", None, "the status line is not `HTTP/1.1 STATUS REASON`"),
        ("HTTP/1.1 200 OK\nX: y\n\n", None, "the answer is not HTTP/1.1"),
        (&long, None, "the head is longer than 64 KiB"),
        (&interims, None, "the head is longer than 64 KiB"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
            Some(200),
            "the connection was closed within the body",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nhalf",
            Some(200),
            "Content-Length is not one plain number",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            Some(200),
            "a chunk size is not valid",
        ),
    ] {
        let judged = outcome(holding(text("half")), answer).await;
        assert_eq!(judged, (status, Some(reason.to_owned())), "{answer:.60}");
    }
}

#[tokio::test]
async fn one_timeout_bounds_the_whole_check() {
    // Answers a head and then nothing more, and keeps the connection.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await.unwrap();
        // Until the checker closes.
        let _ = socket.read(&mut [0]).await;
    });
    let timeout = Duration::from_millis(20);
    let plan = ActivePlan { timeout, ..http(holding(text("never"))) };
    let result = check(&asked(address), &plan).await;
    assert_eq!(result.fault.as_deref(), Some("no answer within 20ms"));
    assert!(result.took >= timeout);
}

#[tokio::test]
async fn a_refused_connection_is_a_failure_for_both_kinds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    assert_eq!(check(&asked(address.clone()), &ActivePlan::new(CheckPlan::Tcp)).await.fault, None);
    drop(listener);
    for plan in [ActivePlan::new(CheckPlan::Tcp), http(HttpCheckPlan::default())] {
        let fault = check(&asked(address.clone()), &plan).await.fault.unwrap();
        assert!(fault.starts_with("cannot connect: "), "{fault}");
    }
}

#[tokio::test]
async fn a_unix_socket_is_checked_like_an_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let served = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let request = read_request(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        request
    });
    let plan = HttpCheckPlan {
        path: "/ready?deep=1".to_owned(),
        host: Some("other".to_owned()),
        ..Default::default()
    };
    let result = check(&asked(Address::Unix(path)), &http(plan)).await;
    assert_eq!((result.status, result.fault), (Some(200), None));
    let request = served.await.unwrap();
    assert!(request.starts_with("GET /ready?deep=1 HTTP/1.1\r\nHost: other\r\n"), "{request}");
}

fn udp(send: &[u8], expect: Option<&[u8]>) -> ActivePlan {
    let expect = expect.map(<[u8]>::to_vec);
    ActivePlan::new(CheckPlan::Udp(UdpCheckPlan { send: send.to_vec(), expect }))
}

/// Answers one datagram with these; what it was is told.
async fn datagrams(
    bind: &str,
    answers: &[&[u8]],
) -> (Address, tokio::task::JoinHandle<(Vec<u8>, UdpSocket)>) {
    let socket = UdpSocket::bind(bind).await.unwrap();
    let address = socket.local_addr().unwrap();
    let answers: Vec<Vec<u8>> = answers.iter().map(|answer| answer.to_vec()).collect();
    let served = tokio::spawn(async move {
        let mut request = vec![0; 2_000];
        let (length, peer) = socket.recv_from(&mut request).await.unwrap();
        for answer in answers {
            socket.send_to(&answer, peer).await.unwrap();
        }
        request.truncate(length);
        (request, socket)
    });
    (address.into(), served)
}

#[tokio::test]
async fn a_datagram_is_sent_and_one_of_the_answers_must_hold_what_is_expected() {
    // An answer of DNS, which holds the question's id, and one of another kind before it.
    let longest = [&[b'x'; 65_000][..], b"\0\x01\x81\x80"].concat();
    type Bytes<'a> = &'a [u8];
    let cases: [(Bytes, Option<Bytes>, &[Bytes]); 7] = [
        (b"ping", None, &[b"anything"]),
        (b"ping", None, &[b""]),
        (b"", Some(b"pong"), &[b"pong"]),
        (b"ping", Some(b"pong"), &[b"a pong of 3"]),
        (b"\0\x01\x01\0", Some(b"\0\x01\x81\x80"), &[b"\0\x01\x81\x80rest"]),
        (b"ping", Some(b"pong"), &[b"", b"pon", b"welcome", b"pong"]),
        (b"ping", Some(b"\x81\x80"), &[&longest]),
    ];
    for (send, expect, answers) in cases {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let (address, served) = datagrams(bind, answers).await;
            let result = check(&asked(address.clone()), &udp(send, expect)).await;
            assert_eq!((result.status, result.fault), (None, None), "{expect:?} of {bind}");
            assert_eq!(served.await.unwrap().0, send);
        }
    }
}

#[tokio::test]
async fn a_refused_datagram_is_a_failure_at_once() {
    let (address, unused) = datagrams("127.0.0.1:0", &[]).await;
    unused.abort();
    assert!(unused.await.is_err(), "the socket is closed");
    // An hour passes for no test: the refusal ends the check.
    let plan = ActivePlan { timeout: Duration::from_secs(3_600), ..udp(b"ping", None) };
    let fault = check(&asked(address.clone()), &plan).await.fault.unwrap();
    assert!(fault.starts_with("cannot receive: Connection refused"), "{fault}");
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_or_something_else_fails_at_the_timeout() {
    let timeout = Duration::from_millis(20);
    for (answers, reason) in [
        (&[][..], "no answer within 20ms"),
        (&[&b"busy"[..], b""], "none of 2 answers within 20ms holds what is expected"),
    ] {
        let (address, served) = datagrams("127.0.0.1:0", answers).await;
        let result =
            check(&asked(address.clone()), &ActivePlan { timeout, ..udp(b"ping", Some(b"pong")) }).await;
        assert_eq!(result.fault.as_deref(), Some(reason));
        assert!(result.took >= timeout);
        drop(served);
    }
}

/// Answers come from the endpoint's own address and port alone.
#[tokio::test]
async fn nobody_else_can_answer_for_the_endpoint() {
    let (endpoint, stranger) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = Address::from(endpoint.local_addr().unwrap());
    let plan = udp(b"ping", None);
    let checked = tokio::spawn(async move { check(&asked(address.clone()), &plan).await });
    let (_, peer) = endpoint.recv_from(&mut [0; 9]).await.unwrap();
    stranger.send_to(b"pong", peer).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!checked.is_finished());
    endpoint.send_to(b"pong", peer).await.unwrap();
    assert_eq!(checked.await.unwrap().fault, None);
}

#[tokio::test]
async fn a_unix_socket_takes_no_datagrams() {
    let result = check(&asked(Address::Unix("/run/app.sock".into())), &udp(b"ping", None)).await;
    assert_eq!(result.fault.as_deref(), Some("a unix socket takes no datagrams"));
}
