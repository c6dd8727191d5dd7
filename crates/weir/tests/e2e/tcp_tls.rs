//! TCP listeners that end TLS: what is relayed is what the client meant.

use weir_testkit::{Certificate, RawServer, TcpOrigin};

use crate::tcp::{Tcp, end_of};
use crate::tls::{TlsClient, tls, tls_with};

#[test]
fn what_the_client_says_is_relayed_as_it_was_meant_and_half_closes_are_kept() {
    let certificate = Certificate::for_names(&["db.test"]);
    let server = RawServer::start();
    let gateway = Tcp::to([server.addr()]).listener(&tls(&certificate)).start();
    let mut client = TlsClient::connect(gateway.addr("web"), "db.test");
    let mut upstream = server.accept();
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|at| (at % 251) as u8).collect();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || {
        client.send(&sent);
        client.half_close();
        client.rest().unwrap()
    });
    assert!(upstream.rest().unwrap() == bytes);
    upstream.send(&bytes);
    drop(upstream);
    assert!(writer.join().unwrap() == bytes);
    let line = end_of(&gateway, "client_closed");
    assert_eq!((&line["sni"], &line["tls_version"]), (&"db.test".into(), &"TLSv1.3".into()));
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&2_000_000.into(), &2_000_000.into()));
}

#[test]
fn a_reset_upstream_is_no_end_for_the_client() {
    let certificate = Certificate::for_names(&["db.test"]);
    let server = RawServer::start();
    let gateway = Tcp::to([server.addr()]).listener(&tls(&certificate)).start();
    let mut client = TlsClient::connect(gateway.addr("web"), "db.test");
    client.send("hello");
    let mut upstream = server.accept();
    upstream.exactly(5).unwrap();
    upstream.reset();
    assert!(client.rest().is_err());
    end_of(&gateway, "upstream_reset");
}

#[test]
fn a_client_that_goes_without_a_word_is_reset_at_the_upstream() {
    let certificate = Certificate::for_names(&["db.test"]);
    let server = RawServer::start();
    let gateway = Tcp::to([server.addr()]).listener(&tls(&certificate)).start();
    let mut client = TlsClient::connect(gateway.addr("web"), "db.test");
    client.send("hello");
    let mut upstream = server.accept();
    upstream.exactly(5).unwrap();
    drop(client);
    assert!(upstream.rest().is_err());
    end_of(&gateway, "client_reset");
}

#[test]
fn routes_go_by_the_name_of_the_handshake() {
    let certificate = Certificate::for_names(&["a.test", "b.test"]);
    let (a, b) = (TcpOrigin::greeting("A"), TcpOrigin::greeting("B"));
    let gateway = Tcp::to([b.addr()])
        .tcp("routes: [{ sni: a.test, forward: named }]")
        .another_upstream(&format!("named: {{ endpoints: [\"{}\"] }}", a.addr()))
        .listener(&tls(&certificate))
        .start();
    for (name, greeting) in [("a.test", b"A"), ("b.test", b"B"), ("A.TEST", b"A")] {
        let mut client = TlsClient::connect(gateway.addr("web"), name);
        assert_eq!(client.exactly(1), greeting, "{name}");
    }
}

#[test]
fn the_proxy_header_tells_of_the_clients_tls() {
    let certificate = Certificate::for_names(&["db.test"]);
    let server = RawServer::start();
    let gateway =
        Tcp::to([server.addr()]).tcp("send_proxy_protocol: v2").listener(&tls(&certificate)).start();
    let mut client = TlsClient::connect(gateway.addr("web"), "db.test");
    client.send("hello");
    client.half_close();
    let said = server.accept().rest().unwrap();
    assert!(said.ends_with(b"hello"));
    let has = |part: &[u8]| said.windows(part.len()).any(|window| window == part);
    assert!(
        has(b"\x02\x00\x07db.test") && has(b"\x21\x00\x07TLSv1.3") && has(b"\x23\x00\x16TLS_AES"),
        "{said:?}"
    );
}

#[test]
fn a_failed_handshake_is_told_in_the_line_and_costs_no_endpoint_anything() {
    let certificate = Certificate::for_names(&["db.test"]);
    let server = RawServer::start();
    let gateway = Tcp::to([server.addr()]).listener(&tls_with(&certificate, ", versions: [\"1.3\"]")).start();
    let socket = std::net::TcpStream::connect(gateway.addr("web")).unwrap();
    let failed = TlsClient::try_connect(socket, "db.test", &crate::tls::settings(&rustls::version::TLS12));
    assert!(failed.err().unwrap().to_string().contains("ProtocolVersion"));
    let line = end_of(&gateway, "tls_failed");
    assert_eq!(line["error"], "tls-handshake-failed");
    assert!(server.try_accept().is_none());
    let labels = ["reason=\"version\""];
    assert_eq!(gateway.metrics().sum("weir_tls_handshake_failures_total", &labels) as u64, 1);
}
