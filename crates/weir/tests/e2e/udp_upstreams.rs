//! Which endpoint a session gets: balancers, caps, refusals, checks.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use weir_testkit::{Gateway, UdpClient, UdpOrigin, refusing_udp, wait};

use crate::udp::{UdpConfig, client, dropped, ended, session_line, sessions};

fn moved(gateway: &Gateway) -> u64 {
    gateway.metrics().sum("weir_udp_sessions_moved_total", &[]) as u64
}

/// Whether the only upstream has an endpoint in this state.
fn has_state(gateway: &Gateway, state: &str) -> bool {
    let shown = gateway.admin_get("/api/v1/upstreams").json();
    let endpoints = shown["upstreams"][0]["endpoints"].as_array().cloned().unwrap_or_default();
    endpoints.iter().any(|endpoint| endpoint["state"] == state)
}

#[test]
fn a_refusal_costs_the_client_nothing_and_counts_against_the_endpoint() {
    let origin = UdpOrigin::echo();
    let refusing = refusing_udp();
    let gateway = UdpConfig::to([refusing, origin.addr()])
        .top("workers: 1")
        .upstream("health: { passive: { failures: 3, pause: 1h } }")
        .start();
    for number in 0..10 {
        let text = format!("{number}");
        assert_eq!(client(&gateway).ask_text(&text), text, "each is asked once and answered");
    }
    assert_eq!(moved(&gateway), 3, "until it was ejected");
    let of_it = format!("endpoint=\"{refusing}\"");
    let failures = gateway.metrics().sum("weir_endpoint_failures_total", &[&of_it, "kind=\"connect\""]);
    assert_eq!(failures as u64, 3);
    assert!(has_state(&gateway, "ejected"));
    let change = &gateway.events("endpoint_state")[0];
    assert_eq!((&change["endpoint"], &change["to"]), (&refusing.to_string().into(), &"ejected".into()));
    assert_eq!(gateway.metrics().sum("weir_udp_dropped_datagrams_total", &[]) as u64, 0);
}

#[test]
fn a_session_leaves_an_endpoint_that_dies_and_new_ones_find_it_when_it_is_back() {
    let (one, two) = (UdpOrigin::named("one"), UdpOrigin::named("two"));
    let addr = one.addr();
    let gateway = UdpConfig::to([addr, two.addr()])
        .upstream("health: { passive: { failures: 1, pause: 100ms } }")
        .start();
    let client = wait::until("a session with the first", || {
        let client = client(&gateway);
        (client.ask_text("a") == "one a").then_some(client)
    });
    drop(one);
    client.ask_patiently(b"b", b"two b");
    client.ask_patiently(b"c", b"two c");
    assert!(moved(&gateway) >= 1);

    let one = UdpOrigin::start_at(addr, |bytes| vec![[b"one ", bytes].concat()]);
    wait::until_true("a session with the one that came back", || {
        UdpClient::connect(gateway.addr("dns")).ask_text("d") == "one d"
    });
    drop(one);
}

#[test]
fn a_session_that_every_endpoint_refuses_ends_and_says_so() {
    let gateway = UdpConfig::to([refusing_udp(), refusing_udp()]).top("workers: 1").start();
    client(&gateway).send(b"anybody?");
    let line = session_line(&gateway, "connect_failed");
    assert_eq!((&line["level"], &line["error"]), (&"warn".into(), &"connect-failed".into()));
    assert_eq!(line["attempts"], 2);
    wait::until_true("the drop", || dropped(&gateway, "refused") == 1);
    assert_eq!(sessions(&gateway), 0);
}

#[test]
fn without_an_endpoint_the_datagram_is_dropped_and_counted() {
    let origin = UdpOrigin::echo();
    let gateway = UdpConfig::to([origin.addr()]).start();
    let path = format!("/api/v1/upstreams/app/endpoints/{}/down", origin.addr());
    assert_eq!(gateway.admin_request("POST", &path, "").status, 200);
    let client = client(&gateway);
    client.send(b"a");
    wait::until_true("the drop", || dropped(&gateway, "no_endpoint") == 1);
    let line = session_line(&gateway, "no_endpoint");
    assert_eq!((&line["endpoint"], &line["attempts"]), (&serde_json::Value::Null, &0.into()));
    assert_eq!(gateway.admin_request("POST", &path.replace("/down", "/up"), "").status, 200);
    assert_eq!(client.ask_text("b"), "b");
}

#[test]
fn first_datagrams_wait_for_an_endpoint_at_its_cap_and_their_number_is_bounded() {
    let origin = UdpOrigin::silent();
    let gateway = UdpConfig::to(<[SocketAddr; 0]>::default())
        .endpoint(format!("{{ address: \"{}\", max_connections: 1 }}", origin.addr()))
        .upstream("queue: { timeout: 1m }")
        .udp("responses: 1")
        .start();
    let (first, second) = (client(&gateway), client(&gateway));
    first.send(b"first");
    let session = origin.wait_for(1)[0].from;
    for number in 0..20 {
        second.send(&[number]);
    }
    wait::until_true("four too many", || dropped(&gateway, "queue_full") == 4);
    let waiting = gateway.metrics().sum("weir_upstream_queue_waiting", &[]);
    assert_eq!((waiting as u64, origin.count(), sessions(&gateway)), (1, 1, 2));

    origin.send_to(session, b"answer");
    assert_eq!(first.receive(), b"answer");
    let waited: Vec<Vec<u8>> =
        origin.wait_for(17)[1..].iter().map(|received| received.bytes.clone()).collect();
    assert_eq!(waited, (0..16).map(|number| vec![number]).collect::<Vec<_>>(), "in order");
    origin.send_to(origin.sources()[1], b"for the second");
    assert_eq!(second.receive(), b"for the second");
}

#[test]
fn who_waits_too_long_for_an_endpoint_is_given_up() {
    let origin = UdpOrigin::silent();
    let gateway = UdpConfig::to(<[SocketAddr; 0]>::default())
        .endpoint(format!("{{ address: \"{}\", max_connections: 1 }}", origin.addr()))
        .upstream("queue: { size: 1, timeout: 100ms }")
        .start();
    let (first, second, third) = (client(&gateway), client(&gateway), client(&gateway));
    first.send(b"first");
    origin.wait_for(1);
    second.send(b"a");
    second.send(b"b");
    wait::until_true("two dropped", || dropped(&gateway, "no_endpoint") == 2);
    assert_eq!(session_line(&gateway, "no_endpoint")["datagrams_in"], 2);
    let timeouts = gateway.metrics().sum("weir_upstream_queue_timeouts_total", &[]);
    assert_eq!((timeouts as u64, sessions(&gateway)), (1, 1));
    third.send(b"c");
    wait::until_true("one more", || dropped(&gateway, "no_endpoint") == 3);
    assert_eq!(origin.count(), 1);
}

#[test]
fn least_conn_counts_sessions() {
    let (one, two) = (UdpOrigin::echo(), UdpOrigin::echo());
    let config = |endpoints: &[&UdpOrigin]| {
        UdpConfig::to(endpoints.iter().map(|origin| origin.addr())).upstream("balance: least_conn")
    };
    let gateway = config(&[&one]).start();
    let asked = |count: usize| -> Vec<UdpClient> {
        let ask = |_| {
            let client = client(&gateway);
            assert_eq!(client.ask_text("a"), "a");
            client
        };
        (0..count).map(ask).collect()
    };
    let kept = asked(4);
    assert_eq!(gateway.reload(&config(&[&one, &two]).yaml()).status, 200);
    let more = asked(4);
    assert_eq!((one.sources().len(), two.sources().len()), (4, 4), "the new endpoint had fewer");
    asked(4);
    assert_eq!((one.sources().len(), two.sources().len()), (6, 6));
    drop((kept, more));
}

#[test]
fn ip_hash_keeps_each_address_with_one_endpoint() {
    let origins = [UdpOrigin::named("a"), UdpOrigin::named("b"), UdpOrigin::named("c")];
    // A session that lasts counts for its endpoint, and one with far more of them than its part is spared.
    let gateway = UdpConfig::to(origins.iter().map(UdpOrigin::addr))
        .udp("responses: 1")
        .upstream("balance: ip_hash")
        .start();
    let mut endpoint_of: HashMap<u8, String> = HashMap::new();
    for _ in 0..3 {
        for last in 1..=20 {
            let client = UdpClient::connect_from(IpAddr::from([127, 0, last, 1]), gateway.addr("dns"));
            let answered = client.ask_text("x");
            assert_eq!(*endpoint_of.entry(last).or_insert_with(|| answered.clone()), answered);
        }
    }
    let used: HashSet<&String> = endpoint_of.values().collect();
    assert_eq!(used.len(), 3, "{endpoint_of:?}");
    assert_eq!(ended(&gateway, "connect_failed"), 0);
}

#[test]
fn on_down_close_ends_the_sessions_of_an_endpoint_that_is_down() {
    let (one, two) = (UdpOrigin::named("one"), UdpOrigin::named("two"));
    let gateway = UdpConfig::to([one.addr(), two.addr()]).udp("on_down: close").start();
    let client = wait::until("a session with the first", || {
        let client = client(&gateway);
        (client.ask_text("a") == "one a").then_some(client)
    });
    let path = format!("/api/v1/upstreams/app/endpoints/{}/down", one.addr());
    assert_eq!(gateway.admin_request("POST", &path, "").status, 200);
    let line = session_line(&gateway, "endpoint_down");
    assert_eq!((&line["endpoint"], &line["error"]), (&one.addr().to_string().into(), &"upstream-cut".into()));
    assert_eq!(client.ask_text("b"), "two b", "a new session with the other");
}

#[test]
fn on_down_keep_keeps_them() {
    let origin = UdpOrigin::echo();
    let gateway = UdpConfig::to([origin.addr()]).start();
    let client = client(&gateway);
    assert_eq!(client.ask_text("a"), "a");
    let path = format!("/api/v1/upstreams/app/endpoints/{}/down", origin.addr());
    assert_eq!(gateway.admin_request("POST", &path, "").status, 200);
    assert_eq!(client.ask_text("b"), "b");
    assert_eq!(origin.sources().len(), 1);
}
