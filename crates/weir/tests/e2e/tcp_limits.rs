//! How many connections there may be, of whom, and what happens beyond.

use std::net::IpAddr;
use std::time::Duration;

use weir_testkit::{Gateway, RawClient, RawServer, TcpOrigin, wait};

use crate::tcp::{Tcp, greeted, is_reset};

fn open_connections(gateway: &Gateway) -> u64 {
    gateway.metrics().sum("weir_connections", &[]) as u64
}

fn refused(gateway: &Gateway) -> u64 {
    gateway.metrics().sum("weir_connections_refused_total", &[]) as u64
}

/// A connection from this address that is served, or none.
fn try_from(gateway: &Gateway, source: &str) -> Option<RawClient> {
    let mut client =
        RawClient::try_connect_from(source.parse::<IpAddr>().expect("an address"), gateway.addr("web"))
            .ok()?;
    client.exactly(1).is_ok().then_some(client)
}

#[test]
fn a_listener_takes_so_many_connections_and_resets_the_rest() {
    let server = TcpOrigin::greeting("a");
    let gateway = Tcp::to([server.addr()])
        .tcp("max_connections: 3")
        .another_listener("other: { bind: \"127.0.0.1:0\", tcp: { forward: app } }")
        .start();
    let mut held: Vec<_> = (0..3).map(|_| greeted(&gateway, 1)).collect();
    for _ in 0..5 {
        assert!(is_reset(gateway.addr("web")));
    }
    assert_eq!(refused(&gateway), 5);
    // Another listener is not concerned, and room is room.
    assert_eq!(RawClient::connect(gateway.addr("other")).exactly(1).unwrap(), b"a");
    held.pop();
    wait::until_true("room again", || try_from(&gateway, "127.0.0.1").is_some());
}

#[test]
fn all_addresses_of_a_listener_count_together() {
    let server = TcpOrigin::greeting("a");
    let yaml = Tcp::to([server.addr()]).tcp("max_connections: 2").yaml();
    let gateway = crate::start(&yaml.replace("\"127.0.0.1:0\"", "[\"127.0.0.1:0\", \"[::1]:0\"]"));
    let addresses: Vec<std::net::SocketAddr> = wait::until("both addresses", || {
        let listening = gateway.events("listening");
        let of_web = listening.iter().filter(|event| event["listener"] == "web");
        let addresses: Vec<_> = of_web.filter_map(|event| event["address"].as_str()?.parse().ok()).collect();
        (addresses.len() == 2).then_some(addresses)
    });
    let mut held: Vec<_> = addresses.iter().map(|&address| RawClient::connect(address)).collect();
    held.iter_mut().for_each(|client| assert_eq!(client.exactly(1).unwrap(), b"a"));
    for &address in &addresses {
        assert!(is_reset(address), "{address}");
    }
}

#[test]
fn a_client_address_has_its_own_limit_on_the_listener() {
    let server = TcpOrigin::greeting("a");
    let gateway = Tcp::to([server.addr()]).tcp("max_connections_per_ip: 2").start();
    let mut held: Vec<_> =
        ["127.0.0.2", "127.0.0.2", "127.0.0.3"].iter().map(|ip| try_from(&gateway, ip).unwrap()).collect();
    assert!(try_from(&gateway, "127.0.0.2").is_none());
    assert!(try_from(&gateway, "127.0.0.4").is_some());
    held.remove(0);
    wait::until_true("room again", || try_from(&gateway, "127.0.0.2").is_some());
}

#[test]
fn the_limit_by_address_of_the_whole_gateway_counts_tcp_and_http_together() {
    let server = TcpOrigin::greeting("a");
    let yaml = Tcp::to([server.addr()])
        .another_listener("site: { bind: \"127.0.0.1:0\", http: {} }")
        .top("routes: [{ respond: { status: 204 } }]\nlimits: { connections_per_ip: 2 }\nworkers: 1")
        .yaml();
    let gateway = crate::start(&yaml);
    let mut site = RawClient::connect_from("127.0.0.2".parse().unwrap(), gateway.addr("site"));
    assert_eq!(site.get("t", "/").status, 204);
    let _one = try_from(&gateway, "127.0.0.2").unwrap();
    assert!(try_from(&gateway, "127.0.0.2").is_none());
    assert!(try_from(&gateway, "127.0.0.3").is_some());
}

#[test]
fn limits_by_address_go_by_what_a_trusted_proxy_declares() {
    let server = TcpOrigin::greeting("a");
    for limit in ["connections_per_ip", "max_connections_per_ip"] {
        let mut config =
            Tcp::to([server.addr()]).listener("proxy_protocol: required").top("trusted_proxies: [127.0.0.1]");
        config = match limit {
            "connections_per_ip" => config.top("limits: { connections_per_ip: 2 }"),
            _ => config.tcp("max_connections_per_ip: 2"),
        };
        let gateway = config.start();
        let open = |last: u8| {
            let mut client = gateway.connect();
            client.send(format!("PROXY TCP4 203.0.113.{last} 203.0.113.250 50000 80\r\n"));
            client.exactly(1).is_ok().then_some(client)
        };
        // One proxy for ten clients: its own address has no limit.
        let held: Vec<_> = (0..20).map(|n| open(n / 2).expect("two of each client")).collect();
        assert!(open(3).is_none(), "{limit}");
        assert_eq!(refused(&gateway), 1);
        drop(held);
        wait::until_true("room again", || open(3).is_some());
    }
}

#[test]
fn the_whole_gateway_takes_so_many_connections() {
    let server = TcpOrigin::greeting("a");
    let gateway = Tcp::to([server.addr()]).top("limits: { connections: 4 }").start();
    let held: Vec<_> = (0..4).map(|_| greeted(&gateway, 1)).collect();
    assert!(is_reset(gateway.addr("web")));
    drop(held);
    wait::until_true("room again", || try_from(&gateway, "127.0.0.1").is_some());
}

#[test]
fn a_limit_that_a_reload_brings_holds_for_those_that_are_open() {
    let server = TcpOrigin::greeting("a");
    let config = Tcp::to([server.addr()]);
    let gateway = config.start();
    let mut held: Vec<_> = (0..3).map(|_| greeted(&gateway, 1)).collect();
    assert_eq!(gateway.reload(&config.clone().tcp("max_connections: 3").yaml()).status, 200);
    wait::until_true("the limit", || try_from(&gateway, "127.0.0.1").is_none());
    for (client, _) in &mut held {
        client.send("still here");
        assert_eq!(client.exactly(10).unwrap(), b"still here");
    }
    assert_eq!(gateway.reload(&config.yaml()).status, 200);
    wait::until_true("no limit", || try_from(&gateway, "127.0.0.1").is_some());
}

#[test]
fn with_few_descriptors_what_is_open_goes_on_and_the_rest_is_told_at_once() {
    let server = TcpOrigin::greeting("a");
    let gateway = crate::binary().descriptors_max(256).start(&Tcp::to([server.addr()]).yaml());
    let (mut served, mut cut) = (Vec::new(), 0);
    for _ in 0..300 {
        match try_from(&gateway, "127.0.0.1") {
            Some(client) => served.push(client),
            None => cut += 1,
        }
    }
    // Two descriptors each, and some for everything else.
    assert!((50..120).contains(&served.len()), "{} served, {cut} cut", served.len());
    assert_eq!(refused(&gateway), cut);
    for client in &mut served {
        client.send("still here");
        assert_eq!(client.exactly(10).unwrap(), b"still here");
    }
    let cpu = gateway.cpu_time();
    assert!(served[0].is_quiet_for(Duration::from_millis(1_000)));
    let used = gateway.cpu_time().saturating_sub(cpu);
    assert!(used < Duration::from_millis(300), "{used:?} of a second");
    assert_eq!(gateway.metrics().sum("weir_descriptors_exhausted_total", &[]) as u64, 0);
    served.truncate(40);
    wait::until_true("room again", || try_from(&gateway, "127.0.0.1").is_some());
    wait::until_true("every other end", || open_connections(&gateway) == 40);
}

#[test]
fn requests_and_connections_that_run_out_of_descriptors_together_recover() {
    let server = TcpOrigin::greeting("a");
    let yaml = Tcp::to([server.addr()])
        .another_listener("site: { bind: \"127.0.0.1:0\", http: {} }")
        .top("routes: [{ respond: { status: 204 } }]")
        .yaml();
    let gateway = crate::binary().descriptors_max(256).start(&yaml);
    // Idle HTTP connections hold most descriptors; they are given up for what needs two.
    let site: Vec<_> = (0..150)
        .map(|_| {
            let mut client = RawClient::connect(gateway.addr("site"));
            assert_eq!(client.get("t", "/").status, 204);
            client
        })
        .collect();
    let served: Vec<_> = (0..80).filter_map(|_| try_from(&gateway, "127.0.0.1")).collect();
    assert!(served.len() >= 60, "{} of 80", served.len());
    assert!(gateway.metrics().sum("weir_idle_clients_shed_total", &[]) > 0.0);
    drop((site, served));
    wait::until_true("room again", || try_from(&gateway, "127.0.0.1").is_some());
}

#[test]
fn a_flood_of_idle_connections_is_cheap_and_others_are_served() {
    let server = RawServer::start();
    let gateway = Tcp::to([server.addr()]).start();
    let mut held = Vec::new();
    let hold = |held: &mut Vec<(RawClient, RawClient)>, count: usize| {
        (0..count).for_each(|_| held.push((gateway.connect(), server.accept())));
    };
    hold(&mut held, 50);
    let before = gateway.rss_kib();
    hold(&mut held, 300);
    let each = (gateway.rss_kib().saturating_sub(before)) * 1024 / 300;
    assert!(each < 8 << 10, "{each} bytes each");
    for (client, upstream) in held.iter_mut().step_by(40) {
        client.send("served");
        assert_eq!(upstream.exactly(6).unwrap(), b"served");
    }
}
