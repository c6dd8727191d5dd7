//! Endpoints that are spoken to over TLS: whom they must prove to be, and what becomes of those who do not.

use std::net::SocketAddr;
use std::path::Path;

use weir_testkit::{
    After, Authority, Certificate, CertificateRequest, Gateway, Nginx, Origin, PythonServer, ReadError, wait,
};

use crate::{Config, binary};

/// An nginx with this certificate that tells what was asked for.
fn nginx(certificate: &Certificate, more: &str) -> Nginx {
    let told = "return 200 \"$ssl_server_name $ssl_session_reused $ssl_protocol $ssl_client_verify $host $connection_requests\";";
    Nginx::listening(
        "ssl",
        &format!("{} ssl_protocols TLSv1.2 TLSv1.3; {more} location / {{ {told} }}", certificate.nginx()),
    )
}

/// The script of `servers/tls.py` in this mode.
pub(crate) fn python(certificate: &Certificate, mode: &str, client_ca: Option<&Path>) -> PythonServer {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/tls.py");
    let (cert, key) = (certificate.file(), certificate.key());
    let mut arguments = vec![text(&cert), text(&key), mode];
    arguments.extend(client_ca.map(text));
    PythonServer::start(script, &arguments)
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a folder of a test has a plain name")
}

/// To these endpoints over TLS with these keys.
fn to(endpoints: &[SocketAddr], tls: &str) -> Config {
    Config::to(endpoints).upstream(&format!("tls: {{ {tls} }}"))
}

fn ca(authority: &Authority) -> String {
    format!("ca: {}", authority.file().display())
}

/// The code, and the sentence that the client is told.
fn refused(gateway: &Gateway) -> (String, String) {
    let answer = gateway.get("/");
    assert_eq!(answer.status, 502, "{answer:?}");
    (answer.field("weir-error").unwrap_or_default().to_owned(), answer.json()["detail"].to_string())
}

fn handshakes(gateway: &Gateway, kind: &str) -> f64 {
    let label = format!("kind=\"{kind}\"");
    gateway.metrics().sum("weir_upstream_tls_handshakes_total", &["upstream=\"app\"", &label])
}

fn failures(gateway: &Gateway, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}\"");
    gateway.metrics().sum("weir_upstream_tls_failures_total", &["upstream=\"app\"", &label])
}

#[test]
fn an_endpoint_that_proves_its_address_is_served_over_kept_connections() {
    let authority = Authority::new("tests");
    let origin = nginx(&authority.issue(&["127.0.0.1"]), "");
    let gateway = to(&[origin.addr()], &ca(&authority)).start();
    let mut client = gateway.connect();
    let answers: Vec<String> = (0..3).map(|_| client.get("shop.test", "/").text()).collect();
    // An address is not asked for by name.
    assert_eq!(answers, [1, 2, 3].map(|n| format!(" . TLSv1.3 NONE shop.test {n}")));
    assert_eq!((handshakes(&gateway, "full"), handshakes(&gateway, "resumed")), (1.0, 0.0));
}

#[test]
fn an_endpoint_must_prove_the_name_that_the_configuration_gives_it_and_is_asked_for_it() {
    let authority = Authority::new("tests");
    let origin = nginx(&authority.issue(&["app.test", "localhost"]), "");
    let first_word = |config: Config| config.start().get("/").text().split(' ').next().map(str::to_owned);
    let ca = ca(&authority);
    let named = to(&[origin.addr()], &format!("{ca}, server_name: app.test"));
    assert_eq!(first_word(named).as_deref(), Some("app.test"));
    let by_host = to(&[origin.addr()], &ca).upstream("host: \"app.test:443\"");
    assert_eq!(first_word(by_host).as_deref(), Some("app.test"));
    let own =
        Config::to([format!("localhost:{}", origin.addr().port())]).upstream(&format!("tls: {{ {ca} }}"));
    let gateway = own.start();
    let answer = wait::until("the name to be found", || Some(gateway.get("/")).filter(|a| a.status == 200));
    assert!(answer.text().starts_with("localhost "), "{answer:?}");
}

#[test]
fn what_a_client_asks_for_never_decides_whom_an_endpoint_must_prove_to_be() {
    let authority = Authority::new("tests");
    let origin = nginx(&authority.issue(&["shop.test"]), "");
    let gateway = to(&[origin.addr()], &ca(&authority)).start();
    let answer = gateway.connect().get("shop.test", "/");
    assert_eq!(answer.field("weir-error"), Some("upstream-tls-failed"), "{answer:?}");
}

#[test]
fn who_does_not_prove_to_be_the_endpoint_is_told_apart_and_gets_no_request() {
    let (authority, other) = (Authority::new("tests"), Authority::new("others"));
    let cases = [
        ("unknown_issuer", other.issue(&["app.test"]), "unknown issuer"),
        ("wrong_name", authority.issue(&["api.test"]), "another name"),
        ("expired", CertificateRequest::new(&["app.test"]).days(-9, -2).issued_by(&authority), "has expired"),
        (
            "not_yet_valid",
            CertificateRequest::new(&["app.test"]).days(2, 9).issued_by(&authority),
            "not valid yet",
        ),
        ("unknown_issuer", Certificate::for_names(&["app.test"]), "unknown issuer"),
        (
            "bad_certificate",
            CertificateRequest::new(&["app.test"]).client().issued_by(&authority),
            "cannot be used",
        ),
    ];
    for (reason, certificate, sentence) in cases {
        let origin = nginx(&certificate, "");
        let gateway = to(&[origin.addr()], &format!("{}, server_name: app.test", ca(&authority))).start();
        let (code, detail) = refused(&gateway);
        assert_eq!(code, "upstream-tls-failed", "{reason}");
        assert!(detail.contains(sentence) && !detail.contains(".test"), "{reason}: {detail}");
        assert_eq!(failures(&gateway, reason), 1.0, "{reason}");
        let event = wait::until("the event", || gateway.events("upstream_tls_failed").pop());
        assert_eq!((&event["reason"], &event["upstream"]), (&reason.into(), &"app".into()));
        let line = gateway.access_line("/");
        assert_eq!((&line["error"], &line["http_status"]), (&"upstream-tls-failed".into(), &502.into()));
    }
}

#[test]
fn what_is_no_tls_or_closes_within_the_handshake_is_told() {
    let authority = Authority::new("tests");
    let plain = Nginx::start("location / { return 200 plain; }");
    let early = python(&authority.issue(&["127.0.0.1"]), "early", None);
    for (origin, reason) in [(plain.addr(), "not_tls"), (early.addr(), "closed")] {
        let gateway = to(&[origin], &ca(&authority)).start();
        assert_eq!(refused(&gateway).0, "upstream-tls-failed");
        assert_eq!(failures(&gateway, reason), 1.0, "{reason}");
    }
}

#[test]
fn another_endpoint_takes_what_one_without_tls_did_not_get() {
    let authority = Authority::new("tests");
    let (good, bad) =
        (nginx(&authority.issue(&["127.0.0.1"]), ""), nginx(&Certificate::for_names(&["x"]), ""));
    let gateway = to(&[bad.addr(), good.addr()], &ca(&authority)).start();
    let mut client = gateway.connect();
    for _ in 0..12 {
        client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(client.read_response("POST").unwrap().status, 200);
    }
    let failed = gateway.metrics().sum("weir_endpoint_failures_total", &["kind=\"tls\""]);
    assert_eq!(failed, 5.0, "then it was paused");
    assert_eq!(gateway.events("endpoint_state").len(), 1);
}

#[test]
fn an_insecure_upstream_takes_anybody_and_says_so_everywhere() {
    let origin = nginx(&Certificate::for_names(&["other.test"]), "");
    let gateway = to(&[origin.addr()], "insecure: true").start();
    assert_eq!(gateway.get("/").status, 200);
    let warnings = gateway.events("start_warning");
    assert!(
        warnings.iter().any(|w| w["message"].as_str().is_some_and(|m| m.contains("INSECURE"))),
        "{warnings:?}"
    );
    let status = gateway.admin_get("/api/v1/status").json();
    assert!(status["warnings"].to_string().contains("INSECURE"), "{status}");
    let upstreams = gateway.admin_get("/api/v1/upstreams").json();
    assert_eq!(upstreams["upstreams"][0]["tls"]["insecure"], true, "{upstreams}");
}

#[test]
fn the_authorities_of_the_system_count_unless_others_are_named() {
    let authority = Authority::new("tests");
    let origin = nginx(&authority.issue(&["127.0.0.1"]), "");
    let config = Config::to([origin.addr()]).upstream("tls: on").yaml();
    // An empty one names no folder, whatever the machine of the test has set.
    let trusting =
        |file: &Path| binary().env("SSL_CERT_DIR", "").env("SSL_CERT_FILE", file.to_str().unwrap());
    let gateway = trusting(&authority.file()).start(&config);
    assert_eq!(gateway.get("/").status, 200);
    let gateway = trusting(&Authority::new("others").file()).start(&config);
    assert_eq!(refused(&gateway).0, "upstream-tls-failed");
    let (_, said) = trusting(Path::new("/nonexistent.pem")).start_refused(&config);
    assert!(said.contains("certificate authorities cannot be read") && said.contains("`ca: FILE`"), "{said}");
}

#[test]
fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let (authority, clients) = (Authority::new("tests"), Authority::new("clients"));
    let issued = authority.issue(&["127.0.0.1"]);
    let ours = CertificateRequest::new(&["gateway.test"]).client().issued_by(&clients);
    let certificate =
        format!("certificate: {{ cert: {}, key: {} }}", ours.file().display(), ours.key().display());
    let verify = format!("ssl_verify_client on; ssl_client_certificate {};", clients.file().display());
    let origin = nginx(&issued, &verify);
    let ca = ca(&authority);
    let gateway = to(&[origin.addr()], &format!("{ca}, {certificate}")).start();
    assert!(gateway.get("/").text().contains(" SUCCESS "));
    // One that looks at it after the handshake, as TLS 1.3 allows.
    let strict = python(&issued, "whole", Some(&clients.file()));
    let gateway = to(&[strict.addr()], &format!("{ca}, {certificate}")).start();
    assert_eq!(gateway.get("/").text(), "all of it");
    for versions in ["[\"1.3\"]", "\"1.2\""] {
        let gateway = to(&[strict.addr()], &format!("{ca}, versions: {versions}")).start();
        let (code, detail) = refused(&gateway);
        assert_eq!(code, "upstream-tls-failed", "{versions}: {detail}");
        let told = failures(&gateway, "certificate_refused") + failures(&gateway, "refused");
        assert_eq!(told, 1.0, "{versions}");
    }
}

#[test]
fn sessions_go_on_over_new_connections() {
    let authority = Authority::new("tests");
    let origin = nginx(&authority.issue(&["127.0.0.1"]), "");
    for (versions, spoken) in [("\"1.3\"", "TLSv1.3"), ("\"1.2\"", "TLSv1.2")] {
        let config = to(&[origin.addr()], &format!("{}, versions: {versions}", ca(&authority)));
        let gateway = config.upstream("pool: { idle_per_worker: 0 }").start();
        assert_eq!(gateway.get("/").text(), format!(" . {spoken} NONE test 1"));
        assert_eq!(gateway.get("/").text(), format!(" r {spoken} NONE test 1"));
        assert_eq!((handshakes(&gateway, "full"), handshakes(&gateway, "resumed")), (1.0, 1.0));
    }
}

#[test]
fn a_body_that_ends_without_a_word_is_not_the_whole() {
    let authority = Authority::new("tests");
    let issued = authority.issue(&["127.0.0.1"]);
    let (cut, whole) = (python(&issued, "cut", None), python(&issued, "whole", None));
    let gateway = to(&[whole.addr()], &ca(&authority)).start();
    assert_eq!(gateway.get("/").text(), "all of it");
    let gateway = to(&[cut.addr()], &ca(&authority)).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(matches!(client.read_response("GET"), Err(ReadError::Cut { .. } | ReadError::Reset)));
    assert_eq!(gateway.access_line("/")["error"], "upstream-cut");
}

#[test]
fn large_bodies_pass_both_ways() {
    let authority = Authority::new("tests");
    let certificate = authority.issue(&["127.0.0.1"]);
    let taker = Origin::start(|request, connection| {
        connection.respond(200, &[], request.body.len().to_string());
        After::KeepOpen
    });
    let origin = Nginx::listening(
        "ssl",
        &format!(
            "{} location /up {{ proxy_request_buffering off; proxy_http_version 1.1; proxy_pass http://{}; }}",
            certificate.nginx(),
            taker.addr()
        ),
    );
    let body: Vec<u8> = (0..8_u32 << 20).map(|n| (n / 7) as u8).collect();
    std::fs::write(origin.root().join("large"), &body).unwrap();
    let gateway = to(&[origin.addr()], &ca(&authority)).start();
    assert!(gateway.get("/large").body == body);
    let mut client = gateway.connect();
    client.send(format!("POST /up HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(&body);
    assert_eq!(client.read_response("POST").unwrap().text(), body.len().to_string());
}

#[test]
fn a_reload_with_another_authority_gives_up_kept_connections_and_keeps_counters() {
    let (authority, other) = (Authority::new("tests"), Authority::new("others"));
    let origin = nginx(&authority.issue(&["127.0.0.1"]), "");
    let good = to(&[origin.addr()], &ca(&authority)).top("workers: 1");
    let gateway = good.start();
    let requests = |gateway: &Gateway| gateway.metrics().sum("weir_endpoint_requests_total", &[]);
    assert!(gateway.get("/").text().ends_with(" 1") && gateway.get("/").text().ends_with(" 2"));
    let same = gateway.reload(&good.upstream("response_timeout: 9s").yaml());
    assert_eq!(same.status, 200, "{same:?}");
    assert!(gateway.get("/").text().ends_with(" 3"), "nothing about TLS has changed");
    let bad = to(&[origin.addr()], &ca(&other)).top("workers: 1");
    assert_eq!(gateway.reload(&bad.yaml()).status, 200);
    assert_eq!(refused(&gateway).0, "upstream-tls-failed");
    assert_eq!(requests(&gateway), 4.0);
    assert_eq!(gateway.reload(&to(&[origin.addr()], &ca(&authority)).top("workers: 1").yaml()).status, 200);
    let answer = gateway.get("/").text();
    assert!(
        answer.starts_with(" . ") && answer.ends_with(" 1"),
        "a new connection without the old session: {answer}"
    );
}

#[test]
fn a_changed_authority_file_is_read_again_by_itself() {
    let (authority, other) = (Authority::new("tests"), Authority::new("others"));
    let origin = nginx(&authority.issue(&["127.0.0.1"]), "");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::copy(other.file(), &file).unwrap();
    let gateway = to(&[origin.addr()], &format!("ca: {}", file.display())).start();
    assert_eq!(refused(&gateway).0, "upstream-tls-failed");
    let beside = folder.path().join("new.pem");
    std::fs::copy(authority.file(), &beside).unwrap();
    std::fs::rename(&beside, &file).unwrap();
    wait::until("the new authority to count", || (gateway.get("/").status == 200).then_some(()));
}
