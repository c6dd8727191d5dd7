//! Which endpoint a connection goes to, and what becomes of one that cannot be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use weir_testkit::{
    Blackhole, Ending, Gate, Gateway, Origin, RawClient, RawServer, Refusing, TcpOrigin, behaviour, wait,
};

use crate::tcp::{Tcp, end_of, ended, greeted, is_reset};

/// Servers that say their letter first.
fn servers<const N: usize>() -> [TcpOrigin; N] {
    std::array::from_fn(|n| TcpOrigin::greeting(&char::from(b'a' + n as u8).to_string()))
}

fn addresses(servers: &[TcpOrigin]) -> Vec<SocketAddr> {
    servers.iter().map(TcpOrigin::addr).collect()
}

fn letter_from(source: Ipv4Addr, to: SocketAddr) -> String {
    let mut client = RawClient::connect_from(IpAddr::V4(source), to);
    String::from_utf8(client.exactly(1).expect("a server speaks")).expect("a letter")
}

/// How many of so many connections, one after the other, each server gets.
fn shares(gateway: &Gateway, count: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        *shares.entry(greeted(gateway, 1).1).or_insert(0) += 1;
    }
    shares
}

#[test]
fn ip_hash_spreads_clients_and_keeps_each_at_its_server() {
    for balance in ["balance: ip_hash", "balance: hash\n    key: client_ip"] {
        let servers = servers::<3>();
        let gateway = Tcp::to(addresses(&servers)).upstream(balance).start();
        let web = gateway.addr("web");
        let clients: Vec<Ipv4Addr> = (1..=30).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect();
        let first: Vec<String> = clients.iter().map(|&client| letter_from(client, web)).collect();
        let seen: BTreeSet<&String> = first.iter().collect();
        assert_eq!(seen.len(), 3, "{balance}: {first:?}");
        for _ in 0..3 {
            let again: Vec<String> = clients.iter().map(|&client| letter_from(client, web)).collect();
            assert_eq!(again, first, "{balance}");
        }
    }
}

#[test]
fn ip_hash_goes_by_the_address_that_a_trusted_proxy_declares() {
    let servers = servers::<3>();
    let gateway = Tcp::to(addresses(&servers))
        .upstream("balance: ip_hash")
        .listener("proxy_protocol: required")
        .top("trusted_proxies: [127.0.0.0/8]")
        .start();
    let letter = |client: u8, proxy: u8| {
        let proxy = IpAddr::from([127, 0, 0, proxy]);
        let mut connection = RawClient::connect_from(proxy, gateway.addr("web"));
        connection.send(format!("PROXY TCP4 203.0.113.{client} 203.0.113.250 50000 80\r\n"));
        String::from_utf8(connection.exactly(1).unwrap()).unwrap()
    };
    let first: Vec<String> = (1..=30).map(|client| letter(client, 1)).collect();
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3, "{first:?}");
    let through_others: Vec<String> = (1..=30).map(|client| letter(client, client + 1)).collect();
    assert_eq!(through_others, first);
}

#[test]
fn weights_are_kept_and_zero_gets_nothing() {
    let servers = servers::<3>();
    let mut config = Tcp::to::<&str>([]).top("workers: 1");
    for (server, weight) in servers.iter().zip([3, 1, 0]) {
        config = config.endpoint(format!("{{ address: \"{}\", weight: {weight} }}", server.addr()));
    }
    let gateway = config.start();
    let expected = [("a", 30), ("b", 10)].map(|(letter, count)| (letter.to_owned(), count));
    assert_eq!(shares(&gateway, 40), BTreeMap::from(expected));
}

#[test]
fn every_balancer_serves_connections_and_uses_every_endpoint() {
    for balance in ["round_robin", "least_conn", "random_two", "least_time"] {
        let servers = servers::<3>();
        let gateway = Tcp::to(addresses(&servers)).upstream(&format!("balance: {balance}")).start();
        let held: Vec<_> = (0..12).map(|_| greeted(&gateway, 1)).collect();
        let used: BTreeSet<&String> = held.iter().map(|(_, letter)| letter).collect();
        assert_eq!(used.len(), 3, "{balance}: {used:?}");
    }
}

#[test]
fn least_conn_counts_connections_that_are_open_and_weighs_them() {
    let servers = servers::<2>();
    let config = Tcp::to::<&str>([])
        .endpoint(format!("{{ address: \"{}\", weight: 3 }}", servers[0].addr()))
        .endpoint(format!("\"{}\"", servers[1].addr()))
        .upstream("balance: least_conn");
    let gateway = config.start();
    let held: Vec<_> = (0..16).map(|_| greeted(&gateway, 1)).collect();
    let at_a = held.iter().filter(|(_, letter)| letter == "a").count();
    assert_eq!(at_a, 12, "three to one");
    // Those of `b` end: what comes next goes there until they are level again.
    let (at_a, at_b): (Vec<_>, Vec<_>) = held.into_iter().partition(|(_, letter)| letter == "a");
    drop(at_b);
    wait::until_true("four ends", || ended(&gateway, "client_closed") == 4);
    let next: Vec<_> = (0..4).map(|_| greeted(&gateway, 1)).collect();
    assert!(
        next.iter().all(|(_, letter)| letter == "b"),
        "{:?}",
        next.iter().map(|n| &n.1).collect::<Vec<_>>()
    );
    drop(at_a);
}

#[test]
fn least_conn_counts_http_requests_and_tcp_connections_together() {
    let gate = Gate::new();
    let (one, two) =
        (Origin::start(behaviour::gated(&gate, "one")), Origin::start(behaviour::gated(&gate, "two")));
    let yaml = Tcp::to([one.addr(), two.addr()])
        .upstream("balance: least_conn")
        .another_listener("site: { bind: \"127.0.0.1:0\", http: {} }")
        .top("routes: [{ forward: app }]")
        .yaml();
    let gateway = crate::start(&yaml);
    let site = gateway.addr("site");
    let ask = |to: SocketAddr| {
        let mut client = RawClient::connect(to);
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        client
    };
    let counts = || [one.request_count(), two.request_count()];
    let mut clients = Vec::new();
    // Whatever comes goes to the one that has less to do, whoever gave it that.
    for n in 1..=10 {
        clients.push(ask(if n % 3 == 0 { site } else { gateway.addr("web") }));
        wait::until_true("the request", || counts().iter().sum::<usize>() == n);
        let [a, b] = counts();
        assert!(a.abs_diff(b) <= 1, "after {n}: {a} and {b}");
    }
    let view = gateway.admin_get("/api/v1/upstreams").json();
    let in_flight = |n: usize| view["upstreams"][0]["endpoints"][n]["in_flight"].as_u64().unwrap();
    assert_eq!([in_flight(0), in_flight(1)], [5, 5], "{view}");
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
}

#[test]
fn a_refused_connection_goes_to_the_next_endpoint_unseen_by_the_client() {
    let refusing: Vec<Refusing> = (0..3).map(|_| Refusing::start()).collect();
    let server = TcpOrigin::greeting("a");
    let addresses = refusing.iter().map(Refusing::addr).chain([server.addr()]);
    let gateway = Tcp::to(addresses).upstream("health: { passive: { failures: 1000 } }").start();
    for _ in 0..20 {
        assert_eq!(greeted(&gateway, 1).1, "a");
    }
    wait::until_true("the log lines", || gateway.log_lines(|line| line["attempts"] == 4).len() >= 3);
    let failures = gateway.metrics().sum("weir_endpoint_failures_total", &["kind=\"connect\""]);
    assert!(failures >= 20.0, "{failures}");
}

#[test]
fn a_dead_endpoint_is_left_alone_and_comes_back_by_itself() {
    let stays = TcpOrigin::greeting("a");
    let mut dies = TcpOrigin::greeting("b");
    let address = dies.addr();
    let config =
        Tcp::to([stays.addr(), address]).upstream("health: { passive: { failures: 2, pause: 300ms } }");
    let gateway = config.start();
    assert_eq!(shares(&gateway, 10).len(), 2);
    dies.kill();
    assert_eq!(shares(&gateway, 20), BTreeMap::from([("a".to_owned(), 20)]), "no client saw it die");
    wait::until_true("the ejection", || gateway.metrics().sum("weir_endpoint_ejections_total", &[]) >= 1.0);
    let _back = TcpOrigin::greeting_at(address, "b");
    wait::until_true("its return", || shares(&gateway, 4).contains_key("b"));
}

#[test]
fn an_endpoint_that_fails_its_tcp_check_is_left_alone_until_it_passes() {
    let stays = TcpOrigin::greeting("a");
    let mut dies = TcpOrigin::greeting("b");
    let address = dies.addr();
    let checks =
        "health: { active: { interval: 100ms, timeout: 500ms, up_after: 1, down_after: 2, tcp: {} } }";
    let gateway = Tcp::to([stays.addr(), address]).upstream(checks).start();
    let state = |gateway: &Gateway| {
        let view = gateway.admin_get("/api/v1/upstreams").json();
        view["upstreams"][0]["endpoints"][1]["state"].as_str().unwrap_or_default().to_owned()
    };
    wait::until_true("both", || shares(&gateway, 4).len() == 2);
    dies.kill();
    wait::until_true("the checks to fail", || state(&gateway) == "check-failed");
    let tried = gateway.metrics().sum("weir_endpoint_failures_total", &[]);
    assert_eq!(shares(&gateway, 10), BTreeMap::from([("a".to_owned(), 10)]));
    assert_eq!(gateway.metrics().sum("weir_endpoint_failures_total", &[]) as u64, tried as u64);
    let _back = TcpOrigin::greeting_at(address, "b");
    wait::until_true("the checks to pass", || state(&gateway) == "up");
    wait::until_true("its return", || shares(&gateway, 4).contains_key("b"));
}

#[test]
fn where_every_endpoint_is_dead_the_client_is_reset_and_it_is_told_why() {
    let refusing = Refusing::start();
    let gateway = Tcp::to([refusing.addr()]).start();
    assert!(is_reset(gateway.addr("web")));
    let line = end_of(&gateway, "connect_failed");
    assert_eq!(
        (&line["error"], &line["upstream"], &line["attempts"], &line["level"]),
        (&"connect-failed".into(), &"app".into(), &1.into(), &"warn".into()),
        "{line}"
    );
    assert_eq!(line["endpoint"], refusing.addr().to_string());
    assert_eq!(ended(&gateway, "connect_failed"), 1);

    let off =
        Tcp::to::<&str>([]).endpoint(format!("{{ address: \"{}\", weight: 0 }}", refusing.addr())).start();
    assert!(is_reset(off.addr("web")));
    assert_eq!(end_of(&off, "no_endpoint")["attempts"], 0);
}

#[test]
fn an_endpoint_that_does_not_answer_costs_connect_timeout_and_the_next_is_tried() {
    let hole = Blackhole::start();
    let server = TcpOrigin::greeting("a");
    let config =
        Tcp::to::<&str>([]).upstream("connect_timeout: 300ms").endpoint(format!("\"{}\"", hole.addr()));
    let backup = format!("{{ address: \"{}\", backup: true }}", server.addr());
    let gateway = config.clone().endpoint(backup).start();
    let started = Instant::now();
    assert_eq!(greeted(&gateway, 1).1, "a");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(5), "{took:?}");
    let alone = config.start();
    assert!(is_reset(alone.addr("web")));
    assert_eq!(end_of(&alone, "connect_timeout")["error"], "connect-timeout");
}

#[test]
fn a_full_endpoint_is_queued_for_and_a_full_queue_resets() {
    let server = RawServer::start();
    let gateway = Tcp::to::<&str>([])
        .endpoint(format!("{{ address: \"{}\", max_connections: 2 }}", server.addr()))
        .upstream("queue: { size: 1, timeout: 10s }")
        .start();
    let held: Vec<_> = (0..2)
        .map(|_| {
            let client = gateway.connect();
            (client, server.accept())
        })
        .collect();
    let mut waiting = gateway.connect();
    waiting.send("early bytes");
    let is_waiting = || gateway.metrics().sum("weir_upstream_queue_waiting", &[]) as u64 == 1;
    wait::until_true("it to wait", is_waiting);
    let waiting_since = Instant::now();
    assert!(server.try_accept().is_none());
    assert!(is_reset(gateway.addr("web")), "the queue has room for one");
    assert_eq!(end_of(&gateway, "queue_full")["error"], "queue-full");
    let waited_ms = waiting_since.elapsed().as_secs_f64() * 1_000.0;
    drop(held);
    assert_eq!(server.accept().exactly(11).unwrap(), b"early bytes");
    drop(waiting);
    let line = wait::until("its log line", || gateway.log_lines(|line| line["bytes_in"] == 11).pop());
    let ms = |key: &str| line[key].as_f64().expect("a number");
    assert!(ms("connect_ms") + waited_ms <= ms("duration_ms"), "to wait is not to connect: {line}");
}

#[test]
fn a_client_that_leaves_the_queue_gives_its_turn_up() {
    let server = RawServer::start();
    let gateway = Tcp::to::<&str>([])
        .endpoint(format!("{{ address: \"{}\", max_connections: 1 }}", server.addr()))
        .upstream("queue: { size: 10, timeout: 1h }")
        .start();
    let held = (gateway.connect(), server.accept());
    let waiting = |count: u64| {
        let found = || gateway.metrics().sum("weir_upstream_queue_waiting", &[]) as u64 == count;
        wait::until_true("the queue", found);
    };
    let mut leaving = gateway.connect();
    leaving.send("early bytes");
    waiting(1);
    let mut patient = gateway.connect();
    patient.send("patient");
    waiting(2);
    leaving.reset();
    waiting(1);
    end_of(&gateway, "client_reset");
    // One that only has no more to say still waits for its answer.
    patient.half_close();
    drop(held);
    assert_eq!(server.accept().rest().unwrap(), b"patient");
}

#[test]
fn waiting_in_the_queue_ends_after_its_timeout() {
    let server = RawServer::start();
    let gateway = Tcp::to::<&str>([])
        .endpoint(format!("{{ address: \"{}\", max_connections: 1 }}", server.addr()))
        .upstream("queue: { size: 10, timeout: 200ms }")
        .start();
    let _held = (gateway.connect(), server.accept());
    let started = Instant::now();
    assert!(is_reset(gateway.addr("web")));
    assert!(started.elapsed() >= Duration::from_millis(150));
    assert_eq!(end_of(&gateway, "queue_timeout")["attempts"], 0);
    assert_eq!(gateway.metrics().sum("weir_upstream_queue_timeouts_total", &[]) as u64, 1);
}

#[test]
fn a_unix_socket_is_an_endpoint_and_a_listener() {
    let server = TcpOrigin::echo();
    let folder = tempfile::tempdir().unwrap();
    let (path, inner) = (folder.path().join("in.sock"), Tcp::to([server.addr()]));
    let inner = crate::start(&inner.yaml().replace("127.0.0.1:0", &format!("unix:{}", path.display())));
    let outer = Tcp::to([format!("unix:{}", path.display())]).tcp("send_proxy_protocol: v2").start();
    let mut client = outer.connect();
    client.send("through two");
    let got = client.exactly(28 + 11).unwrap();
    assert_eq!(&got[28..], b"through two", "the echo holds the header too");
    client.half_close();
    assert_eq!(client.ending(), Ending::Closed);
    assert_eq!(end_of(&inner, "client_closed")["client_ip"], serde_json::Value::Null);
}
