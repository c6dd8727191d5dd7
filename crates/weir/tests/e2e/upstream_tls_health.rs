//! Health checks of endpoints that are spoken to over TLS, and those that ask by gRPC.

use std::net::SocketAddr;

use weir_testkit::{Authority, Gateway, Nginx, PythonServer, wait};

use crate::upstream_tls::{python, text};
use crate::{Config, start};

const FAST: &str = "interval: 100ms, timeout: 5s";

/// Why the last check of the first endpoint of an upstream failed; none where it was good.
fn fault(gateway: &Gateway, upstream: &str) -> Option<String> {
    let check = wait::until("a check", || {
        let all = gateway.admin_get("/api/v1/upstreams").json();
        let shown = all["upstreams"].as_array()?.iter().find(|shown| shown["name"] == upstream)?.clone();
        let check = shown["endpoints"][0]["last_check"].clone();
        (!check.is_null()).then_some(check)
    });
    check["fault"].as_str().map(str::to_owned)
}

/// An upstream `app` of this endpoint that is checked so.
fn checked(endpoint: SocketAddr, tls: &str, check: &str) -> Gateway {
    let health = format!("health: {{ active: {{ {check}, {FAST} }} }}");
    Config::to([endpoint]).upstream(tls).upstream(&health).start()
}

#[test]
fn checks_are_made_over_tls_and_verify_as_requests_do() {
    let (authority, other) = (Authority::new("tests"), Authority::new("others"));
    let certificate = authority.issue(&["127.0.0.1"]);
    let origin =
        Nginx::listening("ssl http2", &format!("{} location / {{ return 200 fine; }}", certificate.nginx()));
    let trusting = |authority: &Authority| format!("tls: {{ ca: {} }}", authority.file().display());
    for check in ["http: { path: /, body: fine }", "tcp: {}"] {
        let gateway = checked(origin.addr(), &trusting(&authority), check);
        assert_eq!(fault(&gateway, "app"), None, "{check}");
        assert_eq!(gateway.get("/").status, 200);
        let gateway = checked(origin.addr(), &trusting(&other), check);
        let fault = fault(&gateway, "app").expect("a check that fails");
        assert!(fault.starts_with("no TLS: ") && fault.ends_with("(unknown issuer)"), "{check}: {fault}");
    }
    let with_http2 = format!("{}\n    http: \"2\"", trusting(&authority));
    let gateway = checked(origin.addr(), &with_http2, "http: { path: /, body: fine }");
    assert_eq!(fault(&gateway, "app"), None);
}

#[test]
fn a_server_that_accepts_connections_and_no_tls_is_not_well() {
    let authority = Authority::new("tests");
    let plain = Nginx::start("location / { return 200 plain; }");
    let early = python(&authority.issue(&["127.0.0.1"]), "early", None);
    for origin in [plain.addr(), early.addr()] {
        let gateway = checked(origin, &format!("tls: {{ ca: {} }}", authority.file().display()), "tcp: {}");
        let fault = fault(&gateway, "app").expect("a check that fails");
        assert!(fault.starts_with("no TLS: "), "{fault}");
    }
}

#[test]
fn a_corrected_authority_brings_an_endpoint_back() {
    let (authority, other) = (Authority::new("tests"), Authority::new("others"));
    let certificate = authority.issue(&["127.0.0.1"]);
    let origin =
        Nginx::listening("ssl", &format!("{} location / {{ return 200 fine; }}", certificate.nginx()));
    let config = |authority: &Authority| {
        Config::to([origin.addr()])
            .upstream(&format!("tls: {{ ca: {} }}", authority.file().display()))
            .upstream(&format!("health: {{ active: {{ tcp: {{}}, {FAST} }} }}"))
    };
    let gateway = config(&other).start();
    assert!(fault(&gateway, "app").is_some());
    assert_eq!(gateway.reload(&config(&authority).yaml()).status, 200);
    wait::until("the endpoint to come up", || (gateway.get("/").status == 200).then_some(()));
}

#[test]
fn a_service_is_asked_by_grpc_and_only_one_that_serves_is_well() {
    let authority = Authority::new("tests");
    let certificate = authority.issue(&["127.0.0.1"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/health_service.py");
    let plain = PythonServer::start(script, &[]);
    let secured = PythonServer::start(script, &[text(&certificate.file()), text(&certificate.key())]);
    let web = Nginx::start("location / { return 404; }");
    let upstream = |name: &str, origin: SocketAddr, tls: &str, check: &str| {
        let check = format!("health: {{ active: {{ grpc: {{ {check} }}, {FAST} }} }}");
        format!("  {name}: {{ endpoints: [\"{origin}\"], {tls} {check} }}\n")
    };
    let tls = format!("tls: {{ ca: {} }},", authority.file().display());
    let mut upstreams = String::new();
    for (suffix, origin, tls) in [("", plain.addr(), ""), ("_tls", secured.addr(), &*tls)] {
        for (name, check) in
            [("whole", ""), ("up", "service: up"), ("down", "service: down"), ("other", "service: other")]
        {
            upstreams.push_str(&upstream(&format!("{name}{suffix}"), origin, tls, check));
        }
    }
    upstreams.push_str(&upstream("web", web.addr(), "", ""));
    let gateway = start(&format!(
        "listeners:\n  web: {{ bind: \"127.0.0.1:0\", http: {{}} }}\nroutes:\n  - forward: up\nupstreams:\n{upstreams}"
    ));
    for suffix in ["", "_tls"] {
        assert_eq!(fault(&gateway, &format!("whole{suffix}")), None);
        assert_eq!(fault(&gateway, &format!("up{suffix}")), None);
        let down = fault(&gateway, &format!("down{suffix}"));
        assert_eq!(down.as_deref(), Some("`down` does not serve (NOT_SERVING)"));
        let other = fault(&gateway, &format!("other{suffix}"));
        assert_eq!(other.as_deref(), Some("the server does not know `other`"));
    }
    assert!(fault(&gateway, "web").is_some(), "a server of HTTP/1.1 answers no gRPC");
}
