use std::net::SocketAddr;

use regex::Regex;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::{BodyPlan, HttpCheckPlan};

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

fn http(http: HttpCheckPlan) -> ActivePlan {
    ActivePlan::new(CheckPlan::Http(http))
}

fn holding(body: BodyPlan) -> HttpCheckPlan {
    HttpCheckPlan { body: Some(body), ..HttpCheckPlan::default() }
}

/// The status and the fault of a check that is answered with this.
async fn outcome(plan: HttpCheckPlan, answer: impl AsRef<[u8]>) -> (Option<u16>, Option<String>) {
    let address = server(answer.as_ref().to_vec(), usize::MAX).await;
    let result = check(&address.into(), "app:80", &http(plan)).await;
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
            let result = check(&address.into(), "app:80", &http(holding(text("state: ready")))).await;
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
    let result = check(&address.into(), "app:80", &plan).await;
    assert_eq!(result.fault.as_deref(), Some("no answer within 20ms"));
    assert!(result.took >= timeout);
}

#[tokio::test]
async fn a_refused_connection_is_a_failure_for_both_kinds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    assert_eq!(check(&address, "", &ActivePlan::new(CheckPlan::Tcp)).await.fault, None);
    drop(listener);
    for plan in [ActivePlan::new(CheckPlan::Tcp), http(HttpCheckPlan::default())] {
        let fault = check(&address, "app:80", &plan).await.fault.unwrap();
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
    let result = check(&Address::Unix(path), "localhost", &http(plan)).await;
    assert_eq!((result.status, result.fault), (Some(200), None));
    let request = served.await.unwrap();
    assert!(request.starts_with("GET /ready?deep=1 HTTP/1.1\r\nHost: other\r\n"), "{request}");
}
