//! TCP connections that go on to endpoints over TLS, from plain clients and from those that speak TLS with us.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::ClientConfig;
use weir_testkit::{Authority, Certificate, Ending, RawClient};

use crate::tcp::{Tcp, end_of, ended};
use crate::tls::{TlsClient, settings, tls_with};
use crate::upstream_tls::python;

fn ca(authority: &Authority) -> String {
    format!("tls: {{ ca: {} }}", authority.file().display())
}

/// What comes up to a line's end, without that.
fn line(client: &mut RawClient) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.extend(client.exactly(1).expect("a line"));
    }
    String::from_utf8(line).expect("a text").trim_end().to_owned()
}

#[test]
fn a_plain_client_speaks_to_an_endpoint_over_tls() {
    let authority = Authority::new("tests");
    let origin = python(&authority.issue(&["127.0.0.1"]), "echo", None);
    let gateway = Tcp::to([origin.addr()]).upstream(&ca(&authority)).start();
    let mut client = gateway.connect();
    let greeting = line(&mut client);
    assert_eq!(
        greeting, "TLSv1.3 None None False",
        "an address is no name, and nothing is offered for a client that says nothing"
    );
    let sent: Vec<u8> = (0..1_u32 << 20).map(|n| (n / 3) as u8).collect();
    for piece in sent.chunks(64 << 10) {
        client.send(piece);
        assert!(client.exactly(piece.len()).expect("all of it") == piece);
    }
    client.half_close();
    assert_eq!(client.ending(), Ending::Closed);
    assert_eq!(end_of(&gateway, "client_closed")["bytes_in"], sent.len());
}

#[test]
fn the_proxy_header_goes_before_tls() {
    let authority = Authority::new("tests");
    let origin = python(&authority.issue(&["127.0.0.1"]), "proxy", None);
    let config = Tcp::to([origin.addr()]).upstream(&ca(&authority)).tcp("send_proxy_protocol: v1");
    let gateway = config.start();
    let mut client = gateway.connect();
    let header = line(&mut client);
    assert!(header.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "), "{header}");
    assert!(line(&mut client).starts_with("TLSv1.3 "));
    client.send("more");
    assert_eq!(client.exactly(4).unwrap(), b"more");
}

#[test]
fn an_endpoint_that_does_not_prove_itself_gets_nothing_and_another_one_does() {
    let authority = Authority::new("tests");
    let bad = python(&Certificate::for_names(&["x.test"]), "echo", None);
    let alone = Tcp::to([bad.addr()]).upstream(&ca(&authority)).start();
    assert_eq!(alone.connect().ending(), Ending::Reset);
    let logged = end_of(&alone, "upstream_tls_failed");
    assert_eq!((&logged["error"], &logged["attempts"]), (&"upstream-tls-failed".into(), &1.into()));
    assert_eq!(ended(&alone, "upstream_tls_failed"), 1);
    let good = python(&authority.issue(&["127.0.0.1"]), "echo", None);
    let gateway = Tcp::to([bad.addr(), good.addr()]).upstream(&ca(&authority)).start();
    for _ in 0..3 {
        assert!(line(&mut gateway.connect()).starts_with("TLSv1.3 "));
    }
}

#[test]
fn a_client_of_tls_is_spoken_to_by_us_and_the_endpoint_in_the_protocol_that_it_chose() {
    let authority = Authority::new("tests");
    let (ours, theirs) = (Certificate::for_names(&["db.test"]), authority.issue(&["127.0.0.1"]));
    let origin = python(&theirs, "echo", None);
    let gateway = Tcp::to([origin.addr()])
        .upstream(&ca(&authority))
        .listener(&tls_with(&ours, ", alpn: [h2, postgresql, tests]"))
        .start();
    for (offered, agreed) in [(&[][..], "None"), (&["h2"], "h2"), (&["tests", "other"], "tests")] {
        let mut config = ClientConfig::clone(&settings(&rustls::version::TLS13));
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = TcpStream::connect(gateway.addr("web")).unwrap();
        let mut client = TlsClient::try_connect(socket, "db.test", &Arc::new(config)).unwrap();
        let greeting = format!("TLSv1.3 None {agreed} ");
        assert_eq!(String::from_utf8(client.exactly(greeting.len())).unwrap(), greeting);
        client.send("through both");
        client.half_close();
        assert!(String::from_utf8(client.rest().unwrap()).unwrap().ends_with("\nthrough both"));
    }
}
