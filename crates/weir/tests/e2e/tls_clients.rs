//! Clients that prove who they are: what the upstream and the log are told of them, and what nobody gets without.

use std::net::{SocketAddr, TcpStream};

use weir_testkit::{Authority, Certificate, CertificateRequest, Curl, Gateway, Origin, behaviour, curl};

use crate::Config;
use crate::tls::{TlsClient, settings, tls, tls_with};
use crate::upstream_tls::text;

/// A server's certificate, and who vouches for clients.
struct Shop {
    server: Certificate,
    clients: Authority,
    origin: Origin,
}

impl Shop {
    fn new() -> Self {
        let server = Certificate::for_names(&["shop.test", "other.test"]);
        Self {
            server,
            clients: Authority::new("Clients"),
            origin: Origin::start(behaviour::fixed(200, "hello")),
        }
    }

    fn line(&self, mode: &str) -> String {
        let ca = self.clients.file();
        tls_with(&self.server, &format!(", client_auth: {{ mode: {mode}, ca: {} }}", ca.display()))
    }

    fn config(&self, mode: &str) -> Config {
        Config::to([self.origin.addr()]).listener(&self.line(mode))
    }

    /// What curl gets that asks for `shop.test`, with the certificate of this client.
    fn ask(&self, addr: SocketAddr, client: Option<&Certificate>, more: &[&str]) -> Curl {
        let (port, file) = (addr.port(), self.server.file());
        let (resolve, url) = (format!("shop.test:{port}:127.0.0.1"), format!("https://shop.test:{port}/"));
        let mut arguments = vec!["--resolve", &resolve, "--cacert", text(&file), "-w", " %{http_code}", &url];
        arguments.extend(more);
        let shown = client.map(|client| (client.file(), client.key()));
        if let Some((cert, key)) = &shown {
            arguments.extend(["--cert", text(cert), "--key", text(key)]);
        }
        curl(&arguments)
    }
}

const TELL: &str = "policies: [{ headers: { request: { set: { x-client: \"{client_cert_subject}\" } } } }]";

#[test]
fn who_a_client_is_comes_from_its_certificate_and_never_from_its_fields() {
    let shop = Shop::new();
    let alice = CertificateRequest::new(&["alice.test"]).client().issued_by(&shop.clients);
    for mode in ["optional", "required"] {
        let gateway = shop.config(mode).route(TELL).start();
        for (version, protocol) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2")] {
            for tls in ["1.2", "1.3"] {
                let path = format!("/{mode}/{protocol}/{tls}");
                let forged =
                    ["-H", "X-Client: CN=root", "-H", "x_client: CN=root", "--request-target", &path];
                let more = [&forged[..], &[version, "--tls-max", tls]].concat();
                let answer = shop.ask(gateway.addr("web"), Some(&alice), &more);
                assert_eq!(answer.stdout, "hello 200", "{path}: {}", answer.stderr);
                let seen = shop.origin.requests().pop().unwrap();
                let subject = seen.field("x-client").unwrap_or_default();
                assert!(subject.contains("CN=alice.test") && !subject.contains("root"), "{path}: {subject}");
                let line = gateway.access_line(&path);
                assert_eq!(
                    (&line["client_cert_subject"], &line["protocol"]),
                    (&subject.into(), &protocol.into())
                );
                assert_eq!(line["client_cert_fingerprint"], alice.fingerprint(), "{path}");
            }
        }
    }
}

#[test]
fn a_client_without_a_certificate_is_nobody_or_is_turned_away() {
    let shop = Shop::new();
    let gateway = shop.config("optional").route(TELL).start();
    let answer = shop.ask(gateway.addr("web"), None, &["-H", "X-Client: CN=root"]);
    assert_eq!(answer.stdout, "hello 200", "{}", answer.stderr);
    assert!(shop.origin.only_request().field("x-client").unwrap_or_default().is_empty());
    assert!(gateway.access_line("/")["client_cert_subject"].is_null());
    let strict = shop.config("required").start();
    let answer = shop.ask(strict.addr("web"), None, &[]);
    assert_eq!(answer.stdout, " 000");
    refused(&strict, "client_certificate_missing");
    assert_eq!(shop.origin.request_count(), 1);
}

#[test]
fn a_client_whom_a_stranger_vouches_for_is_turned_away_in_either_mode() {
    let shop = Shop::new();
    let others = Authority::new("Clients");
    let expired = CertificateRequest::new(&["late.test"]).client().days(-9, -2);
    for client in [
        CertificateRequest::new(&["mallory.test"]).client().issued_by(&others),
        CertificateRequest::new(&["mallory.test"]).client().self_signed(),
        expired.issued_by(&shop.clients),
        // A server's certificate proves no client.
        shop.clients.issue(&["server.test"]),
    ] {
        for mode in ["optional", "required"] {
            let gateway = shop.config(mode).start();
            let answer = shop.ask(gateway.addr("web"), Some(&client), &[]);
            assert_eq!(answer.stdout, " 000", "{mode}");
            refused(&gateway, "client_certificate_refused");
        }
    }
    assert_eq!(shop.origin.request_count(), 0);
}

fn refused(gateway: &Gateway, reason: &str) {
    let label = format!("reason=\"{reason}\"");
    weir_testkit::wait::until_true(reason, || {
        gateway.metrics().sum("weir_tls_handshake_failures_total", &[&label]) as u64 == 1
    });
}

/// Goal: what was proved to one host is not used for another (CVE-2025-23048). Method: both versions ask for another host
/// than the one of the handshake, with and without client certificates in use.
#[test]
fn another_host_than_the_handshakes_is_misdirected_where_clients_prove_who_they_are() {
    let shop = Shop::new();
    let alice = CertificateRequest::new(&["alice.test"]).client().issued_by(&shop.clients);
    let open = Config::to([shop.origin.addr()]).listener(&tls(&shop.server)).start();
    for version in ["--http1.1", "--http2"] {
        for mode in ["optional", "required"] {
            let gateway = shop.config(mode).start();
            for (host, status) in
                [("other.test", 421), ("shop.test.", 200), ("SHOP.test:99", 200), ("127.0.0.1", 421)]
            {
                let field = format!("Host: {host}");
                let answer = shop.ask(gateway.addr("web"), Some(&alice), &[version, "-H", &field]);
                assert!(
                    answer.stdout.ends_with(&format!(" {status}")),
                    "{version} {mode} {host}: {answer:?}"
                );
                assert_eq!(answer.stdout.contains("misdirected-request"), status == 421, "{answer:?}");
            }
        }
        let answer = shop.ask(open.addr("web"), None, &[version, "-H", "Host: other.test"]);
        assert_eq!(answer.stdout, "hello 200", "{version}");
    }
    assert!(shop.origin.requests().iter().all(|request| request.field("host") != Some("127.0.0.1")));
}

/// Goal: a session is no way around a proof (CVE-2025-23419). Method: a client without a certificate offers the session
/// of a listener that asks for none to one that does, and to the same listener once a reload has it ask.
#[test]
fn a_session_without_a_proof_is_not_resumed_where_one_is_asked_for() {
    let shop = Shop::new();
    let open = Config::to([shop.origin.addr()]).listener(&tls(&shop.server));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for mode in ["optional", "required"] {
            let strict =
                format!("\n  strict:\n    bind: \"127.0.0.1:0\"\n    http: {{}}\n    {}", shop.line(mode));
            let gateway = open.clone().listener(&strict).start();
            let settings = settings(version);
            // The kind of the handshake, when the request was answered.
            let attempt = |listener: &str| {
                let socket = TcpStream::connect(gateway.addr(listener)).unwrap();
                let mut client = TlsClient::try_connect(socket, "shop.test", &settings).ok()?;
                client.send("GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n");
                let answered = client.rest().is_ok_and(|answer| answer.ends_with(b"hello"));
                answered.then(|| client.session.handshake_kind().unwrap())
            };
            let is_resumed = |kind| kind == Some(rustls::HandshakeKind::Resumed);
            assert!(attempt("web").is_some() && is_resumed(attempt("web")), "the sessions are good at home");
            let at_strict = attempt("strict");
            assert!(!is_resumed(at_strict), "{mode}");
            assert_eq!(at_strict.is_some(), mode == "optional");
            assert!(attempt("web").is_some());
            assert_eq!(gateway.reload(&shop.config(mode).yaml()).status, 200);
            let after = attempt("web");
            assert!(!is_resumed(after), "{mode} after the reload");
            assert_eq!(after.is_some(), mode == "optional");
        }
    }
}
