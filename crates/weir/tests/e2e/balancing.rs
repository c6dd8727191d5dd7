//! Who gets the next request.

use weir_testkit::{Gate, Gateway, Origin, Problem, behaviour, wait};

use crate::Config;

fn origins(count: usize) -> Vec<Origin> {
    (0..count).map(|_| Origin::start(behaviour::fixed(200, "ok"))).collect()
}

fn counts(origins: &[Origin]) -> Vec<usize> {
    origins.iter().map(Origin::request_count).collect()
}

/// Sends `count` requests one after the other on one connection.
fn send(gateway: &Gateway, count: usize) {
    let mut client = gateway.connect();
    for _ in 0..count {
        assert_eq!(client.get("t", "/").status, 200);
    }
}

#[test]
fn round_robin_takes_turns() {
    let origins = origins(3);
    let gateway = Config::to(origins.iter().map(Origin::addr)).top("workers: 1").start();
    send(&gateway, 30);
    assert_eq!(counts(&origins), [10, 10, 10]);
}

#[test]
fn round_robin_takes_turns_over_all_workers_together() {
    let origins = origins(2);
    let gateway = Config::to(origins.iter().map(Origin::addr)).start();
    for _ in 0..40 {
        assert_eq!(gateway.get("/").status, 200);
    }
    let counts = counts(&origins);
    assert!(counts.iter().all(|c| (15..=25).contains(c)), "{counts:?}");
}

#[test]
fn weights_are_kept_and_spread_smoothly_and_zero_gets_nothing() {
    let origins = origins(3);
    let mut config = Config::default().top("workers: 1");
    for (origin, weight) in origins.iter().zip([5, 1, 0]) {
        config = config.endpoint(format!("{{ address: \"{}\", weight: {weight} }}", origin.addr()));
    }
    let gateway = config.start();
    send(&gateway, 60);
    assert_eq!(counts(&origins), [50, 10, 0]);
}

fn from_four_clients(gateway: &Gateway, requests: usize) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gateway.connect();
                (0..requests).for_each(|_| assert_eq!(client.get("t", "/").status, 200));
            });
        }
    });
}

#[test]
fn every_balancer_uses_every_endpoint_and_never_a_refusing_one_alone() {
    for balance in
        ["round_robin", "weighted_round_robin", "least_conn", "least_connections", "random_two", "least_time"]
    {
        let origins = origins(3);
        let gateway =
            Config::to(origins.iter().map(Origin::addr)).upstream(&format!("balance: {balance}")).start();
        // What goes by measured times may leave one aside for a while on a busy machine: it gets further rounds.
        let all_used = (1..=20).any(|round| {
            from_four_clients(&gateway, 40);
            let counts = counts(&origins);
            assert_eq!(counts.iter().sum::<usize>(), round * 160);
            counts.iter().all(|c| *c > 5)
        });
        assert!(all_used, "{balance}: {:?}", counts(&origins));
    }
}

#[test]
fn least_conn_avoids_the_busy_endpoint() {
    let gate = Gate::new();
    let busy = Origin::start(behaviour::gated(&gate, "slow"));
    let free = Origin::start(behaviour::fixed(200, "fast"));
    let gateway = Config::to([busy.addr(), free.addr()]).upstream("balance: least_conn").start();
    let mut holders: Vec<_> = (0..4).map(|_| gateway.connect()).collect();
    // One of the first two requests is caught by the busy endpoint; from then on it has more in flight.
    for client in &mut holders {
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    wait::until_true("all of them placed", || busy.request_count() + free.request_count() == 4);
    let caught = busy.request_count();
    send(&gateway, 20);
    assert!(caught <= 4 && busy.request_count() == caught, "{} went to the busy one", busy.request_count());
    gate.open();
    for client in &mut holders {
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn hash_keeps_a_key_at_its_endpoint_and_spreads_keys() {
    for (key, field) in [("header:X-User", "X-User: {}"), ("cookie:session", "Cookie: a=b; session={}")] {
        let origins = origins(4);
        let gateway = Config::to(origins.iter().map(Origin::addr))
            .upstream("balance: hash")
            .upstream(&format!("key: \"{key}\""))
            .start();
        let mut client = gateway.connect();
        let mut placed = Vec::new();
        for user in 0..40 {
            let before = counts(&origins);
            for _ in 0..3 {
                let field = field.replace("{}", &format!("user-{user}"));
                client.send(format!("GET / HTTP/1.1\r\nHost: t\r\n{field}\r\n\r\n"));
                assert_eq!(client.response().status, 200);
            }
            let after = counts(&origins);
            let grown: Vec<usize> = (0..4).filter(|n| after[*n] > before[*n]).collect();
            assert_eq!(grown.len(), 1, "{key}: user-{user} was spread over {grown:?}");
            placed.push(grown[0]);
        }
        assert!((0..4).all(|n| placed.contains(&n)), "{key}: {placed:?}");
    }
}

#[test]
fn ip_hash_keeps_a_client_at_its_endpoint() {
    let origins = origins(3);
    let gateway = Config::to(origins.iter().map(Origin::addr)).upstream("balance: ip_hash").start();
    for _ in 0..10 {
        assert_eq!(gateway.get("/").status, 200);
    }
    assert_eq!(counts(&origins).iter().filter(|c| **c > 0).count(), 1);
}

#[test]
fn a_backup_serves_only_when_nobody_else_does() {
    let mut main = Origin::start(behaviour::fixed(200, "main"));
    let backup = Origin::start(behaviour::fixed(200, "backup"));
    let gateway = Config::to([main.addr()])
        .endpoint(format!("{{ address: \"{}\", backup: true }}", backup.addr()))
        .start();
    for _ in 0..10 {
        assert_eq!(gateway.get("/").text(), "main");
    }
    main.kill();
    for _ in 0..10 {
        assert_eq!(gateway.get("/").text(), "backup");
    }
}

fn capped(origin: &Origin, queue: &str) -> Gateway {
    Config::default()
        .endpoint(format!("{{ address: \"{}\", max_connections: 1 }}", origin.addr()))
        .upstream(&format!("queue: {queue}"))
        .start()
}

#[test]
fn a_request_beyond_the_cap_waits_for_its_turn() {
    let gate = Gate::new();
    let origin = Origin::start(behaviour::gated(&gate, "ok"));
    let gateway = capped(&origin, "{ size: 10, timeout: 10s }");
    let mut clients: Vec<_> = (0..5).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    wait::until_true("the first at the endpoint", || origin.request_count() == 1);
    assert!(clients[4].is_quiet_for(std::time::Duration::from_millis(200)));
    assert_eq!(origin.open_count(), 1);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().text(), "ok");
    }
    // One at a time was served; each worker may keep the connection it used.
    assert!(origin.connection_count() <= 5);
}

#[test]
fn a_full_queue_and_a_long_wait_are_503_with_retry_after() {
    let gate = Gate::new();
    let origin = Origin::start(behaviour::gated(&gate, "ok"));
    let gateway = capped(&origin, "{ size: 1, timeout: 700ms }");
    let mut clients: Vec<_> = (0..3).map(|_| gateway.connect()).collect();
    clients[0].send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    wait::until_true("the first at the endpoint", || origin.request_count() == 1);
    clients[1].send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(clients[1].is_quiet_for(std::time::Duration::from_millis(150)), "it waits");
    let full = clients[2].get("t", "/");
    Problem::expect(&full, 503, "queue-full");
    assert!(full.field("retry-after").is_some(), "{full:?}");
    Problem::expect(&clients[1].response(), 503, "queue-timeout");
    gate.open();
    assert_eq!(clients[0].response().status, 200);
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn a_client_that_leaves_the_queue_does_not_take_a_turn() {
    let gate = Gate::new();
    let origin = Origin::start(behaviour::gated(&gate, "ok"));
    let gateway = capped(&origin, "{ size: 10, timeout: 10s }");
    let mut first = gateway.connect();
    first.send("GET /first HTTP/1.1\r\nHost: t\r\n\r\n");
    wait::until_true("the first at the endpoint", || origin.request_count() == 1);
    let mut leaver = gateway.connect();
    leaver.send("GET /leaver HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(leaver.is_quiet_for(std::time::Duration::from_millis(100)));
    let left = std::time::Instant::now();
    leaver.reset();
    assert_eq!(gateway.access_line("/leaver")["error"], "client-gone");
    assert!(left.elapsed() < std::time::Duration::from_secs(5), "it was noticed only when its turn came");
    gate.open();
    assert_eq!(first.response().status, 200);
    assert_eq!(gateway.get("/next").status, 200);
    assert!(origin.requests().iter().all(|r| r.target != "/leaver"));
}

#[test]
fn the_cap_is_freed_by_everybody_who_ends_badly() {
    let origin = Origin::start(|request, connection| match request.target.as_str() {
        "/silent" => behaviour::silent(request, connection),
        "/reset" => weir_testkit::After::Reset,
        _ => behaviour::fixed(200, "ok")(request, connection),
    });
    let gateway = capped(&origin, "{ size: 10, timeout: 5s }");
    for n in 0..10 {
        let mut client = gateway.connect();
        client.send("GET /silent HTTP/1.1\r\nHost: t\r\n\r\n");
        wait::until_true("the request", || {
            origin.requests().iter().filter(|r| r.target == "/silent").count() > n
        });
        client.reset();
        assert_eq!(gateway.get("/reset").status, 502);
        assert_eq!(gateway.get("/fine").status, 200, "round {n}");
    }
}

#[test]
fn a_name_with_a_dns_answer_is_an_endpoint() {
    let origin = Origin::start(behaviour::fixed(200, "by name"));
    let gateway = Config::to([format!("localhost:{}", origin.addr().port())]).start();
    assert_eq!(gateway.get("/").text(), "by name");
}

#[test]
fn a_name_without_a_dns_answer_does_not_stop_the_rest() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to(["no-such-host.invalid:80".to_owned(), origin.addr().to_string()]).start();
    for _ in 0..5 {
        assert_eq!(gateway.get("/").status, 200);
    }
}

#[test]
fn an_operator_drains_downs_and_ups_an_endpoint() {
    let origins = origins(2);
    let gateway = Config::to(origins.iter().map(Origin::addr)).start();
    let path = format!("/api/v1/upstreams/app/endpoints/{}", origins[0].addr());
    for verb in ["drain", "down"] {
        let answer = gateway.admin_request("POST", &format!("{path}/{verb}"), "");
        assert_eq!(answer.status, 200, "{answer:?}");
        let before = origins[0].request_count();
        send(&gateway, 10);
        assert_eq!(origins[0].request_count(), before, "after {verb}");
        assert_eq!(gateway.admin_request("POST", &format!("{path}/up"), "").status, 200);
        send(&gateway, 10);
        assert!(origins[0].request_count() > before, "after up");
    }
    let unknown = gateway.admin_request("POST", "/api/v1/upstreams/app/endpoints/127.0.0.1:1/down", "");
    Problem::expect(&unknown, 404, "not-found");
}
