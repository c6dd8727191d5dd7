//! What the gateway tells the upstream about the client, and whom it believes.

use weir_testkit::{After, Connection, Haproxy, Origin, RawClient, Request, behaviour, wait};

use crate::Config;

const CLAIMS: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\
                      X-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Request-Id: theirs\r\n";

/// The fields that a believing upstream would act on.
fn told(request: &Request) -> [Option<String>; 5] {
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "forwarded"]
        .map(|name| request.field(name).map(str::to_owned))
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn ok(_: &Request, connection: &mut Connection) -> After {
    connection.respond(200, &[], "");
    After::KeepOpen
}

#[test]
fn a_strangers_claims_are_replaced() {
    let origin = Origin::start(ok);
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: site.example\r\n{CLAIMS}\r\n"));
    assert_eq!(client.response().status, 200);
    let seen = origin.only_request();
    let expected = [some("127.0.0.1"), some("http"), some("site.example"), some("127.0.0.1"), None];
    assert_eq!(told(&seen), expected);
    assert_ne!(seen.field("x-request-id"), Some("theirs"));
    assert!(seen.field("x-request-id").is_some_and(|id| id.len() >= 16));
}

#[test]
fn a_trusted_proxys_claims_are_kept_and_its_request_id_too() {
    let origin = Origin::start(ok);
    let gateway = Config::to([origin.addr()]).top("trusted_proxies: [127.0.0.1/32]").start();
    let mut client = gateway.connect();
    client.send(format!("GET /t HTTP/1.1\r\nHost: site.example\r\n{CLAIMS}\r\n"));
    assert_eq!(client.response().status, 200);
    let seen = origin.only_request();
    assert_eq!(seen.field("x-real-ip"), Some("6.6.6.6"));
    assert_eq!(seen.field("x-forwarded-for"), Some("6.6.6.6, 127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.field("x-forwarded-host"), Some("evil"));
    assert_eq!(seen.field("x-request-id"), Some("theirs"));
    assert_eq!(gateway.access_line("/t")["client_ip"], "6.6.6.6");
}

#[test]
fn the_chain_is_read_from_the_right_up_to_the_first_stranger() {
    let origin = Origin::start(ok);
    let gateway = Config::to([origin.addr()]).top("trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]").start();
    for (n, (chain, client_ip)) in [
        ("1.1.1.1, 10.0.0.9, 10.0.0.1", "1.1.1.1"),
        ("6.6.6.6, 1.1.1.1, 10.0.0.1", "1.1.1.1"),
        ("6.6.6.6,1.1.1.1", "1.1.1.1"),
        ("2001:db8::7, 10.0.0.1", "2001:db8::7"),
        ("garbage, 1.1.1.1", "1.1.1.1"),
    ]
    .iter()
    .enumerate()
    {
        let mut client = gateway.connect();
        client.send(format!("GET /{n} HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: {chain}\r\n\r\n"));
        assert_eq!(client.response().status, 200);
        assert_eq!(gateway.access_line(&format!("/{n}"))["client_ip"], *client_ip, "{chain}");
        assert_eq!(origin.requests()[n].field("x-real-ip"), Some(*client_ip), "{chain}");
    }
}

#[test]
fn trust_is_a_matter_of_the_peers_address() {
    let origin = Origin::start(ok);
    let gateway = Config::to([origin.addr()]).top("trusted_proxies: [127.0.0.3]").start();
    let web = gateway.addr("web");
    for (source, expected) in [("127.0.0.2", "127.0.0.2"), ("127.0.0.3", "6.6.6.6")] {
        let mut client = RawClient::connect_from(source.parse().unwrap(), web);
        client.send(format!("GET / HTTP/1.1\r\nHost: t\r\n{CLAIMS}\r\n"));
        client.response();
        assert_eq!(origin.requests().last().unwrap().field("x-real-ip"), Some(expected), "{source}");
    }
}

#[test]
fn connection_cannot_strip_what_the_gateway_writes() {
    let origin = Origin::start(ok);
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send(
        "GET / HTTP/1.1\r\nHost: t\r\nConnection: X-Forwarded-For, X-Real-IP, X-Forwarded-Proto, X-Request-Id, \
         traceparent\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
    );
    assert_eq!(client.response().status, 200);
    let seen = origin.only_request();
    for name in ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-request-id", "traceparent"] {
        assert!(seen.field(name).is_some(), "{name} in {seen:?}");
    }
}

#[test]
fn underscore_twins_of_the_gateways_fields_are_dropped() {
    let origin = Origin::start(ok);
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send(
        "GET / HTTP/1.1\r\nHost: t\r\nX_Forwarded_For: 6.6.6.6\r\nx_real_ip: 6.6.6.6\r\nX_FORWARDED-PROTO: https\r\n\
         x_request_id: theirs\r\nX-Forwarded_Host: evil\r\n\r\n",
    );
    let status = client.response().status;
    assert!([200, 400].contains(&status), "{status}");
    for request in origin.requests() {
        let twins: Vec<_> = request.head.fields.0.iter().filter(|(name, _)| name.contains('_')).collect();
        assert!(twins.is_empty(), "{twins:?}");
    }
}

#[test]
fn a_trace_is_continued_or_begun_and_its_id_logged() {
    let origin = Origin::start(behaviour::echo_head);
    let gateway = Config::to([origin.addr()]).start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut client = gateway.connect();
    client.send(format!("GET /c HTTP/1.1\r\nHost: t\r\ntraceparent: 00-{trace}-00f067aa0ba902b7-01\r\n\r\n"));
    client.response();
    client.send("GET /b HTTP/1.1\r\nHost: t\r\ntraceparent: 00-garbage\r\n\r\n");
    client.response();
    client.get("t", "/n");
    let sent: Vec<String> =
        origin.requests().iter().map(|r| r.field("traceparent").expect("always one").to_owned()).collect();
    assert!(sent[0].starts_with(&format!("00-{trace}-")) && sent[0].ends_with("-01"), "{sent:?}");
    for (parent, path) in sent.iter().zip(["/c", "/b", "/n"]) {
        let parts: Vec<&str> = parent.split('-').collect();
        assert!(parts.len() == 4 && parts[1].len() == 32 && parts[2].len() == 16, "{parent}");
        assert!(parts[1].bytes().all(|b| b.is_ascii_hexdigit()) && parts[1] != "0".repeat(32), "{parent}");
        assert_eq!(gateway.access_line(path)["trace_id"], parts[1]);
    }
}

#[test]
fn a_proxy_header_is_read_from_trusted_peers_alone() {
    let origin = Origin::start(ok);
    let gateway = Config::to([origin.addr()])
        .listener("proxy_protocol: on")
        .top("trusted_proxies: [127.0.0.3]")
        .start();
    let web = gateway.addr("web");
    let declared = "PROXY TCP4 203.0.113.7 203.0.113.1 50000 80\r\n";
    let mut trusted = RawClient::connect_from("127.0.0.3".parse().unwrap(), web);
    trusted.send(format!("{declared}GET /declared HTTP/1.1\r\nHost: t\r\n\r\n"));
    assert_eq!(trusted.response().status, 200);
    assert_eq!(gateway.access_line("/declared")["client_ip"], "203.0.113.7");
    assert_eq!(origin.only_request().field("x-forwarded-for"), Some("203.0.113.7"));
    let mut stranger = RawClient::connect_from("127.0.0.2".parse().unwrap(), web);
    stranger.send(format!("{declared}GET /forged HTTP/1.1\r\nHost: t\r\n\r\n"));
    if let Ok(response) = stranger.read_response("GET") {
        assert_eq!(response.status, 400, "{response:?}");
    }
    assert_eq!(origin.request_count(), 1);
}

/// A header of version 2 that says PROXY, or LOCAL, with this family and block.
fn binary_header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("a block shorter than 64 KiB").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, block].concat()
}

const DECLARED: [u8; 12] = [203, 0, 113, 7, 203, 0, 113, 1, 0xc3, 0x50, 0, 80];

#[test]
fn a_proxy_header_of_either_version_may_come_byte_by_byte() {
    let origin = Origin::start(ok);
    let gateway = Config::to([origin.addr()])
        .listener("proxy_protocol: required")
        .top("trusted_proxies: [127.0.0.1]")
        .start();
    let line = b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 80\r\n".to_vec();
    let padded = [&DECLARED[..], &[4, 3, 0], &[0; 0x300]].concat();
    let cases = [
        (line, "2001:db8::7"),
        (binary_header(0x21, 0x11, &DECLARED), "203.0.113.7"),
        (binary_header(0x21, 0x11, &padded), "203.0.113.7"),
        (binary_header(0x20, 0x11, &DECLARED), "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
    ];
    for (n, (header, client_ip)) in cases.iter().enumerate() {
        let request = format!("GET /whole{n} HTTP/1.1\r\nHost: t\r\n\r\n");
        let mut client = gateway.connect();
        client.send([header, request.as_bytes()].concat());
        assert_eq!(client.response().status, 200);
        assert_eq!(gateway.access_line(&format!("/whole{n}"))["client_ip"], *client_ip);
        assert_eq!(origin.requests().last().unwrap().field("x-forwarded-for"), Some(*client_ip));
        // The address holds for the whole connection.
        assert_eq!(client.get("t", &format!("/next{n}")).status, 200);
        assert_eq!(gateway.access_line(&format!("/next{n}"))["client_ip"], *client_ip);
        let mut slow = gateway.connect();
        for byte in [header, format!("GET /split{n} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes()].concat() {
            slow.send([byte]);
        }
        assert_eq!(slow.response().status, 200);
        assert_eq!(gateway.access_line(&format!("/split{n}"))["client_ip"], *client_ip);
    }
}

#[test]
fn a_connection_without_the_proxy_header_that_is_required_is_closed_and_counted() {
    let origin = Origin::start(ok);
    let gateway = Config::to([origin.addr()])
        .listener("proxy_protocol: required")
        .top("trusted_proxies: [127.0.0.1]")
        .start();
    let request = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";
    let beyond = [&DECLARED[..], &[4, 0xff, 0xff, 0]].concat();
    for begin in [
        request.as_bytes().to_vec(),
        format!("PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n{request}").into_bytes(),
        binary_header(0x21, 0x11, &beyond),
        binary_header(0x21, 0x11, &[0; 0x2000]),
    ] {
        let mut client = gateway.connect();
        client.send(begin);
        assert!(client.read_response("GET").is_err());
    }
    let mut stranger = RawClient::connect_from("127.0.0.2".parse().unwrap(), gateway.addr("web"));
    assert!(stranger.read_response("GET").is_err());
    assert_eq!(origin.request_count(), 0);
    let metrics = gateway.admin_get("/metrics").text();
    for (reason, count) in [("missing", 1), ("malformed", 3), ("untrusted_peer", 1)] {
        let line = format!("weir_proxy_protocol_errors_total{{reason=\"{reason}\"}} {count}");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[test]
fn an_accepted_proxy_header_may_be_missing_and_a_strangers_is_a_bad_request() {
    let origin = Origin::start(ok);
    let gateway = Config::to([origin.addr()])
        .listener("proxy_protocol: accepted")
        .top("trusted_proxies: [127.0.0.1]")
        .start();
    assert_eq!(gateway.get("/plain").status, 200);
    assert_eq!(gateway.access_line("/plain")["client_ip"], "127.0.0.1");
    let mut stranger = RawClient::connect_from("127.0.0.2".parse().unwrap(), gateway.addr("web"));
    stranger.send("PROXY TCP4 203.0.113.7 203.0.113.1 50000 80\r\nGET /forged HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(stranger.response().status, 400);
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn forwarding_headers_are_believed_by_the_declared_address_and_not_by_who_declares_it() {
    let origin = Origin::start(ok);
    let gateway = Config::to([origin.addr()])
        .listener("proxy_protocol: on")
        .top("trusted_proxies: [127.0.0.1, 10.0.0.1]")
        .start();
    for (declared, client_ip) in [("203.0.113.7", "203.0.113.7"), ("10.0.0.1", "6.6.6.6")] {
        let mut client = gateway.connect();
        client
            .send(format!("PROXY TCP4 {declared} 10.0.0.9 1 2\r\nGET / HTTP/1.1\r\nHost: t\r\n{CLAIMS}\r\n"));
        assert_eq!(client.response().status, 200);
        assert_eq!(origin.requests().last().unwrap().field("x-real-ip"), Some(client_ip), "{declared}");
    }
}

/// Goal: one whom a proxy declares has the limit, not the proxy, through which everybody comes.
#[test]
fn connections_per_ip_are_counted_by_the_declared_address() {
    let origin = Origin::start(ok);
    let gateway = Config::to([origin.addr()])
        .listener("proxy_protocol: required")
        .top("trusted_proxies: [127.0.0.1]")
        .top("limits: { connections_per_ip: 2 }")
        .start();
    let connect = |declared: &str| {
        let mut client = gateway.connect();
        client.send(format!("PROXY TCP4 {declared} 10.0.0.9 1 2\r\nGET / HTTP/1.1\r\nHost: t\r\n\r\n"));
        let status = client.read_response("GET").map(|response| response.status);
        (client, status.ok())
    };
    let mut held: Vec<_> = (0..2).map(|_| connect("203.0.113.7")).collect();
    held.extend((0..2).map(|_| connect("203.0.113.8")));
    assert!(held.iter().all(|(_, status)| *status == Some(200)));
    assert_eq!(connect("203.0.113.7").1, None, "closed without a word");
    let refused = gateway.metrics().sum("weir_connections_refused_total", &[]);
    assert!(refused >= 1.0, "{refused} refused");
    held.remove(0);
    wait::until_true("a freed place", || connect("203.0.113.7").1 == Some(200));
}

#[test]
fn a_proxy_header_that_never_ends_is_counted_and_told() {
    let origin = Origin::start(ok);
    let gateway = Config::to([origin.addr()])
        .listener("proxy_protocol: required")
        .top("trusted_proxies: [127.0.0.1]")
        .top("timeouts: { request_head: 200ms }")
        .start();
    let mut cut = gateway.connect();
    cut.send("PROXY TCP4 203.0.113.7");
    cut.half_close();
    assert!(cut.read_response("GET").is_err());
    let mut slow = gateway.connect();
    slow.send(&binary_header(0x21, 0x11, &DECLARED)[..20]);
    assert!(slow.read_response("GET").is_err());
    // Who only looks whether we listen is no fault.
    drop(gateway.connect());
    wait::until_true("both to be counted", || {
        gateway.metrics().sum("weir_proxy_protocol_errors_total", &["reason=\"unfinished\""]) == 2.0
    });
    assert_eq!(origin.request_count(), 0);
    let events = gateway.events("proxy_header_refused");
    let peer = cut.local_addr().to_string();
    let told = events.iter().find(|event| event["peer"] == peer.as_str());
    assert!(
        told.is_some_and(|event| event["listener"] == "web" && event["reason"] == "unfinished"),
        "{peer} in {events:?}"
    );
    assert_eq!(gateway.metrics().sum("weir_proxy_protocol_errors_total", &[]), 2.0);
}

#[test]
fn haproxys_proxy_headers_name_its_client() {
    let origin = Origin::start(ok);
    let gateway = Config::to([origin.addr()])
        .listener("proxy_protocol: required")
        .top("trusted_proxies: [127.0.0.1]")
        .start();
    for (path, options) in [
        ("/v1", "send-proxy"),
        ("/v2", "send-proxy-v2"),
        ("/tlvs", "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority"),
        ("/check", "send-proxy-v2 check check-send-proxy inter 50ms"),
    ] {
        let haproxy = Haproxy::start(gateway.addr("web"), options);
        let mut client = RawClient::connect_from("127.0.0.9".parse().unwrap(), haproxy.addr());
        assert_eq!(client.get("t", path).status, 200, "{options}");
        assert_eq!(gateway.access_line(path)["client_ip"], "127.0.0.9", "{options}");
    }
    assert!(!gateway.admin_get("/metrics").text().contains("weir_proxy_protocol_errors_total{"));
}
