//! WebSocket over TLS: the clients of Python and of browsers, over HTTP/1.1 and over HTTP/2, to a real server.

use serde_json::json;
use weir_testkit::{After, Certificate, Gate, Gateway, Origin, PythonServer, browse_until_loaded, python};

use crate::Config;
use crate::tls::tls;
use crate::upstream_tls::text;

fn script(name: &str) -> String {
    format!("{}/tests/servers/{name}.py", env!("CARGO_MANIFEST_DIR"))
}

/// The server, and a gateway with TLS in front of it.
fn echo(certificate: &Certificate, site: &Origin) -> (PythonServer, Gateway) {
    let server = PythonServer::start(script("websocket_echo"), &[]);
    let gateway = Config::to([server.addr()])
        .listener(&tls(certificate))
        .another_route("{ match: { path: [/, /held, /done] }, forward: site }")
        .top(&format!("  site: {{ endpoints: [\"{}\"] }}", site.addr()))
        .start();
    (server, gateway)
}

/// A site with the page, whose `/held` is answered when `/done` is asked for.
fn site() -> Origin {
    let gate = Gate::new();
    let page = include_str!("../pages/websocket.html");
    Origin::start(move |request, connection| {
        match request.target.as_str() {
            "/held" => gate.wait(),
            "/done" => gate.open(),
            _ => {}
        }
        connection.respond(200, &[("Content-Type", "text/html")], page);
        After::KeepOpen
    })
}

#[test]
fn pythons_client_is_echoed_over_http1_within_tls() {
    let certificate = Certificate::for_names(&["shop.test"]);
    let site = site();
    let (_server, gateway) = echo(&certificate, &site);
    let port = gateway.addr("web").port().to_string();
    let file = certificate.file();
    let run = python().arg(script("websocket_client")).args([&port, text(&file)]).output().unwrap();
    let told = String::from_utf8_lossy(&run.stdout);
    assert_eq!(told.trim(), "TLSv1.3 1000", "{}", String::from_utf8_lossy(&run.stderr));
    let line = gateway.access_line("/ws");
    assert_eq!((&line["http_status"], &line["protocol"]), (&101.into(), &"HTTP/1.1".into()));
}

/// Goal: pages have their WebSockets over the connection that they came by (RFC 8441). Method: Chromium loads the page
/// over HTTP/2, so that what it opens goes over the same connection, to a server of HTTP/1.1.
#[test]
fn a_page_in_chromium_is_echoed_over_http2_within_tls() {
    let certificate = Certificate::for_names(&["localhost"]);
    let site = site();
    let (_server, gateway) = echo(&certificate, &site);
    let seen = browse_until_loaded(&format!("https://localhost:{}/", gateway.addr("web").port()));
    assert_eq!(seen, json!({ "url": "https:", "echoes": [5, 100_000], "closed": [1000, true] }));
    let line = gateway.access_line("/ws");
    assert_eq!((&line["http_status"], &line["protocol"]), (&200.into(), &"HTTP/2".into()), "{line}");
    assert_eq!(line["tls_version"], "TLSv1.3");
}
