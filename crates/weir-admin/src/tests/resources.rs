//! What is answered.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use weir_net::BindAddress;

use super::{Example, Running, read_reply};
use crate::{EndpointOrder, Guard, Server};

#[tokio::test]
async fn the_probes_have_their_documented_shapes() {
    let running = Running::example();
    assert_eq!(running.ask("GET /healthz", "").await.json(), json!({ "status": "ok" }));
    assert_eq!(running.ask("GET /healthz?deep=false", "").await.json(), json!({ "status": "ok" }));
    assert_eq!(running.ask("GET /healthz?x&deep=true", "").await.json()["upstreams"], json!(["db"]));
    assert_eq!(running.ask("GET /health/live", "").await.json(), json!({ "status": "UP" }));
    let ready = running.ask("GET /health/ready", "").await;
    let up = json!({ "status": "UP", "dependencies": [{ "name": "db", "status": "UP" }] });
    assert_eq!((ready.status, ready.json()), (200, up));
    let running = Running::start(Example { is_down: true, ..Example::default() }, &[], None);
    let ready = running.ask("GET /health/ready", "").await;
    let down = json!({ "status": "DOWN", "dependencies": [{ "name": "db", "status": "DOWN" }] });
    assert_eq!((ready.status, ready.json()), (503, down));
    assert_eq!(running.ask("GET /health/live", "").await.status, 200);
}

#[tokio::test]
async fn no_answer_may_be_stored_sniffed_framed_or_run() {
    let running = Running::example();
    for line in ["GET /healthz", "GET /metrics", "GET /nothing", "POST /api/v1/reload", "PUT /api/v1/reload"]
    {
        let reply = running.ask(line, "").await;
        assert_eq!(reply.field("cache-control"), Some("no-store"), "{line}");
        assert_eq!(reply.field("x-content-type-options"), Some("nosniff"), "{line}");
        assert!(reply.field("content-security-policy").unwrap().starts_with("default-src 'none'"), "{line}");
        assert!(reply.field("date").is_some(), "{line}");
    }
    let metrics = running.ask("GET /metrics", "").await;
    assert!(metrics.field("content-type").unwrap().starts_with("text/plain; version=0.0.4"), "{metrics:?}");
}

#[tokio::test]
async fn views_are_json_and_head_is_get_without_the_body() {
    let running = Running::example();
    for name in ["status", "config", "routes", "upstreams", "certificates"] {
        let reply = running.ask(&format!("GET /api/v1/{name}"), "").await;
        assert_eq!((reply.status, reply.field("content-type")), (200, Some("application/json")), "{name}");
        let head = running.ask(&format!("HEAD /api/v1/{name}"), "").await;
        assert_eq!(head.field("content-length"), reply.field("content-length"), "{name}");
    }
}

#[tokio::test]
async fn wrong_methods_and_unknown_paths_are_problems() {
    let running = Running::example();
    for (line, allow) in [
        ("GET /api/v1/reload", "POST"),
        ("HEAD /api/v1/explain", "POST"),
        ("DELETE /api/v1/upstreams/app/endpoints/a:1/down", "POST"),
        ("POST /api/v1/status", "GET, HEAD"),
        ("OPTIONS /metrics", "GET, HEAD"),
        ("BREW /healthz", "GET, HEAD"),
    ] {
        let reply = running.ask(line, "").await;
        assert_eq!((reply.status, reply.field("allow")), (405, Some(allow)), "{line}");
        if !line.starts_with("HEAD") {
            reply.expect_problem(405, "method-not-allowed");
        }
    }
    for line in ["GET /", "GET /api/v2/status", "POST /api/v1/reload/", "OPTIONS *", "CONNECT localhost:1"] {
        running.ask(line, "").await.expect_problem(404, "not-found");
    }
    let instance = &running.ask("GET /no%20thing?secret=1", "").await.json()["instance"];
    assert_eq!(instance, "/no%20thing");
}

#[tokio::test]
async fn a_reload_answers_with_the_revision_or_with_every_problem() {
    let running = Running::example();
    assert_eq!(running.ask("POST /api/v1/reload", "").await.json(), json!({ "revision": 1 }));
    assert_eq!(running.ask("POST /api/v1/reload", "").await.json(), json!({ "revision": 2 }));
    let running = Running::start(Example { is_broken: true, ..Example::default() }, &[], None);
    for accept in ["", "Accept: */*\r\n", "Accept: application/problem+json\r\n"] {
        let reply = running.ask("POST /api/v1/reload", accept).await;
        reply.expect_problem(422, "configuration-rejected");
        let detail = reply.json()["detail"].clone();
        assert!(detail.as_str().unwrap().contains("`a` is bad\nerror[W0002]: `b` is bad"), "{detail}");
    }
    let list = running.ask("POST /api/v1/reload", "Accept: text/html, application/json;q=0.9\r\n").await;
    assert_eq!((list.status, list.field("weir-error")), (422, Some("configuration-rejected")));
    assert_eq!(list.json(), json!({ "problems": [{ "code": "W0001" }, { "code": "W0002" }] }));
}

#[tokio::test]
async fn a_question_that_makes_no_sense_says_why() {
    let running = Running::example();
    let ask = |body: &'static str| {
        let request = format!(
            "POST /api/v1/explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let running = &running;
        async move { running.ask_raw(&request).await }
    };
    assert_eq!(ask(r#"{"url":"/a"}"#).await.json(), json!({ "url": "/a" }));
    for (body, word) in [("", "JSON"), ("{", "JSON"), ("\u{1}", "JSON"), ("{}", "`url`"), ("[]", "`url`")] {
        let reply = ask(body).await;
        reply.expect_problem(400, "invalid-argument");
        assert!(reply.json()["detail"].as_str().unwrap().contains(word), "{reply:?}");
    }
}

#[tokio::test]
async fn an_operators_order_reaches_the_endpoint_that_it_names() {
    let running = Running::example();
    for (address, order) in
        [("127.0.0.1:80", "drain"), ("unix:%2Frun%2Fa.sock", "down"), ("%5B::1%5D:80", "up")]
    {
        let reply = running.ask(&format!("POST /api/v1/upstreams/app/endpoints/{address}/{order}"), "").await;
        assert_eq!((reply.status, &reply.json()["order"]), (200, &json!(order)));
    }
    let wanted = [
        ("127.0.0.1:80", EndpointOrder::Drain),
        ("unix:/run/a.sock", EndpointOrder::Down),
        ("[::1]:80", EndpointOrder::Up),
    ];
    let wanted = wanted.map(|(address, order)| ("app".to_owned(), address.to_owned(), order));
    assert_eq!(*running.gateway.orders.lock().unwrap(), wanted);
    running.ask("POST /api/v1/upstreams/no/endpoints/a:1/up", "").await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn a_panic_is_one_answer_and_not_the_server() {
    let running = Running::start(Example { is_broken: true, ..Example::default() }, &[], None);
    let mut stream = running.connect().await;
    let mut received = Vec::new();
    for (path, status) in [("/api/v1/config", 500), ("/api/v1/status", 200)] {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(read_reply(&mut stream, &mut received, true).await.unwrap().status, status);
    }
    running.ask("GET /api/v1/config", "").await.expect_problem(500, "internal");
}

#[tokio::test]
async fn a_unix_socket_is_served_and_removed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let bind = BindAddress::Unix(path.clone());
    let server =
        Server::start(&bind, 0o600, Guard::new(&[], None), std::sync::Arc::new(Example::default())).unwrap();
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream
        .write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_reply(&mut stream, &mut Vec::new(), true).await.unwrap().status, 200);
    drop(server);
    assert!(!path.exists());
}
