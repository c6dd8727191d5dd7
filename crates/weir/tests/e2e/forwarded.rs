//! What the gateway tells the upstream about the client, and whom it believes.

use weir_testkit::{After, Connection, Origin, Request, behaviour};

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
        let mut client = weir_testkit::RawClient::connect_from(source.parse().unwrap(), web);
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
    let mut trusted = weir_testkit::RawClient::connect_from("127.0.0.3".parse().unwrap(), web);
    trusted.send(format!("{declared}GET /declared HTTP/1.1\r\nHost: t\r\n\r\n"));
    assert_eq!(trusted.response().status, 200);
    assert_eq!(gateway.access_line("/declared")["client_ip"], "203.0.113.7");
    assert_eq!(origin.only_request().field("x-forwarded-for"), Some("203.0.113.7"));
    let mut stranger = weir_testkit::RawClient::connect_from("127.0.0.2".parse().unwrap(), web);
    stranger.send(format!("{declared}GET /forged HTTP/1.1\r\nHost: t\r\n\r\n"));
    if let Ok(response) = stranger.read_response("GET") {
        assert_eq!(response.status, 400, "{response:?}");
    }
    assert_eq!(origin.request_count(), 1);
}
