//! PROXY headers: read from trusted peers alone, refused when malformed, and passed on with what stands in them.

use std::net::IpAddr;
use std::time::Duration;

use weir_testkit::{Ending, Gateway, Haproxy, Nginx, RawClient, RawServer, curl, wait};

use crate::tcp::{Tcp, end_of};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// 203.0.113.7:50000 to 203.0.113.1:80.
const INET: [u8; 12] = [203, 0, 113, 7, 203, 0, 113, 1, 0xc3, 0x50, 0, 80];

/// A header of version 2: command, family, block.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("a block shorter than 64 KiB").to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

fn inet6() -> Vec<u8> {
    let address = |last: u8| [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 11], &[last]].concat();
    [address(7), address(1), vec![0xc3, 0x50, 0, 80]].concat()
}

/// A TLV of this kind.
fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &(value.len() as u16).to_be_bytes(), value].concat()
}

/// A gateway that reads headers from 127.0.0.1, and its server.
fn reading(mode: &str, config: impl Fn(Tcp) -> Tcp) -> (RawServer, Gateway) {
    let server = RawServer::start();
    let tcp = Tcp::to([server.addr()])
        .listener(&format!("proxy_protocol: {mode}"))
        .top("trusted_proxies: [127.0.0.1]");
    let gateway = config(tcp).start();
    (server, gateway)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The client's address in the log line of the only connection that sent so many bytes.
fn client_ip(gateway: &Gateway, bytes_in: usize) -> String {
    let line = wait::until("the log line", || {
        gateway.log_lines(|line| line["bytes_in"] == bytes_in).into_iter().next()
    });
    line["client_ip"].as_str().unwrap_or("none").to_owned()
}

#[test]
fn each_valid_header_settles_who_the_client_is_however_it_is_split() {
    let (server, gateway) = reading("required", |tcp| tcp);
    let unix = [&[0; 216][..], &tlv(5, b"id")].concat();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"PROXY TCP4 203.0.113.7 203.0.113.1 50000 80\r\n".to_vec(), "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 80\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), "127.0.0.1"),
        (v2(0x21, 0x11, &INET), "203.0.113.7"),
        (v2(0x21, 0x21, &inet6()), "2001:db8::7"),
        (v2(0x21, 0x12, &INET), "203.0.113.7"),
        (v2(0x20, 0x11, &INET), "127.0.0.1"),
        (v2(0x20, 0x00, &[]), "127.0.0.1"),
        (v2(0x21, 0x00, b"ignored"), "127.0.0.1"),
        (v2(0x21, 0x31, &unix), "127.0.0.1"),
        (v2(0x21, 0x11, &[&INET[..], &tlv(0xe0, &[9; 3_000])].concat()), "203.0.113.7"),
    ];
    for (n, (header, address)) in cases.iter().enumerate() {
        let text = "x".repeat(n + 1);
        let whole = [header, text.as_bytes()].concat();
        // Every place in the first bytes, then some: a header may be three thousand bytes long.
        let splits = (1..whole.len()).filter(|at| *at < 60 || at % 199 == 0);
        for at in splits.chain([whole.len()]) {
            let mut client = gateway.connect();
            client.send(&whole[..at]);
            std::thread::yield_now();
            client.send(&whole[at..]);
            let mut upstream = server.accept();
            assert_eq!(upstream.exactly(n + 1).unwrap(), text.as_bytes(), "case {n} split at {at}");
            client.half_close();
            assert_eq!(upstream.ending(), Ending::Closed, "nothing else is passed on");
        }
        assert_eq!(client_ip(&gateway, n + 1), *address, "case {n}");
    }
    assert!(!gateway.admin_get("/metrics").text().contains("weir_proxy_protocol_errors_total{"));
}

#[test]
fn each_malformed_header_is_refused_and_reaches_no_server() {
    let (server, gateway) = reading("required", |tcp| tcp.tcp("preread_timeout: 10s"));
    let with_tlvs = |tlvs: &[u8]| v2(0x21, 0x11, &[&INET[..], tlvs].concat());
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("no header", b"SELECT 1;".to_vec(), "missing"),
        ("another signature", b"PROXX TCP4".to_vec(), "missing"),
        ("an unknown protocol", b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n".to_vec(), "malformed"),
        ("another family", b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n".to_vec(), "malformed"),
        ("a leading zero", b"PROXY TCP4 1.1.1.01 2.2.2.2 1 2\r\n".to_vec(), "malformed"),
        ("a port too large", b"PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n".to_vec(), "malformed"),
        ("a field too few", b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n".to_vec(), "malformed"),
        ("a field too many", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n".to_vec(), "malformed"),
        ("two spaces", b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n".to_vec(), "malformed"),
        ("a line feed alone", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n".to_vec(), "malformed"),
        ("too long a line", [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 120]].concat(), "malformed"),
        ("version 3", v2(0x31, 0x11, &INET), "malformed"),
        ("an unknown command", v2(0x22, 0x11, &INET), "malformed"),
        ("an unknown family", v2(0x21, 0x41, &INET), "malformed"),
        ("an unknown transport", v2(0x21, 0x13, &INET), "malformed"),
        ("too few addresses", v2(0x21, 0x11, &INET[..11]), "malformed"),
        ("too few addresses of version 6", v2(0x21, 0x21, &INET), "malformed"),
        ("a TLV that reaches beyond", with_tlvs(&[5, 0, 9, 1]), "malformed"),
        ("half a TLV", with_tlvs(&[5, 0]), "malformed"),
        ("too long a header", [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(), "malformed"),
    ];
    let count = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        gateway.metrics().sum("weir_proxy_protocol_errors_total", &[&label]) as u64
    };
    for (what, bytes, reason) in &cases {
        let before = count(reason);
        let mut client = gateway.connect();
        client.send(bytes);
        assert_eq!(client.ending(), Ending::Reset, "{what}");
        assert_eq!(count(reason), before + 1, "{what}");
    }
    for part in [b"PROXY TCP4 1.1.1.1".to_vec(), v2(0x21, 0x11, &INET)[..20].to_vec(), b"\r\n\r\n".to_vec()] {
        let before = count("unfinished");
        let mut client = gateway.connect();
        client.send(&part);
        client.half_close();
        assert_eq!(client.ending(), Ending::Reset);
        assert_eq!(count("unfinished"), before + 1);
    }
    assert!(server.try_accept().is_none());
}

#[test]
fn a_header_that_does_not_come_in_time_is_waited_for_no_longer() {
    let (server, gateway) = reading("required", |tcp| tcp.tcp("preread_timeout: 300ms"));
    let mut begun = gateway.connect();
    begun.send("PROXY ");
    let mut silent = gateway.connect();
    assert_eq!((begun.ending(), silent.ending()), (Ending::Reset, Ending::Reset));
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("weir_proxy_protocol_errors_total", &["unfinished"]) as u64, 1);
    assert_eq!(metrics.sum("weir_proxy_protocol_errors_total", &[]) as u64, 1, "silence is no header at all");
    assert!(server.try_accept().is_none());
}

#[test]
fn a_strangers_header_is_refused_where_one_is_required_and_data_where_it_is_not() {
    let header = "PROXY TCP4 203.0.113.7 203.0.113.1 50000 80\r\n";
    let (server, gateway) = reading("required", |tcp| tcp);
    let mut stranger = RawClient::connect_from(ip("127.0.0.2"), gateway.addr("web"));
    // Whichever asks first is told of the reset.
    let sent = stranger.try_send(header);
    assert!(sent.is_err() || stranger.ending() == Ending::Reset);
    assert!(server.try_accept().is_none());
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("weir_proxy_protocol_errors_total", &["untrusted_peer"]) as u64, 1);

    for (mode, from) in [("off", "127.0.0.1"), ("accepted", "127.0.0.2")] {
        let (server, gateway) = reading(mode, |tcp| tcp);
        let mut client = RawClient::connect_from(ip(from), gateway.addr("web"));
        client.send(header);
        let mut upstream = server.accept();
        assert_eq!(upstream.exactly(header.len()).unwrap(), header.as_bytes(), "{mode}");
        client.half_close();
        upstream.ending();
        upstream.half_close();
        assert_eq!(client_ip(&gateway, header.len()), from, "{mode}");
    }
}

#[test]
fn where_headers_are_accepted_a_trusted_peer_may_leave_it_out() {
    let (server, gateway) = reading("accepted", |tcp| tcp);
    for text in ["PROX", "hello", "\r\n\r\nhello"] {
        let mut client = gateway.connect();
        client.send(text);
        client.send("!");
        let mut upstream = server.accept();
        assert_eq!(upstream.exactly(text.len() + 1).unwrap(), format!("{text}!").as_bytes());
    }
    let mut client = gateway.connect();
    client.send(v2(0x21, 0x11, &INET));
    let mut upstream = server.accept();
    upstream.send("the server speaks first");
    assert_eq!(client.exactly(23).unwrap(), b"the server speaks first");
}

#[test]
fn a_server_is_told_who_the_client_is() {
    let server = RawServer::start();
    for version in ["v1", "v2"] {
        let gateway = Tcp::to([server.addr()]).tcp(&format!("send_proxy_protocol: {version}")).start();
        let mut client = RawClient::connect_from(ip("127.0.0.9"), gateway.addr("web"));
        let mut upstream = server.accept();
        let (from, to) = (client.local_addr().port(), gateway.addr("web").port());
        let expected = match version {
            "v1" => format!("PROXY TCP4 127.0.0.9 127.0.0.1 {from} {to}\r\n").into_bytes(),
            _ => {
                let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
                v2(0x21, 0x11, &[&[127, 0, 0, 9, 127, 0, 0, 1][..], &ports].concat())
            }
        };
        // Before the client has said anything: a server may be to speak first.
        assert_eq!(upstream.exactly(expected.len()).unwrap(), expected);
        client.send("and then the bytes");
        assert_eq!(upstream.exactly(18).unwrap(), b"and then the bytes");
        client.half_close();
        upstream.ending();
        upstream.half_close();
        assert_eq!(end_of(&gateway, "client_closed")["client_ip"], "127.0.0.9");
    }
}

#[test]
fn a_header_that_came_in_is_passed_on_with_its_tlvs_and_without_its_checksum() {
    let (server, gateway) = reading("required", |tcp| tcp.tcp("send_proxy_protocol: v2"));
    let kept =
        [tlv(1, b"h2"), tlv(2, b"a.test"), tlv(5, &[1; 128]), tlv(0x20, &[1, 0, 0, 0, 0]), tlv(0xe4, b"")]
            .concat();
    let with_checksum = [&tlv(3, &[1, 2, 3, 4])[..], &kept].concat();
    let early = vec![b'x'; 30_000];
    let mut client = gateway.connect();
    client.send([v2(0x21, 0x11, &[&INET[..], &with_checksum].concat()), early.clone()].concat());
    let expected = v2(0x21, 0x11, &[&INET[..], &kept].concat());
    let mut upstream = server.accept();
    assert_eq!(upstream.exactly(expected.len()).unwrap(), expected);
    assert!(upstream.exactly(early.len()).unwrap() == early);

    // As long as a header may be, in either family.
    for (family, addresses) in [(0x11, INET.to_vec()), (0x21, inet6())] {
        let tlvs = tlv(0xe0, &vec![7; 4_096 - 16 - addresses.len() - 3]);
        let longest = v2(0x21, family, &[addresses, tlvs].concat());
        let mut client = gateway.connect();
        client.send([longest.clone(), early.clone()].concat());
        let mut upstream = server.accept();
        assert!(upstream.exactly(longest.len()).unwrap() == longest);
        assert!(upstream.exactly(early.len()).unwrap() == early);
    }

    // One without addresses may have TLVs that find no room beside ours.
    let mut client = gateway.connect();
    client.send(v2(0x20, 0x00, &tlv(0xe0, &vec![7; 4_096 - 16 - 3])));
    client.send("after it");
    let got = server.accept().exactly(28 + 8).unwrap();
    assert_eq!((&got[13..16], &got[28..]), (&[0x11, 0, 12][..], &b"after it"[..]));

    // A proxy that speaks for itself, or for a client that it does not know, is who it is.
    for header in [v2(0x20, 0x11, &INET), b"PROXY UNKNOWN\r\n".to_vec()] {
        let mut client = gateway.connect();
        client.send(header);
        let mut upstream = server.accept();
        let got = upstream.exactly(28).unwrap();
        assert_eq!(got[..20], [SIGNATURE, &[0x21, 0x11, 0, 12, 127, 0, 0, 1]].concat());
        assert_eq!(got[24..26], client.local_addr().port().to_be_bytes());
    }
}

#[test]
fn haproxy_and_nginx_understand_each_other_through_the_gateway() {
    let snippet = "location / { return 200 \"$proxy_protocol_addr $proxy_protocol_server_port\"; }";
    let nginx = Nginx::listening("proxy_protocol", snippet);
    for (inward, outward) in
        [("send-proxy", "v1"), ("send-proxy", "v2"), ("send-proxy-v2", "v1"), ("send-proxy-v2", "v2")]
    {
        let gateway = Tcp::to([nginx.addr()])
            .listener("proxy_protocol: required")
            .tcp(&format!("send_proxy_protocol: {outward}"))
            .top("trusted_proxies: [127.0.0.1]")
            .start();
        let haproxy = Haproxy::start(gateway.addr("web"), inward);
        let url = format!("http://{}/", haproxy.addr());
        let answer = curl(&["--interface", "127.0.0.5", &url]);
        let expected = format!("127.0.0.5 {}", haproxy.addr().port());
        assert_eq!(answer.stdout, expected, "{inward} {outward}: {}", answer.stderr);
        wait::until_true("the log line", || {
            !gateway.log_lines(|line| line["client_ip"] == "127.0.0.5").is_empty()
        });
    }
}

#[test]
fn haproxy_accepts_what_the_gateway_sends_and_sends_what_is_kept() {
    // To HAProxy, which tells the server whom it was told of.
    let server = RawServer::start();
    for version in ["v1", "v2"] {
        let haproxy = Haproxy::listening("accept-proxy", server.addr(), "send-proxy");
        while server.try_accept().is_some() {}
        let gateway = Tcp::to([haproxy.addr()]).tcp(&format!("send_proxy_protocol: {version}")).start();
        let mut client = RawClient::connect_from(ip("127.0.0.8"), gateway.addr("web"));
        client.send("x");
        let (from, to) = (client.local_addr().port(), gateway.addr("web").port());
        let expected = format!("PROXY TCP4 127.0.0.8 127.0.0.1 {from} {to}\r\nx");
        assert_eq!(server.accept().exactly(expected.len()).unwrap(), expected.as_bytes(), "{version}");
    }
    // From HAProxy, with TLVs and the checksum.
    let server = RawServer::start();
    let gateway = Tcp::to([server.addr()])
        .listener("proxy_protocol: required")
        .tcp("send_proxy_protocol: v2")
        .top("trusted_proxies: [127.0.0.1]")
        .start();
    let options = "send-proxy-v2 proxy-v2-options unique-id,crc32c";
    let haproxy = Haproxy::start(gateway.addr("web"), options);
    let mut client = RawClient::connect_from(ip("127.0.0.8"), haproxy.addr());
    client.send("x");
    let from_the_client = |upstream: &mut RawClient| {
        upstream.patience(Duration::from_millis(300));
        let fixed = upstream.exactly(28).ok()?;
        (fixed[16..20] == [127, 0, 0, 8]).then_some(fixed)
    };
    // HAProxy's fixture has looked whether it listens, which is a connection too.
    let fixed = wait::until("the client's header", || from_the_client(&mut server.accept()));
    assert_eq!(fixed[12..14], [0x21, 0x11]);
    assert_eq!(fixed[24..26], client.local_addr().port().to_be_bytes());
}

#[test]
fn an_http_listener_next_to_it_reads_the_same_headers() {
    let nginx = Nginx::start("location / { return 200 \"$http_x_forwarded_for\"; }");
    let gateway = crate::Config::to([nginx.addr()])
        .listener("proxy_protocol: required")
        .top("trusted_proxies: [127.0.0.1]")
        .start();
    for inward in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"] {
        let haproxy = Haproxy::start(gateway.addr("web"), inward);
        let answer = curl(&["--interface", "127.0.0.6", &format!("http://{}/", haproxy.addr())]);
        assert_eq!(answer.stdout, "127.0.0.6", "{inward}: {}", answer.stderr);
    }
}
