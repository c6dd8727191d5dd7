//! TLS as openssl's own client sees it, and behind a load balancer's PROXY header.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output, Stdio};

use weir_testkit::{Certificate, Gateway, Origin, behaviour, curl};

use crate::Config;
use crate::tls::{TlsClient, settings, tls};
use crate::upstream_tls::text;

/// Runs `openssl s_client` with these lines as what its user types.
fn s_client(addr: SocketAddr, typed: &str, arguments: &[&str]) -> Output {
    let mut child = Command::new("timeout")
        .args(["20", "openssl", "s_client", "-servername", "shop.test", "-connect", &addr.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed by scripts/test");
    child.stdin.take().expect("a piped stdin").write_all(typed.as_bytes()).expect("openssl reads");
    child.wait_with_output().expect("a child can be waited for")
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].iter().map(|part| String::from_utf8_lossy(part)).collect()
}

fn start(origin: &Origin, certificate: &Certificate) -> Gateway {
    Config::to([origin.addr()]).listener(&tls(certificate)).start()
}

#[test]
fn openssl_agrees_on_each_version_and_protocol() {
    let certificate = Certificate::for_names(&["shop.test"]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway = start(&origin, &certificate);
    let file = certificate.file();
    let request = "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n";
    for (version, told) in [("-tls1_2", "New, TLSv1.2"), ("-tls1_3", "New, TLSv1.3")] {
        for (offered, agreed) in [("h2", "h2"), ("http/1.1", "http/1.1"), ("http/1.1,h2", "h2")] {
            let more = [version, "-alpn", offered, "-CAfile", text(&file), "-verify_return_error"];
            let is_old = agreed == "http/1.1";
            // Of HTTP/2 the handshake is enough.
            let (typed, more) = match is_old {
                true => (request, [&more[..], &["-ign_eof"]].concat()),
                false => ("Q\n", more.to_vec()),
            };
            let all = said(&s_client(gateway.addr("web"), typed, &more));
            assert!(all.contains(told) && all.contains("Verification: OK"), "{version} {offered}: {all}");
            assert!(all.contains(&format!("ALPN protocol: {agreed}\n")), "{version} {offered}: {all}");
            assert_eq!(all.contains("HTTP/1.1 200 "), is_old, "{version} {offered}: {all}");
        }
        let all = said(&s_client(gateway.addr("web"), "", &[version, "-alpn", "spdy/1"]));
        assert!(all.contains("no application protocol"), "{all}");
    }
    for version in ["-tls1", "-tls1_1"] {
        let all = said(&s_client(gateway.addr("web"), "", &[version, "-cipher", "ALL:@SECLEVEL=0"]));
        assert!(all.contains("SSL alert number") && all.contains("Cipher is (NONE)"), "{all}");
    }
    let failures = gateway.metrics().sum("weir_tls_handshake_failures_total", &["reason=\"version\""]);
    assert_eq!(failures as u64, 2);
}

#[test]
fn openssl_resumes_its_session_at_home_alone() {
    let certificate = Certificate::for_names(&["shop.test"]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let (gateway, other) = (start(&origin, &certificate), start(&origin, &certificate));
    let request = "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n";
    for version in ["-tls1_2", "-tls1_3"] {
        let session = gateway.folder().join(version);
        let first =
            s_client(gateway.addr("web"), request, &[version, "-ign_eof", "-sess_out", text(&session)]);
        assert!(said(&first).contains("New, TLS"), "{}", said(&first));
        for (at, told) in [(&gateway, "Reused, TLS"), (&other, "New, TLS")] {
            let more = [version, "-ign_eof", "-sess_in", text(&session)];
            let again = said(&s_client(at.addr("web"), request, &more));
            assert!(again.contains(told) && again.contains("HTTP/1.1 200 "), "{version}: {again}");
        }
    }
}

#[test]
fn a_renegotiation_is_refused() {
    let certificate = Certificate::for_names(&["shop.test"]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway = start(&origin, &certificate);
    // `R` alone in a line has openssl ask for it.
    let output = s_client(gateway.addr("web"), "R\n", &["-tls1_2"]);
    let all = said(&output);
    assert!(all.contains("RENEGOTIATING") && all.contains("no renegotiation"), "{all}");
    assert!(!output.status.success());
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn a_proxy_header_comes_before_tls_and_tells_who_the_client_is() {
    let certificate = Certificate::for_names(&["shop.test"]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway = Config::to([origin.addr()])
        .listener("proxy_protocol: required")
        .listener(&tls(&certificate))
        .top("trusted_proxies: [127.0.0.1]")
        .start();
    let addr = gateway.addr("web");
    let v2 = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..],
        &[203, 0, 113, 7, 203, 0, 113, 1],
        &50_000_u16.to_be_bytes(),
        &443_u16.to_be_bytes(),
    ];
    let v1 = b"PROXY TCP4 203.0.113.7 203.0.113.1 50000 443\r\n";
    for (path, header) in [("/v1", v1.to_vec()), ("/v2", v2.concat())] {
        let mut socket = TcpStream::connect(addr).unwrap();
        socket.write_all(&header).unwrap();
        let settings = settings(&rustls::version::TLS13);
        let mut client = TlsClient::try_connect(socket, "shop.test", &settings).unwrap();
        assert!(client.get("shop.test", path).ends_with("hello"));
        assert_eq!(gateway.access_line(path)["client_ip"], "203.0.113.7", "{path}");
        let seen = origin.requests().pop().unwrap();
        assert_eq!(seen.field("x-forwarded-for"), Some("203.0.113.7"));
        assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    }
    // curl writes one of version 1.
    let (resolve, url) =
        (format!("shop.test:{}:127.0.0.1", addr.port()), format!("https://shop.test:{}/", addr.port()));
    let file = certificate.file();
    let own = ["--resolve", &resolve, "--cacert", text(&file), &url];
    for version in ["--http1.1", "--http2"] {
        let answer = curl(&[&own[..], &["--haproxy-protocol", version]].concat());
        assert_eq!(answer.stdout, "hello", "{}", answer.stderr);
    }
    let without = curl(&own);
    assert_ne!((without.exit, without.stdout.as_str()), (0, "hello"));
    assert_eq!(origin.request_count(), 4);
}
