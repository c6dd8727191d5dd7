//! Attacks that cost the attacker little, and what they may cost us.

use std::time::{Duration, Instant};

use weir_testkit::{Gateway, Origin, RawClient, behaviour, wait};

use crate::{Config, binary};

/// A fresh legitimate request is answered 200 within a second; the machine may be busy, so three.
fn serves(gateway: &Gateway) {
    let started = Instant::now();
    assert_eq!(gateway.get("/fine").status, 200);
    assert!(started.elapsed() < Duration::from_secs(3), "a fresh request took {:?}", started.elapsed());
}

/// What must hold after every attack: memory and descriptors are back, and it serves.
fn recovers(gateway: &Gateway, rss_before: u64, fds_before: usize) {
    serves(gateway);
    // A few for pooled upstream connections.
    wait::until_true("the descriptors to be freed", || gateway.open_fds() <= fds_before + 8);
    let grown = gateway.rss_kib().saturating_sub(rss_before);
    assert!(grown <= 64 * 1024, "grew by {grown} KiB");
}

#[test]
fn slow_heads_are_dropped_and_do_not_hinder_others() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).top("timeouts: { request_head: 1s }").start();
    serves(&gateway);
    let (rss, fds) = (gateway.rss_kib(), gateway.open_fds());
    let mut slow: Vec<_> = (0..300).map(|_| gateway.connect()).collect();
    for _ in 0..3 {
        for client in &mut slow {
            let _ = client.try_send("GET / HTTP/1.1\r\nX: y");
        }
        serves(&gateway);
    }
    for client in &mut slow {
        assert!(client.rest().is_ok_and(|bytes| bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 408")));
    }
    recovers(&gateway, rss, fds);
}

#[test]
fn slow_bodies_are_dropped_and_free_their_upstreams() {
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).top("timeouts: { body_idle: 1s }").start();
    serves(&gateway);
    let (rss, fds) = (gateway.rss_kib(), gateway.open_fds());
    let mut slow: Vec<_> = (0..100).map(|_| gateway.connect()).collect();
    for client in &mut slow {
        client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\nx");
    }
    serves(&gateway);
    for client in &mut slow {
        assert!(client.rest().is_ok_and(|bytes| bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 408")));
    }
    wait::until_true("the upstreams to be freed", || origin.open_count() <= 8);
    recovers(&gateway, rss, fds);
}

#[test]
fn a_hoard_of_idle_connections_is_given_up_for_those_who_ask() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = binary().descriptors_max(256).start(&Config::to([origin.addr()]).yaml());
    serves(&gateway);
    let fds = gateway.open_fds();
    let web = gateway.addr("web");
    let hoard: Vec<_> = (0..600).filter_map(|_| RawClient::try_connect(web).ok()).collect();
    assert!(hoard.len() > 256, "only {} connections", hoard.len());
    let cpu = gateway.cpu_time();
    let started = Instant::now();
    let mut answered = 0;
    while started.elapsed() < Duration::from_secs(2) {
        let Ok(mut client) = RawClient::try_connect(web) else { continue };
        client.patience(Duration::from_secs(3));
        let _ = client.try_send("GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        if let Ok(response) = client.read_response("GET") {
            assert!([200, 503].contains(&response.status), "{response:?}");
            answered += u32::from(response.status == 200);
        }
    }
    assert!(answered > 10, "only {answered} requests were answered");
    let spent = gateway.cpu_time() - cpu;
    assert!(spent < Duration::from_secs(3), "it spun: {spent:?} of CPU");
    drop(hoard);
    wait::until_true("the descriptors to be freed", || gateway.open_fds() <= fds + 8);
    serves(&gateway);
}

#[test]
fn busy_connections_at_the_descriptor_limit_are_shed_and_it_recovers() {
    let gate = weir_testkit::Gate::new();
    let origin = Origin::start({
        let gate = gate.clone();
        move |request, connection| {
            if request.target == "/slow" {
                gate.wait();
            }
            connection.respond(200, &[], "ok");
            weir_testkit::After::KeepOpen
        }
    });
    let gateway = binary().descriptors_max(256).start(&Config::to([origin.addr()]).yaml());
    serves(&gateway);
    let fds = gateway.open_fds();
    let web = gateway.addr("web");
    let mut busy: Vec<_> = (0..400).filter_map(|_| RawClient::try_connect(web).ok()).collect();
    for client in &mut busy {
        let _ = client.try_send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    wait::until_true("a good number upstream", || origin.request_count() > 50);
    gate.open();
    let (mut answered, mut shed) = (0, 0);
    for client in &mut busy {
        match client.read_response("GET") {
            Ok(response) if response.status == 200 => answered += 1,
            Ok(response) => {
                assert_eq!(response.status, 503, "{response:?}");
                assert!(response.field("retry-after").is_some(), "{response:?}");
                shed += 1;
            }
            Err(_) => shed += 1,
        }
    }
    assert!(answered >= 50, "{answered} answered, {shed} shed");
    drop(busy);
    // What each worker keeps for the next requests: `pool.idle_per_worker`, 64 by default.
    let kept = 64 * std::thread::available_parallelism().map_or(1, usize::from);
    wait::until_true("the descriptors to be freed", || gateway.open_fds() <= fds + kept + 16);
    serves(&gateway);
}

#[test]
fn ten_thousand_hosts_and_paths_add_no_series() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).top("log: { access: off }").start();
    let mut client = gateway.connect();
    let burst = |client: &mut RawClient, from: u32, count: u32| {
        for chunk in 0..count / 50 {
            let requests: String = (0..50)
                .map(|n| from + chunk * 50 + n)
                .map(|n| {
                    format!("M{n} /p{n}/x?q={n} HTTP/1.1\r\nHost: h{n}.example\r\nUser-Agent: u{n}\r\n\r\n")
                })
                .collect();
            client.send(requests);
            for _ in 0..50 {
                assert_eq!(client.response().status, 200);
            }
        }
    };
    burst(&mut client, 0, 200);
    let (series, rss) = (gateway.metrics().series.len(), gateway.rss_kib());
    burst(&mut client, 1_000, 10_000);
    let after = gateway.metrics();
    assert!(after.series.len() <= series + 20, "{} series became {}", series, after.series.len());
    assert!(!after.series.keys().any(|s| s.contains("h1001") || s.contains("p1001") || s.contains("M1001")));
    assert!(gateway.rss_kib().saturating_sub(rss) < 16 * 1024);
}

#[test]
fn a_second_process_on_the_same_port_is_refused_in_clear_words() {
    let origin = Origin::start(behaviour::fixed(200, "first"));
    let first = Config::to([origin.addr()]).start();
    let taken = first.addr("web").to_string();
    let yaml = Config::to([origin.addr()]).yaml().replace("127.0.0.1:0", &taken);
    let (status, stderr) = binary().start_refused(&yaml);
    assert!(matches!(status.code(), Some(1 | 2)), "{status:?}");
    assert!(stderr.contains(&taken) || stderr.contains(&first.addr("web").port().to_string()), "{stderr}");
    assert!(stderr.contains("in use") || stderr.contains("already"), "{stderr}");
    for _ in 0..20 {
        assert_eq!(first.get("/").text(), "first");
    }
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    serves(&gateway);
    let (rss, fds) = (gateway.rss_kib(), gateway.open_fds());
    let web = gateway.addr("web");
    for n in 0..2_000 {
        let Ok(mut client) = RawClient::try_connect(web) else { continue };
        match n % 4 {
            0 => {}
            1 => client.reset(),
            2 => {
                let _ = client.try_send("GET / HTTP/1.1\r\nHo");
            }
            _ => {
                let _ = client.try_send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
                client.reset();
            }
        }
    }
    recovers(&gateway, rss, fds);
}

#[test]
fn pipelining_without_reading_is_held_back() {
    let origin = Origin::start(behaviour::fixed(200, "a body of some size, so that answers add up quickly"));
    let gateway = Config::to([origin.addr()]).top("timeouts: { body_idle: 2s }").start();
    serves(&gateway);
    let (rss, fds) = (gateway.rss_kib(), gateway.open_fds());
    let mut client = RawClient::connect_narrow(gateway.addr("web"));
    let requests = "GET / HTTP/1.1\r\nHost: t\r\n\r\n".repeat(1_000);
    let sender = std::thread::spawn(move || {
        let mut sent = 0_usize;
        while sent < 300_000 && client.try_send(&requests).is_ok() {
            sent += 1_000;
        }
        sent
    });
    wait::until_true("some of them upstream", || origin.request_count() > 1_000);
    serves(&gateway);
    let sent = sender.join().unwrap();
    let grown = gateway.rss_kib().saturating_sub(rss);
    assert!(grown < 16 * 1024, "{sent} unread answers cost {grown} KiB");
    recovers(&gateway, rss, fds);
}

#[test]
fn a_frame_flood_on_an_upgraded_connection_costs_no_memory() {
    let origin = Origin::start(|request, connection| {
        let Some(key) = request.field("sec-websocket-key") else {
            connection.respond(200, &[], "ok");
            return weir_testkit::After::KeepOpen;
        };
        let _ = connection.write(weir_testkit::websocket::accepted(key));
        connection.wait_for_close();
        weir_testkit::After::Close
    });
    let gateway = Config::to([origin.addr()]).start();
    let rss = gateway.rss_kib();
    let mut client = gateway.connect();
    client.send(weir_testkit::websocket::handshake("t", "/ws"));
    assert_eq!(client.head().0, 101);
    // Pings, one-byte continuations and a frame that claims 2^63 bytes: all of it is the upstream's to judge.
    let frames = b"\x89\x80abcd\x00\x81abcdx\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd".repeat(2_000);
    for _ in 0..200 {
        client.send(&frames);
    }
    assert!(gateway.rss_kib().saturating_sub(rss) < 8 * 1024);
    serves(&gateway);
}
