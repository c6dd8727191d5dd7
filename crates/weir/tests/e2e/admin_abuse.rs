//! The admin address against those who hold it open, guess its token or overwhelm it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use weir_testkit::{Gateway, Origin, Problem, RawClient, behaviour, wait};

use crate::{Config, binary};

const TOKEN: &str = "correct-horse-battery-staple-0123456789";

fn with_token() -> Gateway {
    let yaml = Config::to(["127.0.0.1:9"])
        .top("admin: { bind: \"127.0.0.1:0\", token: { env: ADMIN_TOKEN } }")
        .yaml();
    binary().env("ADMIN_TOKEN", TOKEN).start(&yaml)
}

fn expect_ready_within_a_second(gateway: &Gateway) {
    let asked = Instant::now();
    assert_eq!(gateway.admin_get("/health/ready").status, 200);
    assert!(asked.elapsed() < Duration::from_secs(1), "it took {:?}", asked.elapsed());
}

/// Goal: a hoard of connections that ask nothing, from the asker's own address or from many, costs the asker nothing.
/// Method: hundreds of each kind of unfinished request stay open while a supervisor asks.
#[test]
fn a_hoard_of_unfinished_requests_does_not_delay_readiness() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    let post =
        format!("POST /api/v1/explain HTTP/1.1\r\nHost: {}\r\nContent-Length: 9\r\n\r\n{{", gateway.admin());
    for sources in [&[1][..], &[2, 3, 4, 5, 6, 7, 8, 9]] {
        let mut held = Vec::new();
        for number in 0..400 {
            let source = Ipv4Addr::new(127, 0, 0, sources[number % sources.len()]);
            let mut client = RawClient::connect_from(IpAddr::V4(source), gateway.admin());
            let sent = ["", "GET /health/ready HTTP/1.1\r\nHo", post.as_str()][number % 3];
            // Fails where it has made room for another already.
            let _cut = client.try_send(sent);
            held.push(client);
            if number % 50 == 49 {
                expect_ready_within_a_second(&gateway);
            }
        }
        expect_ready_within_a_second(&gateway);
    }
    assert_eq!(gateway.get("/").status, 200);
    let metrics = gateway.metrics();
    assert!(metrics.series["weir_admin_connections_cut_total"] >= 500.0, "{:#?}", metrics.series);
    assert!(metrics.series["weir_admin_connections"] <= 64.0, "{:#?}", metrics.series);
}

#[test]
fn readers_that_do_not_read_keep_no_places() {
    let gateway = Config::to(["127.0.0.1:9"]).start();
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut client = RawClient::connect_narrow(gateway.admin());
        for _ in 0..20 {
            let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.admin());
            if client.try_send(request).is_err() {
                break;
            }
        }
        held.push(client);
    }
    expect_ready_within_a_second(&gateway);
}

#[test]
fn a_guesser_is_answered_429_counted_and_logged_and_the_operator_beside_it_gets_in() {
    let gateway = with_token();
    let ask = |token: &str| {
        gateway.admin_request("GET", "/api/v1/status", &format!("Authorization: Bearer {token}\r\n"))
    };
    for guess in 0..10 {
        Problem::expect(&ask(&format!("guess-{guess}")), 401, "unauthorized");
    }
    for guess in 10..30 {
        let refused = ask(&format!("guess-{guess}"));
        Problem::expect(&refused, 429, "too-many-failures");
        let seconds: u64 =
            refused.field("retry-after").expect("a time to come back").parse().expect("seconds");
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    assert_eq!(ask(TOKEN).status, 200, "the operator is locked out by a neighbour");
    assert_eq!(gateway.admin_get("/health/ready").status, 200);
    let metrics =
        gateway.admin_request("GET", "/metrics", &format!("Authorization: Bearer {TOKEN}\r\n")).text();
    for line in ["weir_admin_token_failures_total 10", "weir_admin_locked_out_total 20"] {
        assert!(metrics.lines().any(|known| known == line), "{line} is not in {metrics}");
    }
    wait::until_true("the events", || gateway.events("admin_token_refused").len() == 2);
    let events = gateway.events("admin_token_refused");
    let told: Vec<_> = events.iter().map(|event| (&event["failures"], &event["locked_out_s"])).collect();
    assert_eq!(told, [(&1.into(), &0.into()), (&10.into(), &60.into())], "{events:?}");
    assert_eq!(events[0]["client_ip"], "127.0.0.1");
    assert!(!gateway.stderr().contains("guess-"), "a guess is logged");
}

#[test]
fn a_change_of_the_admin_address_is_said_to_need_a_restart() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let config = Config::to([origin.addr()]);
    let gateway = config.start();
    // Events are written a little after the answer.
    let events = |reloads: usize, restarts: usize| {
        wait::until_true("the events of the reload", || gateway.events("reloaded").len() == reloads);
        let needed = gateway.events("restart_needed");
        assert_eq!(needed.len(), restarts, "{needed:?}");
        assert!(needed.iter().all(|event| event["key"] == "admin"), "{needed:?}");
    };
    assert_eq!(gateway.reload(&config.yaml()).status, 200);
    events(1, 0);
    let named = config.clone().top("admin: { bind: \"127.0.0.1:0\", hosts: [ops.example] }");
    assert_eq!(gateway.reload(&named.yaml()).status, 200);
    events(2, 1);
    let named = RawClient::connect(gateway.admin()).get("ops.example", "/healthz");
    assert_eq!(named.status, 421, "it is in force without a restart");
    assert_eq!(gateway.reload(&config.clone().top("admin: { bind: \"127.0.0.2:0\" }").yaml()).status, 200);
    events(3, 2);
    assert_eq!(gateway.admin_get("/healthz").status, 200, "it moved without a restart");
}
