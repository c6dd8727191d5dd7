//! gRPC through the gateway: Python's own client and server on both sides.

use std::net::SocketAddr;

use weir_testkit::{Gateway, PythonServer, RawServer, Refusing, python};

use crate::Config;

/// The script of `servers/grpc_echo.py`.
fn server(arguments: &[&str]) -> PythonServer {
    PythonServer::start(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/grpc_echo.py"), arguments)
}

fn to(endpoints: impl IntoIterator<Item = SocketAddr>) -> Config {
    Config::to(endpoints).upstream("http: \"2\"")
}

/// What `servers/grpc_client.py` says of this case.
fn client(gateway: &Gateway, case: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/grpc_client.py");
    let output =
        python().arg(script).arg(gateway.addr("web").to_string()).arg(case).output().expect("python starts");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        .trim()
        .to_owned()
}

#[test]
fn every_kind_of_call_passes_with_its_metadata_and_status() {
    let server = server(&[]);
    let gateway = to([server.addr()]).start();
    for case in ["unary", "fail", "down", "up", "both"] {
        assert_eq!(client(&gateway, case), "ok", "{case}");
    }
    assert_eq!(gateway.metrics().sum("weir_upstream_h2_streams", &[]), 0.0);
}

#[test]
fn a_deadline_is_passed_on_and_never_lengthened() {
    let server = server(&[]);
    let gateway = to([server.addr()]).start();
    assert_eq!(client(&gateway, "deadline"), "ok");
    assert_eq!(client(&gateway, "none"), "ok");
    let gateway = to([server.addr()]).route("timeout: 2s").start();
    assert_eq!(client(&gateway, "shortened"), "ok");
    assert_eq!(client(&gateway, "late"), "ok");
}

#[test]
fn a_call_that_is_cancelled_is_cancelled_at_the_endpoint() {
    let server = server(&[]);
    let gateway = to([server.addr()]).start();
    assert_eq!(client(&gateway, "cancel"), "ok");
}

#[test]
fn connections_that_grow_old_at_the_endpoint_cost_no_call() {
    let server = server(&["100"]);
    let gateway = to([server.addr()]).start();
    assert_eq!(client(&gateway, "load"), "ok");
}

#[test]
fn errors_of_the_gateway_are_statuses_of_grpc() {
    let refusing = Refusing::start();
    let gateway = to([refusing.addr()]).start();
    assert!(client(&gateway, "error").starts_with("UNAVAILABLE"), "{}", client(&gateway, "error"));
    let silent = RawServer::start();
    let gateway = to([silent.addr()]).upstream("response_timeout: 200ms").start();
    assert!(client(&gateway, "error").starts_with("DEADLINE_EXCEEDED"), "{}", client(&gateway, "error"));
    let gateway = Config::to([refusing.addr()]).route("match: { path: /other }").yaml();
    let gateway = crate::start(&gateway.replace("    match: { path: /* }\n", ""));
    assert!(client(&gateway, "error").starts_with("UNIMPLEMENTED"), "{}", client(&gateway, "error"));
}
