//! Real DNS: dnsmasq behind the gateway, dnsperf before it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use weir_testkit::{Dnsmasq, Dnsperf, Gateway, RawClient, UdpClient, free_address, wait};

use crate::udp::{UdpConfig, ended, sessions};

const NAMES: [(&str, Ipv4Addr); 2] =
    [("one.test", Ipv4Addr::new(10, 0, 0, 1)), ("two.test", Ipv4Addr::new(10, 0, 0, 2))];

fn dnsmasq() -> Dnsmasq {
    Dnsmasq::start(&NAMES)
}

fn dns(servers: &[&Dnsmasq]) -> UdpConfig {
    UdpConfig::to(servers.iter().map(|server| server.addr())).udp("responses: 1")
}

#[test]
fn no_query_is_lost() {
    let server = dnsmasq();
    let gateway = dns(&[&server]).start();
    let names: Vec<&str> = ["one.test", "two.test"].repeat(1_000);
    let report = Dnsperf::new(gateway.addr("dns"), &names).clients(8).run();
    assert_eq!((report.sent, report.noerror, report.lost), (2_000, 2_000, 0), "{report:?}");
    wait::until_true("the end of every session", || sessions(&gateway) == 0);
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("weir_udp_dropped_datagrams_total", &[]) as u64, 0);
    assert_eq!(metrics.sum("weir_udp_received_datagrams_total", &[]) as u64, 2_000);
    assert_eq!(metrics.sum("weir_udp_sent_datagrams_total", &[]) as u64, 2_000);
    assert_eq!(metrics.sum("weir_udp_sessions_total", &[]) as u64, ended(&gateway, "answered"));
}

#[test]
fn no_query_is_lost_while_the_configuration_is_reloaded_every_100_ms() {
    let (one, two) = (dnsmasq(), dnsmasq());
    let configs = [
        dns(&[&one]),
        dns(&[&one, &two]).udp("idle_timeout: 5s"),
        dns(&[&two]).udp("sessions_max: 500").upstream("balance: least_conn"),
    ];
    let gateway = configs[0].start();
    let addr = gateway.addr("dns");
    let done = AtomicBool::new(false);
    let (report, reloads) = std::thread::scope(|scope| {
        let reloading = scope.spawn(|| {
            let mut reloads = 0;
            let mut next = Instant::now();
            while !done.load(Ordering::Relaxed) {
                let answer = gateway.reload(&configs[reloads % configs.len()].yaml());
                assert_eq!(answer.status, 200, "{answer:?}");
                reloads += 1;
                next += Duration::from_millis(100);
                wait::until_true("the next reload", || Instant::now() >= next);
            }
            reloads
        });
        let report = Dnsperf::new(addr, &["one.test", "two.test"])
            .clients(8)
            .seconds(2)
            .queries_per_second_max(2_000)
            .run();
        done.store(true, Ordering::Relaxed);
        (report, reloading.join().expect("every reload succeeds"))
    });
    assert!(report.sent > 100 && reloads > 3, "{reloads} reloads, {report:?}");
    assert_eq!((report.lost, report.noerror), (0, report.sent), "{reloads} reloads, {report:?}");
}

/// A query for the A record of `one.test`, with this id.
fn query(id: u16) -> Vec<u8> {
    let head = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    [&head[..], b"\x03one\x04test\0\0\x01\0\x01"].concat()
}

fn is_answer(bytes: &[u8], id: u16) -> bool {
    bytes.starts_with(&id.to_be_bytes()) && bytes.ends_with(&NAMES[0].1.octets())
}

/// Two listeners on one port number: what is too long for a datagram is asked by TCP there.
#[test]
fn dns_over_tcp_is_served_on_the_same_port_number() {
    let server = dnsmasq();
    let addr = free_address();
    let tcp = format!("listeners:\n  tcp: {{ bind: \"{addr}\", tcp: {{ forward: app }} }}\n");
    let gateway = crate::start(&dns(&[&server]).bind(addr).yaml().replace("listeners:\n", &tcp));
    assert!(is_answer(&UdpClient::connect(addr).ask(&query(1)), 1));
    let mut client = RawClient::connect(addr);
    let query = query(2);
    client.send([&(query.len() as u16).to_be_bytes()[..], &query].concat());
    let length = client.exactly(2).expect("the length of an answer");
    let answer = client.exactly(usize::from(u16::from_be_bytes([length[0], length[1]]))).expect("an answer");
    assert!(is_answer(&answer, 2));
    drop(client);
    let ended = || gateway.log_lines(|line| line["listener"] == "tcp" && line["event"] == "connection");
    wait::until_true("the connection's line", || !ended().is_empty());
}

fn endpoint_state(gateway: &Gateway, endpoint: SocketAddr) -> String {
    let shown = gateway.admin_get("/api/v1/upstreams").json();
    let endpoints = shown["upstreams"][0]["endpoints"].as_array().cloned().unwrap_or_default();
    let of = |shown: &&serde_json::Value| shown["address"] == endpoint.to_string();
    endpoints
        .iter()
        .find(of)
        .map(|shown| shown["state"].as_str().unwrap_or_default().to_owned())
        .unwrap_or_default()
}

/// The example, at ports of the kernel's choice and with less patience; the question is one that this server, which knows
/// two names and asks nobody, answers by its own authority.
#[test]
fn the_example_checks_its_servers_by_udp_and_leaves_out_the_one_that_is_down() {
    let (mut one, two) = (dnsmasq(), dnsmasq());
    let example = include_str!("../../../../examples/dns.yaml");
    let yaml = example
        .replace("127.0.0.1:5353", "127.0.0.1:0")
        .replace("127.0.0.1:5301", &one.addr().to_string())
        .replace("127.0.0.1:5302", &two.addr().to_string())
        .replace("00 0002 0001", "03 6f6e65 04 74657374 00 0001 0001")
        .replace("7765 8180", "7765 8580")
        .replace("interval: 5s", "interval: 50ms")
        .replace("timeout: 2s", "timeout: 1s");
    let gateway = crate::start(&yaml);
    let checked = |gateway: &Gateway| {
        let shown = gateway.admin_get("/api/v1/upstreams").json();
        let endpoints = shown["upstreams"][0]["endpoints"].as_array().cloned().unwrap_or_default();
        endpoints.len() == 2 && endpoints.iter().all(|endpoint| endpoint["last_check"]["ok"] == true)
    };
    wait::until_true("a good check of both", || checked(&gateway));
    let client = UdpClient::connect(gateway.addr("dns"));
    assert!(is_answer(&client.ask(&query(3)), 3));

    one.stop();
    wait::until_true("its failed checks", || endpoint_state(&gateway, one.addr()) == "check-failed");
    let report = Dnsperf::new(gateway.addr("dns"), &["one.test"; 200]).clients(4).run();
    assert_eq!((report.noerror, report.lost), (200, 0), "{report:?}");
    one.resume();
    wait::until_true("its good checks", || endpoint_state(&gateway, one.addr()) == "up");
    assert!(is_answer(&UdpClient::connect(gateway.addr("dns")).ask(&query(4)), 4));
}

#[test]
fn no_query_is_lost_while_one_of_two_servers_goes_down_and_comes_back() {
    let (mut one, two) = (dnsmasq(), dnsmasq());
    let gateway = dns(&[&one, &two]).start();
    let addr = gateway.addr("dns");
    let report = std::thread::scope(|scope| {
        let asking = scope.spawn(move || {
            Dnsperf::new(addr, &["one.test", "two.test"])
                .clients(4)
                .seconds(2)
                .queries_per_second_max(1_000)
                .run()
        });
        let received = || gateway.metrics().sum("weir_udp_received_datagrams_total", &[]);
        wait::until_true("the first queries", || received() > 100.0);
        one.stop();
        let moved = || gateway.metrics().sum("weir_udp_sessions_moved_total", &[]);
        wait::until_true("sessions that move", || moved() > 0.0 || asking.is_finished());
        one.resume();
        asking.join().expect("dnsperf runs")
    });
    // Those that the dying server had in its buffer are lost with it, some milliseconds' worth.
    assert!(report.lost <= 40, "{report:?}");
    assert_eq!(report.noerror, report.sent - report.lost, "{report:?}");
}
