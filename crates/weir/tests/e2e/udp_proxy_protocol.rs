//! PROXY headers before the first datagram of a session, read back byte by byte.

use std::net::SocketAddr;

use weir_testkit::{UdpClient, UdpOrigin, refusing_udp, wait};

use crate::udp::{UdpConfig, client};

/// What the specification says a header of version 2 for a datagram is.
fn header(client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    match (client, local) {
        (SocketAddr::V4(client), SocketAddr::V4(local)) => {
            bytes.extend([0x12, 0, 12]);
            bytes.extend(client.ip().octets());
            bytes.extend(local.ip().octets());
        }
        (SocketAddr::V6(client), SocketAddr::V6(local)) => {
            bytes.extend([0x22, 0, 36]);
            bytes.extend(client.ip().octets());
            bytes.extend(local.ip().octets());
        }
        mixed => panic!("{mixed:?}"),
    }
    bytes.extend(client.port().to_be_bytes());
    bytes.extend(local.port().to_be_bytes());
    bytes
}

fn with_header(client: &UdpClient, local: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    [&header(client.addr(), local), bytes].concat()
}

#[test]
fn the_first_datagram_of_a_session_and_no_other_tells_who_the_client_is() {
    let origin = UdpOrigin::echo();
    let gateway = UdpConfig::to([origin.addr()]).udp("send_proxy_protocol: v2, requests: 3").start();
    let client = client(&gateway);
    let first = |bytes| with_header(&client, gateway.addr("dns"), bytes);
    assert_eq!(client.ask(b"a"), first(b"a"));
    assert_eq!(client.ask(b""), b"");
    assert_eq!(client.ask(b"c"), b"c");
    assert_eq!(client.ask(b""), first(b""), "another session; its first datagram may be empty");
    assert_eq!(client.ask(b"e"), b"e");
}

#[test]
fn a_burst_has_one_header() {
    let origin = UdpOrigin::echo();
    let gateway = UdpConfig::to([origin.addr()]).udp("send_proxy_protocol: v2").start();
    let client = client(&gateway);
    (0..10).for_each(|number| client.send(&[number]));
    assert_eq!(client.receive(), with_header(&client, gateway.addr("dns"), &[0]));
    for number in 1..10 {
        assert_eq!(client.receive(), [number]);
    }
}

#[test]
fn the_header_tells_which_address_of_a_wildcard_listener_was_used() {
    let origin = UdpOrigin::echo();
    for (bind, host) in [("0.0.0.0:0", "127.0.0.9"), ("[::]:0", "[::1]")] {
        let gateway = UdpConfig::to([origin.addr()]).bind(bind).udp("send_proxy_protocol: v2").start();
        let local: SocketAddr = format!("{host}:{}", gateway.addr("dns").port()).parse().expect("an address");
        let client = UdpClient::connect(local);
        assert_eq!(client.ask(b"a"), with_header(&client, local, b"a"));
    }
}

#[test]
fn a_session_that_moves_tells_the_next_endpoint_too() {
    let origin = UdpOrigin::echo();
    let config = UdpConfig::to([refusing_udp(), origin.addr()]).udp("send_proxy_protocol: v2");
    let gateway = config.start();
    for _ in 0..4 {
        let client = client(&gateway);
        assert_eq!(client.ask(b"a"), with_header(&client, gateway.addr("dns"), b"a"));
        assert_eq!(client.ask(b"b"), b"b");
    }
    let moved = gateway.metrics().sum("weir_udp_sessions_moved_total", &[]);
    assert!(moved >= 1.0, "nobody moved");
}

#[test]
fn a_datagram_that_is_too_long_with_its_header_is_dropped_and_counted() {
    let origin = UdpOrigin::echo();
    let gateway = UdpConfig::to([origin.addr()]).udp("send_proxy_protocol: v2").start();
    let client = client(&gateway);
    client.send(&vec![b'x'; 65_507]);
    wait::until_true("the drop", || crate::udp::dropped(&gateway, "oversize") == 1);
}
