//! Connections live through reloads that still want them, and end as told through the others and at the stop.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use weir_testkit::{Blackhole, Ending, Gateway, Origin, RawClient, TcpOrigin, behaviour, wait};

use crate::tcp::{Tcp, end_of, greeted};

fn free_address() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("it is bound")
}

fn reload(gateway: &Gateway, config: &Tcp) {
    let answer = gateway.reload(&config.yaml());
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn lives(client: &mut RawClient) {
    client.send("alive");
    assert_eq!(client.exactly(5).expect("an echo"), b"alive");
}

#[test]
fn connections_live_through_reloads_that_still_want_them() {
    let (one, two) = (TcpOrigin::greeting("a"), TcpOrigin::greeting("b"));
    let config = Tcp::to([one.addr()]);
    let gateway = config.start();
    let web = gateway.addr("web");
    let (mut old, _) = greeted(&gateway, 1);
    for changed in [
        config.clone().tcp("idle_timeout: 1h"),
        config.clone().upstream("balance: ip_hash"),
        Tcp::to([one.addr(), two.addr()]),
        config.clone().top("log: { level: debug }"),
        config.clone().another_listener("more: { bind: \"127.0.0.1:0\", tcp: { forward: app } }"),
    ] {
        reload(&gateway, &changed);
        lives(&mut old);
        assert_eq!(gateway.addr("web"), web);
    }
    // What is new goes by the new configuration, what is old is as it was.
    reload(&gateway, &Tcp::to([two.addr()]));
    assert_eq!(greeted(&gateway, 1).1, "b");
    lives(&mut old);
    old.half_close();
    assert_eq!(old.ending(), Ending::Closed);
}

#[test]
fn a_listener_that_goes_away_stops_accepting_and_its_connections_finish() {
    let server = TcpOrigin::greeting("a");
    let config = Tcp::to([server.addr()]);
    let more = config.clone().another_listener("more: { bind: \"127.0.0.1:0\", tcp: { forward: app } }");
    let gateway = more.start();
    let address = gateway.addr("more");
    let mut kept = RawClient::connect(address);
    assert_eq!(kept.exactly(1).unwrap(), b"a");
    reload(&gateway, &config);
    wait::until_true("it to refuse", || RawClient::try_connect(address).is_err());
    lives(&mut kept);
    kept.half_close();
    assert_eq!(kept.ending(), Ending::Closed);
    wait::until_true("its log line", || {
        !gateway.log_lines(|line| line["listener"] == "more" && line["end"] == "client_closed").is_empty()
    });
    assert_eq!(greeted(&gateway, 1).1, "a");
}

#[test]
fn connections_to_an_endpoint_that_is_removed_finish_or_are_closed_as_told() {
    for (told, end) in [("drain", None), ("close", Some(Ending::Reset))] {
        let (stays, leaves) = (TcpOrigin::greeting("a"), TcpOrigin::greeting("b"));
        let config = |servers: &[&TcpOrigin]| {
            Tcp::to(servers.iter().map(|server| server.addr())).tcp(&format!("on_remove: {told}"))
        };
        let gateway = config(&[&stays, &leaves]).start();
        let mut held: Vec<_> = (0..4).map(|_| greeted(&gateway, 1)).collect();
        reload(&gateway, &config(&[&stays]));
        let started = Instant::now();
        for (client, letter) in &mut held {
            match end.filter(|_| letter == "b") {
                Some(end) => assert_eq!(client.ending(), end),
                None => lives(client),
            }
        }
        assert!(started.elapsed() < Duration::from_secs(5));
        if end.is_some() {
            assert_eq!(end_of(&gateway, "endpoint_removed")["endpoint"], leaves.addr().to_string());
        }
        assert!((0..4).all(|_| greeted(&gateway, 1).1 == "a"));
    }
}

#[test]
fn an_upstream_that_is_removed_takes_its_connections_with_it_only_when_told() {
    for (told, closes) in [("drain", false), ("close", true)] {
        let (one, two) = (TcpOrigin::greeting("a"), TcpOrigin::greeting("b"));
        let named = |name: &str, server: &TcpOrigin| {
            Tcp::to([server.addr()]).tcp(&format!("on_remove: {told}")).yaml().replace("app", name)
        };
        let gateway = crate::start(&named("first", &one));
        let (mut client, _) = greeted(&gateway, 1);
        assert_eq!(gateway.reload(&named("second", &two)).status, 200);
        if closes {
            assert_eq!(client.ending(), Ending::Reset);
        } else {
            lives(&mut client);
        }
    }
}

#[test]
fn connections_to_an_endpoint_that_is_down_go_on_or_are_closed_as_told() {
    for (told, closes) in [("keep", false), ("close", true)] {
        let (well, ill) = (TcpOrigin::greeting("a"), TcpOrigin::greeting("b"));
        let gateway = Tcp::to([well.addr(), ill.addr()]).tcp(&format!("on_down: {told}")).start();
        let mut held: Vec<_> = (0..4).map(|_| greeted(&gateway, 1)).collect();
        let order = |word: &str| {
            let path = format!("/api/v1/upstreams/app/endpoints/{}/{word}", ill.addr());
            assert_eq!(gateway.admin_request("POST", &path, "").status, 200);
        };
        // To drain is to finish what there is, whatever is said about endpoints that are down.
        order("drain");
        assert!((0..4).all(|_| greeted(&gateway, 1).1 == "a"));
        held.iter_mut().for_each(|(client, _)| lives(client));
        order("down");
        for (client, letter) in &mut held {
            match closes && letter == "b" {
                true => assert_eq!(client.ending(), Ending::Reset),
                false => lives(client),
            }
        }
        if closes {
            assert_eq!(end_of(&gateway, "endpoint_down")["endpoint"], ill.addr().to_string());
        }
        order("up");
        wait::until_true("its return", || greeted(&gateway, 1).1 == "b");
    }
}

#[test]
fn a_failed_health_check_closes_connections_where_told() {
    let mut ill = TcpOrigin::greeting("b");
    let checks = "health: { active: { interval: 100ms, timeout: 500ms, down_after: 1, tcp: {} } }";
    let gateway = Tcp::to([ill.addr()])
        .tcp("on_down: close")
        .another_listener("kept: { bind: \"127.0.0.1:0\", tcp: { forward: app } }")
        .upstream(checks)
        .start();
    let (mut closed, _) = greeted(&gateway, 1);
    let mut kept = RawClient::connect(gateway.addr("kept"));
    assert_eq!(kept.exactly(1).unwrap(), b"b");
    lives(&mut closed);
    // Nobody new, but the connections themselves are well.
    ill.stop_listening();
    assert_eq!(closed.ending(), Ending::Reset);
    end_of(&gateway, "endpoint_down");
    lives(&mut kept);
}

#[test]
fn an_address_may_change_from_http_to_tcp_and_back() {
    let origin = Origin::start(behaviour::fixed(200, "by http"));
    let server = TcpOrigin::greeting("a");
    let address = free_address();
    let http = crate::Config::to([origin.addr()]).yaml().replace("127.0.0.1:0", &address.to_string());
    let tcp = Tcp::to([server.addr()]).yaml().replace("127.0.0.1:0", &address.to_string());
    let gateway = crate::start(&http);
    for _ in 0..3 {
        let mut site = RawClient::connect(address);
        assert_eq!(site.get("t", "/").text(), "by http");
        assert_eq!(gateway.reload(&tcp).status, 200);
        let mut raw = RawClient::connect(address);
        assert_eq!(raw.exactly(1).unwrap(), b"a", "what is accepted from now on is TCP");
        lives(&mut raw);
        assert_eq!(gateway.reload(&http).status, 200);
        assert_eq!(RawClient::connect(address).get("t", "/").text(), "by http");
        lives(&mut raw);
        raw.half_close();
        assert_eq!(raw.ending(), Ending::Closed);
        // The idle HTTP connection was told to go, or is served a last time.
        drop(site);
    }
}

#[test]
fn a_listener_gets_another_name_and_no_client_notices() {
    let server = TcpOrigin::greeting("a");
    let address = free_address();
    let named = |name: &str| {
        let yaml = Tcp::to([server.addr()]).yaml().replace("127.0.0.1:0", &address.to_string());
        yaml.replace("  web:", &format!("  {name}:"))
    };
    let gateway = crate::start(&named("web"));
    let mut kept = RawClient::connect(address);
    assert_eq!(kept.exactly(1).unwrap(), b"a");
    for name in ["db", "web", "db"] {
        assert_eq!(gateway.reload(&named(name)).status, 200);
        for _ in 0..50 {
            assert_eq!(RawClient::connect(address).exactly(1).unwrap(), b"a");
        }
        lives(&mut kept);
    }
}

#[test]
fn counters_go_on_through_reloads() {
    let server = TcpOrigin::greeting("a");
    let config = Tcp::to([server.addr()]);
    let gateway = config.start();
    for timeout in ["10m", "11m", "12m"] {
        drop(greeted(&gateway, 1));
        reload(&gateway, &config.clone().tcp(&format!("idle_timeout: {timeout}")));
    }
    wait::until_true("three ends", || crate::tcp::ended(&gateway, "client_closed") == 3);
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("weir_stream_sent_bytes_total", &["listener=\"web\""]) as u64, 3);
    assert_eq!(metrics.sum("weir_stream_duration_seconds_count", &["listener=\"web\""]) as u64, 3);
    assert_eq!(metrics.sum("weir_stream_connect_duration_seconds_count", &["listener=\"web\""]) as u64, 3);
    let endpoint = format!("endpoint=\"{}\"", server.addr());
    assert_eq!(metrics.sum("weir_endpoint_requests_total", &[&endpoint]) as u64, 3);
}

#[test]
fn what_is_open_shows_in_the_status_and_at_its_endpoint() {
    let server = TcpOrigin::greeting("a");
    let gateway = Tcp::to([server.addr()]).start();
    let held: Vec<_> = (0..3).map(|_| greeted(&gateway, 1)).collect();
    let status = gateway.admin_get("/api/v1/status").json();
    let listeners = status["listeners"].as_array().unwrap();
    let web = listeners.iter().find(|listener| listener["name"] == "web").expect("the listener");
    assert_eq!((&web["connections"], &status["connections"]), (&3.into(), &3.into()), "{status}");
    let upstreams = gateway.admin_get("/api/v1/upstreams").json();
    assert_eq!(upstreams["upstreams"][0]["endpoints"][0]["in_flight"], 3, "{upstreams}");
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("weir_listener_connections", &["listener=\"web\""]) as u64, 3);
    assert_eq!(metrics.sum("weir_endpoint_in_flight", &[]) as u64, 3);
    let config = gateway.admin_get("/api/v1/config").text();
    assert!(config.contains("\"tcp\"") && config.contains("\"forward\""), "{config}");
    drop(held);
    wait::until_true("none open", || gateway.admin_get("/api/v1/status").json()["connections"] == 0);
}

/// Connects again and again until it is refused; whoever gets in must be greeted. How many were.
fn connect_until_refused(address: SocketAddr) -> Result<usize, String> {
    for greeted in 0.. {
        let Ok(mut client) = RawClient::try_connect(address) else { return Ok(greeted) };
        match client.exactly(1) {
            Ok(_) => {}
            Err(error) => return Err(format!("{error:?} after {greeted}")),
        }
    }
    unreachable!("it is refused at last")
}

#[test]
fn who_gets_in_while_the_listener_goes_away_is_served() {
    for stops in [false, true] {
        let server = TcpOrigin::greeting("a");
        let config = Tcp::to([server.addr()]);
        let more = config.clone().another_listener("more: { bind: \"127.0.0.1:0\", tcp: { forward: app } }");
        let gateway = more.start();
        let address = gateway.addr("more");
        let clients: Vec<_> =
            (0..4).map(|_| std::thread::spawn(move || connect_until_refused(address))).collect();
        wait::until_true("some load", || server.connection_count() > 50);
        match stops {
            true => gateway.ask_to_stop(),
            false => reload(&gateway, &config),
        }
        for client in clients {
            let greeted = client.join().unwrap();
            assert!(greeted.as_ref().is_ok_and(|&greeted| greeted > 0), "stops: {stops}, {greeted:?}");
        }
    }
}

#[test]
fn a_stop_lets_connections_finish_before_the_deadline() {
    let server = TcpOrigin::greeting("a");
    let mut gateway = Tcp::to([server.addr()]).top("timeouts: { drain: 20s }").start();
    let web = gateway.addr("web");
    let (mut client, _) = greeted(&gateway, 1);
    gateway.ask_to_stop();
    wait::until_true("it to refuse", || RawClient::try_connect(web).is_err());
    lives(&mut client);
    assert!(gateway.is_running());
    let started = Instant::now();
    client.half_close();
    assert_eq!(client.ending(), Ending::Closed);
    assert_eq!(gateway.exit_status().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "it waited for the deadline");
    let line = gateway.log_lines(|line| line["bytes_in"] == 5);
    assert_eq!(line[0]["end"], "client_closed", "{line:?}");
}

#[test]
fn clients_that_say_nothing_do_not_hold_a_stop_up() {
    let server = TcpOrigin::greeting("a");
    let config = Tcp::to::<&str>([]).without_forward().tcp("preread_timeout: 1h");
    let mut gateway = config
        .tcp("routes: [{ sni: a.test, forward: app }]")
        .endpoint(format!("\"{}\"", server.addr()))
        .top("timeouts: { drain: 1h }")
        .start();
    let mut silent: Vec<_> = (0..3).map(|_| gateway.connect()).collect();
    let open = || gateway.metrics().sum("weir_connections", &[]) as u64;
    wait::until_true("them to be accepted", || open() == 3);
    let started = Instant::now();
    assert_eq!(gateway.terminate().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    silent.iter_mut().for_each(|client| assert_eq!(client.ending(), Ending::Reset));
}

#[test]
fn the_deadline_of_a_stop_resets_what_is_still_open() {
    let server = TcpOrigin::greeting("a");
    let mut gateway = Tcp::to([server.addr()])
        .tcp("routes: [{ sni: a.test, forward: app }]")
        .another_listener("plain: { bind: \"127.0.0.1:0\", tcp: { forward: app } }")
        .top("timeouts: { drain: 500ms }")
        .start();
    let mut joined = RawClient::connect(gateway.addr("plain"));
    assert_eq!(joined.exactly(1).unwrap(), b"a");
    let mut undecided = gateway.connect();
    undecided.send([22, 3, 1]);
    wait::until_true("both", || gateway.metrics().sum("weir_connections", &[]) as u64 == 2);
    let started = Instant::now();
    gateway.ask_to_stop();
    lives(&mut joined);
    assert_eq!((joined.ending(), undecided.ending()), (Ending::Reset, Ending::Reset));
    gateway.exit_status();
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(450) && took < Duration::from_secs(6), "{took:?}");
    for listener in ["plain", "web"] {
        let lines = gateway.log_lines(|line| line["listener"] == listener && line["end"] == "shutting_down");
        assert_eq!(lines.len(), 1, "{listener}: {:?}", gateway.stdout_lines());
    }
}

#[test]
fn a_connection_that_no_endpoint_has_taken_yet_is_reset_and_logged_at_a_stop() {
    let hole = Blackhole::start();
    let mut gateway =
        Tcp::to([hole.addr()]).upstream("connect_timeout: 1m").top("timeouts: { drain: 100ms }").start();
    let mut client = gateway.connect();
    wait::until_true("it", || gateway.metrics().sum("weir_connections", &[]) as u64 == 1);
    gateway.ask_to_stop();
    assert_eq!(client.ending(), Ending::Reset);
    gateway.exit_status();
    let lines = gateway.log_lines(|line| line["end"] == "shutting_down" && line["attempts"] == 1);
    assert_eq!(lines.len(), 1, "{:?}", gateway.stdout_lines());
}
