//! Calls of browsers: the libraries that pages use, and the bytes themselves, against a gRPC service in Python.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use weir_testkit::{After, Gateway, Origin, PythonServer, RawClient, Response, browse, curl, node};

use crate::Config;

const SERVICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/grpc_greeter.py");

const POLICIES: &str = "policies: [ { cors: { origins: \"http://page.example\", headers: [content-type, x-grpc-web, \
                        grpc-timeout], expose: [grpc-status, grpc-message] } }, { grpc_web: {} }, { compress: {} } ]";

/// The service, and the gateway in front of it.
fn echo() -> (PythonServer, Gateway) {
    let service = PythonServer::start(SERVICE, &[]);
    let gateway = Config::to([service.addr()]).upstream("http: \"2\"").route(POLICIES).start();
    (service, gateway)
}

fn script(name: &str) -> String {
    format!("{}/tests/npm/{name}.mjs", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_client_of_connect_calls_the_service() {
    let (_service, gateway) = echo();
    let url = format!("http://{}", gateway.addr("web"));
    let run = |scenario: &str| node(script("connect"), &[&url, scenario]);
    let message = |text: &str| json!({ "$typeName": "google.protobuf.StringValue", "value": text });
    assert_eq!(run("unary"), json!({ "first": "1", "sum": "AAH/", "answer": message("hello page") }));
    assert_eq!(run("streaming"), json!([message("0"), message("1"), message("2")]));
    assert_eq!(run("fail"), json!({ "code": 5, "message": "no page: ä" }));
    assert_eq!(run("failLate"), json!([message("0"), { "code": 15, "message": "lost" }]));
    let left: f64 = run("timeLeft")["value"].as_str().unwrap().parse().unwrap();
    assert!((50.0..=60.0).contains(&left), "{left}");
}

#[test]
fn the_grpc_web_library_calls_the_service_in_both_modes() {
    let (_service, gateway) = echo();
    let url = format!("http://{}", gateway.addr("web"));
    for format in ["binary", "text"] {
        let run = |scenario: &str| node(script("grpc-web"), &[&url, format, scenario]);
        assert_eq!(run("unary"), json!("hello page"), "{format}");
        assert_eq!(run("streaming"), json!(["0", "1", "2"]), "{format}");
        assert_eq!(run("fail"), json!({ "code": 5, "message": "no page: ä" }), "{format}");
        assert_eq!(run("failLate"), json!(["0", { "code": 15, "message": "lost" }]), "{format}");
    }
}

/// The message `{ value: text }`, framed.
fn framed(text: &str) -> Vec<u8> {
    let length = text.len() as u8;
    [&[0, 0, 0, 0, length + 2, 0x0a, length], text.as_bytes()].concat()
}

fn send(client: &mut RawClient, method: &str, media: &str, body: &[u8]) {
    let head = format!(
        "POST /test.Echo/{method} HTTP/1.1\r\nHost: t\r\nOrigin: http://page.example\r\nContent-Type: {media}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    client.send([head.as_bytes(), body].concat());
}

fn call(gateway: &Gateway, method: &str, media: &str, body: &[u8]) -> Response {
    let mut client = gateway.connect();
    send(&mut client, method, media, body);
    client.response()
}

#[test]
fn trailers_are_the_last_frame_and_nothing_else() {
    let (_service, gateway) = echo();
    let answer = call(&gateway, "Greet", "application/grpc-web+proto", &framed("me"));
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/grpc-web")));
    assert!(!answer.head.fields.has("grpc-status") && answer.trailers.0.is_empty(), "{answer:?}");
    let message = framed("hello me");
    let (first, last) = answer.body.split_at(message.len());
    assert_eq!((first, last[0]), (&message[..], 0x80));
    let (length, lines) = last[1..].split_at(4);
    assert_eq!(u32::from_be_bytes(length.try_into().unwrap()) as usize, lines.len());
    let lines = String::from_utf8_lossy(lines);
    assert_eq!(lines.matches("grpc-status: 0\r\n").count(), 1, "{lines}");
    assert!(lines.contains("x-sum-bin: AAH/\r\n"), "{lines}");
}

#[test]
fn a_call_over_http2_is_answered_alike() {
    let (_service, gateway) = echo();
    let call = |method: &str, data: &str| {
        let url = format!("http://{}/test.Echo/{method}", gateway.addr("web"));
        let media = "content-type: application/grpc-web-text";
        curl(&["--http2-prior-knowledge", "-i", "-H", media, "--data-binary", data, &url]).stdout
    };
    let answer = call("Greet", "AAAAAAQKAm1l");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/2 200") && !head.contains("grpc-status"), "{head}");
    // The message "hello me", then a frame of trailers that begins with `grpc-status: 0`.
    assert!(body.starts_with("AAAAAAoKCGhlbGxvIG1lgAAAAENncnBjLXN0YXR1czogMA0K"), "{body}");
    let failed = call("Fail", "AAAAAAA=");
    assert!(failed.contains("grpc-status: 5\r\n") && failed.ends_with("\r\n\r\n"), "{failed}");
}

#[test]
fn a_message_arrives_before_the_next_one_exists() {
    for (media, go) in
        [("application/grpc-web", framed("")), ("application/grpc-web-text", b"AAAAAAA=".to_vec())]
    {
        let (_service, gateway) = echo();
        let mut client = gateway.connect();
        let body = if media.ends_with("text") { b"AAAAAAMKATI=".to_vec() } else { framed("2") };
        send(&mut client, "Count", media, &body);
        assert_eq!(client.head().0, 200);
        let first = client.chunk().unwrap();
        assert_eq!(first, if media.ends_with("text") { b"AAAAAAMKATA=".to_vec() } else { framed("0") });
        assert_eq!(call(&gateway, "Go", media, &go).status, 200);
        assert!(!client.chunked_body().unwrap().0.is_empty());
    }
}

#[test]
fn a_call_reaches_the_service_as_one_of_grpc() {
    let (_service, gateway) = echo();
    let mut client = gateway.connect();
    let body = framed("");
    client.send(format!(
        "POST /test.Echo/Metadata HTTP/1.1\r\nHost: t\r\nContent-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1\r\n\
         X-Own: 7\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    client.send(&body);
    let answer = String::from_utf8_lossy(&client.response().body).into_owned();
    assert!(answer.contains("x-own: 7") && !answer.contains("x-grpc-web"), "{answer}");
}

#[test]
fn errors_of_the_gateway_and_of_the_service_are_told_in_the_head() {
    let (service, gateway) = echo();
    let media = "application/grpc-web-text+proto";
    let told = |answer: &Response| {
        assert_eq!((answer.status, answer.text().as_str()), (200, ""), "{answer:?}");
        assert!(answer.field("content-type").unwrap().starts_with("application/grpc-web-text"), "{answer:?}");
        assert_eq!(answer.field("access-control-allow-origin"), Some("http://page.example"));
        assert_eq!(answer.field("access-control-expose-headers"), Some("grpc-status, grpc-message"));
        answer.field("grpc-status").unwrap().to_owned()
    };
    assert_eq!(told(&call(&gateway, "Fail", media, b"AAAAAAA=")), "5");
    // Not base64, cut within a message, and a frame that only an answer may have.
    for body in [&b"AAAA!AA="[..], b"AAAAAAM=", b"gAAAAAA="] {
        assert_eq!(told(&call(&gateway, "Greet", media, body)), "13", "{body:?}");
    }
    drop(service);
    assert_eq!(told(&call(&gateway, "Greet", media, b"AAAAAAA=")), "14");
}

#[test]
fn a_page_may_ask_first() {
    let (_service, gateway) = echo();
    let mut client = gateway.connect();
    client.send(
        "OPTIONS /test.Echo/Greet HTTP/1.1\r\nHost: t\r\nOrigin: http://page.example\r\nAccess-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: content-type,x-grpc-web,grpc-timeout\r\n\r\n",
    );
    let answer = client.response();
    assert_eq!(answer.status, 204);
    assert_eq!(answer.field("access-control-allow-headers"), Some("content-type, x-grpc-web, grpc-timeout"));
}

#[test]
fn a_page_in_chromium_calls_the_service_of_another_origin() {
    let service = PythonServer::start(SERVICE, &[]);
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pages/grpc_web.html")).unwrap();
    let shown = Arc::new(Mutex::new(String::new()));
    let held = Arc::clone(&shown);
    let site = Origin::start(move |_, connection| {
        connection.respond(200, &[("Content-Type", "text/html")], held.lock().unwrap().as_str());
        After::KeepOpen
    });
    let cors = POLICIES.replace("http://page.example", &format!("http://{}", site.addr()));
    let gateway = Config::to([service.addr()])
        .upstream("http: \"2\"")
        .route(&cors)
        .another_route("{ match: { path: /other }, respond: { body: secret } }")
        .start();
    *shown.lock().unwrap() = page.replace("GATEWAY", &format!("http://{}", gateway.addr("web")));
    let seen = browse(&format!("http://{}/", site.addr()));
    assert_eq!(
        seen,
        json!({
            "message": "hello page",
            "trailers": true,
            "status": "5",
            "hidden": null,
            "method": "blocked: TypeError",
            "other": "blocked: TypeError",
        })
    );
}

#[test]
fn explain_and_the_admin_address_show_the_policies() {
    let (_service, gateway) = echo();
    let shown: Value = gateway.admin_get("/api/v1/config").json();
    let policies = shown["routes"][0]["policies"].to_string();
    for part in [
        "\"grpc_web\"",
        "\"min_bytes\":1024",
        "\"http://page.example\"",
        "\"codings\":[\"zstd\",\"br\",\"gzip\"]",
    ] {
        assert!(policies.contains(part), "{part} is not in {policies}");
    }
}
