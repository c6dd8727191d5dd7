//! What a TLS client may try: each is refused, by whoever it is judged, and others are served.

use std::process::{Command, Stdio};

use weir_testkit::{Authority, Certificate, Gateway, Origin, behaviour};

use crate::Config;
use crate::tls::{TlsClient, tls, tls_with};

/// What OpenSSL's client says of a session with these options, on which it sends `input`.
fn s_client(gateway: &Gateway, options: &[&str], input: &str) -> String {
    let script = format!(
        "printf '{input}' | timeout 10 openssl s_client -connect {} \"$@\" 2>&1",
        gateway.addr("web")
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).args(options).stdin(Stdio::null());
    String::from_utf8_lossy(&command.output().expect("openssl runs").stdout).into_owned()
}

fn served() -> (Origin, Gateway) {
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway = Config::to([origin.addr()]).listener(&tls(&Certificate::for_names(&["shop.test"]))).start();
    (origin, gateway)
}

fn serves(gateway: &Gateway) {
    assert!(TlsClient::connect(gateway.addr("web"), "shop.test").get("shop.test", "/").contains("200"));
}

#[test]
fn a_session_is_not_negotiated_anew() {
    let (_origin, gateway) = served();
    let said = s_client(&gateway, &["-tls1_2"], "R\\n");
    assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
    serves(&gateway);
}

#[test]
fn old_versions_and_other_protocols_are_refused() {
    let (_origin, gateway) = served();
    for options in [&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..], &["-tls1", "-cipher", "ALL:@SECLEVEL=0"]]
    {
        let said = s_client(&gateway, options, "");
        assert!(said.contains("alert"), "{options:?}: {said}");
    }
    // A page's request cannot be passed off as another protocol's words (ALPACA).
    for protocol in ["ftp", "smtp", "h3"] {
        let said = s_client(&gateway, &["-alpn", protocol], "");
        assert!(said.contains("no application protocol"), "{protocol}: {said}");
    }
    serves(&gateway);
}

/// Where certificates of clients are asked for, a host's requests come over connections that named it: a client that was
/// let in for one host says so to no other.
#[test]
fn a_request_for_another_host_than_the_connections_is_misdirected() {
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let authority = Authority::new("clients");
    let keys = format!(", client_auth: {{ mode: optional, ca: {} }}", authority.file().display());
    let certificate = Certificate::for_names(&["shop.test", "admin.test"]);
    let gateway = Config::to([origin.addr()]).listener(&tls_with(&certificate, &keys)).start();
    let mut client = TlsClient::connect(gateway.addr("web"), "shop.test");
    assert!(client.get("shop.test", "/").contains(" 200 "));
    let refused = client.get("admin.test", "/");
    assert!(refused.contains(" 421 ") && refused.contains("misdirected-request"), "{refused}");
    assert_eq!(origin.request_count(), 1);
}
