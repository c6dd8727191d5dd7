//! Floods and shortages: many senders, few places, few descriptors.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use weir_testkit::{Gateway, UdpClient, UdpOrigin, wait};

use crate::binary;
use crate::udp::{UdpConfig, client, ended, session_line, sessions};

/// Answers those alone who say please, as a server does that made-up senders cannot pass a handshake with.
fn choosy() -> UdpOrigin {
    UdpOrigin::start(|bytes| if bytes.starts_with(b"please") { vec![bytes.to_vec()] } else { Vec::new() })
}

/// Sends one datagram from each of so many addresses and ports, as a flood of made-up senders does. Pauses where the
/// gateway has not read what was sent before, so that none is lost on the way.
fn flood(gateway: &Gateway, to: SocketAddr, count: u32, mut between: impl FnMut(u32)) {
    let received = || gateway.metrics().sum("weir_udp_received_datagrams_total", &[]) as u64;
    let before = received();
    for number in 0..count {
        let [_, high, middle, low] = number.to_be_bytes();
        let source = Ipv4Addr::new(127, 1 + high, middle, low.max(1));
        let socket = UdpSocket::bind((source, 0)).expect("all of 127.0.0.0/8 is ours");
        socket.send_to(b"x", to).expect("loopback takes datagrams");
        if number % 100 == 99 {
            between(number);
        }
        if number % 2_000 == 1_999 {
            let until = before + u64::from(number);
            wait::until_true("the flood to be read", || received() > until);
        }
    }
}

#[test]
fn fifty_thousand_made_up_senders_push_out_their_like_and_nobody_else() {
    let origin = choosy();
    let config = UdpConfig::to([origin.addr()]).udp("sessions_max: 1000").top("log: { access: off }");
    let gateway = config.start();
    let addr = gateway.addr("dns");
    let regulars: Vec<UdpClient> = (0..20).map(|_| client(&gateway)).collect();
    regulars.iter().for_each(|client| assert_eq!(client.ask(b"please"), b"please"));
    let ports = origin.sources();
    // The table is full once, so that what it takes at its limit is known.
    flood(&gateway, addr, 2_000, |_| {});
    let (rss, descriptors) = (gateway.rss_kib(), gateway.open_fds());

    let mut fresh = Vec::new();
    flood(&gateway, addr, 50_000, |number| {
        if number % 5_000 == 99 {
            let client = client(&gateway);
            // The server may lose some in the flood, as any would; once answered, a session stays.
            client.ask_patiently(b"please let me in", b"please let me in");
            fresh.push(client);
        }
    });
    for client in regulars.iter().chain(&fresh) {
        client.ask_patiently(b"please again", b"please again");
    }
    let grown = gateway.rss_kib().saturating_sub(rss);
    assert!(grown < 16 << 10, "{grown} KiB more than with a full table");
    assert!(gateway.open_fds() <= descriptors + 32, "{} of {descriptors}", gateway.open_fds());
    assert!(
        origin.sources_of(b"please again").is_superset(&ports.into_iter().collect()),
        "regulars were pushed out"
    );
    assert!((999..=1_001).contains(&sessions(&gateway)), "{} sessions", sessions(&gateway));
    let begun = gateway.metrics().sum("weir_udp_sessions_total", &[]) as u64;
    assert_eq!(ended(&gateway, "evicted"), begun - sessions(&gateway));
    assert!(
        begun >= 52_000,
        "{begun} sessions, {:?}",
        gateway.metrics().sum("weir_udp_dropped_datagrams_total", &[])
    );
}

#[test]
fn one_place_more_ends_who_was_silent_longest_and_the_unanswered_before_the_answered() {
    let origin = choosy();
    let gateway = UdpConfig::to([origin.addr()]).udp("sessions_max: 3").top("workers: 1").start();
    let (answered, older, newer) = (client(&gateway), client(&gateway), client(&gateway));
    assert_eq!(answered.ask(b"please"), b"please");
    older.send(b"a");
    origin.wait_for(2);
    newer.send(b"b");
    origin.wait_for(3);
    let fourth = client(&gateway);
    fourth.send(b"c");
    origin.wait_for(4);
    let line = session_line(&gateway, "evicted");
    assert_eq!((&line["bytes_in"], &line["error"]), (&1.into(), &serde_json::Value::Null));
    newer.send(b"d");
    let received = origin.wait_for(5);
    assert_eq!(received[4].from, received[2].from, "the newer one has its session");
    assert_eq!(answered.ask(b"please"), b"please");
    assert_eq!(origin.received()[5].from, received[0].from, "so has the answered one");
    older.send(b"e");
    let received = origin.wait_for(7);
    assert_ne!(received[6].from, received[1].from, "the oldest unanswered one gave way");
}

#[test]
fn few_descriptors_bound_the_sessions_and_the_rest_of_the_gateway_goes_on() {
    let origin = choosy();
    let config = UdpConfig::to([origin.addr()]).udp("sessions_max: 100000").top("log: { access: off }");
    let gateway = binary().descriptors_max(256).start(&config.yaml());
    let addr = gateway.addr("dns");
    let regular = client(&gateway);
    assert_eq!(regular.ask(b"please"), b"please");
    // The server may lose some in the flood, as any would.
    flood(&gateway, addr, 2_000, |_| regular.ask_patiently(b"please", b"please"));
    assert_eq!(origin.sources_of(b"please").len(), 1, "the regular kept its session");
    assert!(sessions(&gateway) < 200);
    assert_eq!(gateway.admin_get("/health/live").status, 200);
    let newcomer = client(&gateway);
    newcomer.ask_patiently(b"please newcomer", b"please newcomer");

    let before = gateway.cpu_time();
    assert!(client(&gateway).receive_within(Duration::from_millis(300)).is_none());
    let spent = gateway.cpu_time() - before;
    assert!(spent < Duration::from_millis(150), "{spent:?} of CPU while nothing happens");
    let answer = gateway.reload(&config.yaml().replace("100000", "100000, idle_timeout: 1ms"));
    assert_eq!(answer.status, 200, "{answer:?}");
    wait::until_true("the end of the flood", || sessions(&gateway) == 0);
    client(&gateway).ask_patiently(b"please", b"please");
}

#[test]
fn several_listeners_share_few_descriptors_with_connections() {
    let origin = choosy();
    let mut yaml =
        UdpConfig::to([origin.addr()]).top("routes: [{ respond: {} }]").top("log: { access: off }").yaml();
    let more = "listeners:\n  web: { bind: \"127.0.0.1:0\", http: {} }\n  b: { bind: \"127.0.0.1:0\", udp: { forward: app } }\n  \
        c: { bind: \"127.0.0.1:0\", udp: { forward: app } }\n  d: { bind: \"127.0.0.1:0\", udp: { forward: app } }\n";
    yaml = yaml.replace("listeners:\n", more);
    let gateway = binary().descriptors_max(256).start(&yaml);
    for name in ["dns", "b", "c", "d"] {
        flood(&gateway, gateway.addr(name), 400, |_| {});
    }
    assert_eq!(gateway.get("/").status, 200, "a new connection is taken");
    for name in ["dns", "b", "c", "d"] {
        let client = UdpClient::connect(gateway.addr(name));
        client.ask_patiently(b"please", b"please");
    }
}
