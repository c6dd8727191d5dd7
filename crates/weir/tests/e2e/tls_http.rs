//! HTTP/1.1 within TLS: the same as without it, and what only TLS brings.

use std::time::Duration;

use weir_testkit::{After, Certificate, Origin, RawClient, behaviour, curl, wait, websocket};

use crate::Config;
use crate::tls::{TlsClient, settings, tls, tls_with};

/// What curl needs to reach a host at the listener.
fn curl_to(
    addr: std::net::SocketAddr,
    certificate: &Certificate,
    path: &str,
    more: &[&str],
) -> weir_testkit::Curl {
    let (port, file) = (addr.port(), certificate.file());
    let resolve = format!("shop.test:{port}:127.0.0.1");
    let url = format!("https://shop.test:{port}{path}");
    let own = ["--resolve", &resolve, "--cacert", file.to_str().expect("a path is text"), &url];
    curl(&[&own[..], more].concat())
}

#[test]
fn curl_is_served_over_both_versions_with_bodies_of_megabytes_both_ways() {
    let certificate = Certificate::for_names(&["shop.test"]);
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).listener(&tls(&certificate)).start();
    let body = gateway.folder().join("body");
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|at| b'a' + (at % 23) as u8).collect();
    std::fs::write(&body, &bytes).unwrap();
    let data = format!("@{}", body.display());
    for version in ["1.2", "1.3"] {
        let only = ["--tls-max", version, &format!("--tlsv{version}"), "--data-binary", &data];
        let answer = curl_to(gateway.addr("web"), &certificate, "/echo", &only);
        assert_eq!(answer.exit, 0, "{}", answer.stderr);
        assert!(answer.stdout.as_bytes() == bytes, "{} bytes over {version}", answer.stdout.len());
    }
    let seen = origin.requests();
    assert_eq!(seen[0].field("x-forwarded-proto"), Some("https"));
    let lines = wait::until("two lines", || {
        let lines = gateway.log_lines(|line| line["path"] == "/echo");
        (lines.len() == 2).then_some(lines)
    });
    let told: Vec<_> = lines.iter().map(|line| line["tls_version"].as_str().unwrap()).collect();
    assert_eq!(told, ["TLSv1.2", "TLSv1.3"]);
    let line = &lines[1];
    assert_eq!((&line["sni"], &line["tls_certificate"]), (&"shop.test".into(), &"shop.test".into()));
    assert!(line["tls_cipher"].as_str().unwrap().starts_with("TLS_"), "{line}");
    assert!(line["client_cert_subject"].is_null());
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("weir_tls_handshakes_total", &["resumed=\"false\""]) as u64, 2);
}

#[test]
fn a_connection_is_kept_and_its_next_session_is_resumed() {
    let certificate = Certificate::for_names(&["shop.test"]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway = Config::to([origin.addr()]).listener(&tls(&certificate)).start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let settings = settings(version);
        for _ in 0..2 {
            let socket = std::net::TcpStream::connect(gateway.addr("web")).unwrap();
            let mut client = TlsClient::try_connect(socket, "shop.test", &settings).unwrap();
            for _ in 0..3 {
                assert!(client.get("shop.test", "/").ends_with("\r\n\r\nhello"));
            }
        }
    }
    let metrics = gateway.metrics();
    for version in ["TLSv1.2", "TLSv1.3"] {
        for resumed in ["true", "false"] {
            let labels = [&format!("version=\"{version}\"")[..], &format!("resumed=\"{resumed}\"")];
            assert_eq!(metrics.sum("weir_tls_handshakes_total", &labels) as u64, 1, "{labels:?}");
        }
    }
}

/// Goal: a session of one listener is worth nothing at another, whose clients may have to prove who they are
/// (CVE-2025-23419). Method: a client that offers the tickets of the one to the other.
#[test]
fn a_session_is_not_resumed_at_another_listener() {
    let certificate = Certificate::for_names(&["shop.test"]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let line = tls(&certificate);
    let gateway = Config::to([origin.addr()])
        .listener(&line)
        .listener(&format!("\n  other:\n    bind: \"127.0.0.1:0\"\n    http: {{}}\n    {line}"))
        .start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let settings = settings(version);
        for listener in ["web", "other", "web"] {
            let socket = std::net::TcpStream::connect(gateway.addr(listener)).unwrap();
            let mut client = TlsClient::try_connect(socket, "shop.test", &settings).unwrap();
            client.get("shop.test", "/");
            let kind = client.session.handshake_kind().unwrap();
            assert_ne!(kind, rustls::HandshakeKind::Resumed, "{listener}");
        }
    }
}

#[test]
fn a_websocket_within_tls_is_relayed() {
    let certificate = Certificate::for_names(&["shop.test"]);
    let origin = Origin::start(behaviour::websocket_echo);
    let gateway = Config::to([origin.addr()]).listener(&tls(&certificate)).start();
    let mut client = TlsClient::connect(gateway.addr("web"), "shop.test");
    client.send(websocket::handshake("shop.test", "/ws"));
    assert!(client.response().starts_with("HTTP/1.1 101 "));
    for bytes in [b"\x81\x05hello".as_slice(), &[7; 200_000]] {
        client.send(bytes);
        assert!(client.exactly(bytes.len()) == bytes);
    }
    client.half_close();
    assert!(client.rest().unwrap().is_empty());
    assert_eq!(gateway.access_line("/ws")["bytes_in"], 200_007);
}

#[test]
fn a_request_without_tls_is_told_so_in_plain_words() {
    let certificate = Certificate::for_names(&["shop.test"]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway = Config::to([origin.addr()]).listener(&tls(&certificate)).start();
    let mut client = RawClient::connect(gateway.addr("web"));
    let answer = client.get("shop.test", "/");
    assert_eq!((answer.status, answer.field("weir-error")), (400, Some("plain-http-on-tls")));
    assert!(answer.announces_close());
    let mut client = RawClient::connect(gateway.addr("web"));
    client.send("SSH-2.0-OpenSSH\r\n");
    assert!(client.rest().unwrap_or_default().is_empty());
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("weir_tls_handshake_failures_total", &["reason=\"plain_http\""]) as u64, 1);
    assert_eq!(metrics.sum("weir_tls_handshake_failures_total", &["reason=\"not_tls\""]) as u64, 1);
    assert_eq!(origin.request_count(), 0);
}

/// Goal: a body that ends with its connection ends with a word, and one that was cut does not.
#[test]
fn the_end_of_a_body_is_told_and_a_cut_is_not() {
    let certificate = Certificate::for_names(&["shop.test"]);
    let origin = Origin::start(|request, connection| {
        let rest = if request.target == "/cut" { "" } else { "0\r\n\r\n" };
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _sent = connection.write(format!("{head}5\r\nhello\r\n{rest}"));
        After::Close
    });
    let gateway = Config::to([origin.addr()]).listener(&tls(&certificate)).start();
    let ask = |path: &str| {
        let mut client = TlsClient::connect(gateway.addr("web"), "shop.test");
        client.send(format!("GET {path} HTTP/1.0\r\nHost: shop.test\r\n\r\n"));
        client.rest()
    };
    assert!(ask("/whole").unwrap().ends_with(b"hello"));
    assert!(ask("/cut").is_err());
}

#[test]
fn what_tls_has_settled_can_be_told_to_the_upstream() {
    let certificate = Certificate::for_names(&["shop.test"]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway = Config::to([origin.addr()])
        .listener(&tls(&certificate))
        .route("policies: [{ headers: { request: { set: { x-tls: \"{scheme} {tls_version} {sni} {tls_certificate} [{client_cert_subject}]\" } } } }]")
        .start();
    TlsClient::connect(gateway.addr("web"), "shop.test").get("shop.test", "/");
    assert_eq!(origin.only_request().field("x-tls"), Some("https TLSv1.3 shop.test shop.test []"));
}

#[test]
fn open_connections_outlive_a_reload_and_a_drain_lets_them_finish() {
    let certificate = Certificate::for_names(&["shop.test"]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let config = Config::to([origin.addr()]).listener(&tls(&certificate));
    let mut gateway = config.start();
    let mut client = TlsClient::connect(gateway.addr("web"), "shop.test");
    client.get("shop.test", "/before");
    let renewed = Certificate::for_names(&["shop.test", "other.test"]);
    let config = Config::to([origin.addr()]).listener(&tls_with(&renewed, ", handshake_timeout: 5s"));
    assert_eq!(gateway.reload(&config.yaml()).status, 200);
    assert!(client.get("shop.test", "/after").ends_with("hello"));
    let mut newcomer = TlsClient::connect(gateway.addr("web"), "other.test");
    newcomer.get("other.test", "/new");
    assert_eq!(gateway.access_line("/new")["tls_certificate"], "shop.test");
    // Idle ones are closed with a word.
    gateway.ask_to_stop();
    assert!(client.rest().unwrap().is_empty() && newcomer.rest().unwrap().is_empty());
    assert!(gateway.exit_status().success());
}

#[test]
fn a_handshake_has_its_time_and_its_bytes() {
    let certificate = Certificate::for_names(&["shop.test"]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let line = tls_with(&certificate, ", handshake_timeout: 300ms");
    let gateway = Config::to([origin.addr()]).listener(&line).top("limits: { tls_handshakes: 2 }").start();
    // One says nothing, one a byte now and then, one too much.
    let mut silent = RawClient::connect(gateway.addr("web"));
    let mut dribbling = RawClient::connect(gateway.addr("web"));
    for byte in [22_u8, 3, 1, 2, 0, 1, 0, 1, 0xfc] {
        if !dribbling.is_quiet_for(Duration::from_millis(50)) || dribbling.try_send([byte]).is_err() {
            break;
        }
    }
    assert!(silent.rest().unwrap_or_default().is_empty());
    assert!(dribbling.rest().unwrap_or_default().is_empty());
    let mut huge = RawClient::connect(gateway.addr("web"));
    huge.send([&[22, 3, 1, 0x40, 0, 1, 0, 0xea, 0x60, 3, 3][..], &[0; 0x4000 - 6]].concat());
    assert!(huge.rest().unwrap_or_default().is_empty());
    let failures = |reason: &str| {
        gateway.metrics().sum("weir_tls_handshake_failures_total", &[&format!("reason=\"{reason}\"")]) as u64
    };
    assert_eq!((failures("timeout"), failures("too_long")), (2, 1));
    assert_eq!(gateway.metrics().sum("weir_tls_handshakes_open", &[]) as u64, 0);
    let idle: Vec<RawClient> = (0..3).map(|_| RawClient::connect(gateway.addr("web"))).collect();
    wait::until_true("the oldest gives way", || failures("given_up") == 1);
    drop(idle);
}
