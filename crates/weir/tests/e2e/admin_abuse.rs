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

/// Goal: names may be encoded, and no encoding reaches what the plain spelling does not.
#[test]
fn an_endpoint_is_named_plainly_or_percent_encoded() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    let port = origin.addr().port();
    let state =
        || gateway.admin_get("/api/v1/upstreams").json()["upstreams"][0]["endpoints"][0]["admin"].clone();
    for (upstream, address) in [
        ("app", format!("127.0.0.1:{port}")),
        ("%61pp", format!("127.0.0.1%3A{port}")),
        ("ap%70", format!("%31%32%37.0.0.1%3a{port}")),
    ] {
        for order in ["drain", "down", "up"] {
            let path = format!("/api/v1/upstreams/{upstream}/endpoints/{address}/{order}");
            let answer = gateway.admin_request("POST", &path, "");
            assert_eq!((answer.status, state()), (200, order.into()), "{path} {answer:?}");
        }
    }
    for (upstream, address) in [
        ("app", format!("127.0.0.1:{port}%00")),
        ("app", format!("127.0.0.1%253A{port}")),
        ("app", format!("127.0.0.1:{port}%20")),
        ("APP", format!("127.0.0.1:{port}")),
        ("..%2fapp", format!("127.0.0.1:{port}")),
        ("app", format!("..%2f127.0.0.1:{port}")),
        ("app", format!("%c0%af127.0.0.1:{port}")),
        ("app", "%".to_owned()),
        ("%00", "x".repeat(4_000)),
    ] {
        let path = format!("/api/v1/upstreams/{upstream}/endpoints/{address}/down");
        Problem::expect(&gateway.admin_request("POST", &path, ""), 404, "not-found");
    }
    assert_eq!(state(), "up");
}

/// Goal: no page of another site reads or changes anything, whatever it makes a browser send.
#[test]
fn a_page_of_another_site_gets_nothing() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    let port = gateway.admin().port();
    let down = format!("/api/v1/upstreams/app/endpoints/{}/down", origin.addr());
    for (method, path) in [("POST", "/api/v1/reload"), ("POST", down.as_str()), ("GET", "/api/v1/config")] {
        // A form, a preflight's request after it was refused, an image, a frame, a page on another port.
        for fields in [
            "Origin: http://evil.example\r\nContent-Type: text/plain\r\n".to_owned(),
            "Origin: null\r\n".to_owned(),
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n".to_owned(),
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n".to_owned(),
            format!("Origin: http://127.0.0.1:{}\r\nSec-Fetch-Site: same-site\r\n", port ^ 1),
            format!("Origin: http://127.0.0.1:{port}.evil.example\r\n"),
            format!("Origin: http://127.0.0.1:{port}\r\nOrigin: http://evil.example\r\n"),
        ] {
            Problem::expect(&gateway.admin_request(method, path, &fields), 403, "admin-origin-refused");
        }
        // The site's name now points to this machine.
        let mut rebound = RawClient::connect(gateway.admin());
        rebound.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: evil.example:{port}\r\nOrigin: http://evil.example:{port}\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n\r\n"
        ));
        Problem::expect(&rebound.response(), 421, "admin-host-refused");
    }
    let preflight = "Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n";
    let refused = gateway.admin_request("OPTIONS", "/api/v1/reload", preflight);
    assert_eq!(refused.status, 403);
    assert!(!refused.head.fields.has("access-control-allow-origin"));
    assert_eq!(gateway.get("/").status, 200);
    assert!(gateway.events("reloaded").is_empty());
}

/// Goal: large answers that nobody reads are bounded in memory and delay no probe. Method: a large view, asked for
/// by more clients than there are places, none of which reads.
#[test]
fn large_answers_that_nobody_reads_are_bounded() {
    let mut config = Config::to(["127.0.0.1:9"]);
    for number in 0..4_000 {
        config = config.another_route(&format!("{{ match: {{ path: /r{number} }}, forward: app }}"));
    }
    let gateway = config.start();
    let whole = gateway.admin_get("/api/v1/config").text().len();
    assert!(whole > 512 << 10, "{whole}");
    let before = gateway.rss_kib();
    let mut held = Vec::new();
    for _ in 0..80 {
        let mut client = RawClient::connect_narrow(gateway.admin());
        client.send(format!("GET /api/v1/config HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.admin()));
        held.push(client);
    }
    for _ in 0..5 {
        expect_ready_within_a_second(&gateway);
    }
    // It waits its turn behind them: what they asked for has been made when it is answered.
    gateway.metrics();
    let grown = gateway.rss_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB for answers of {whole} bytes");
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
    // Each reload is asked for; the watch might be faster than that.
    let config = Config::to([origin.addr()]).top("watch: off");
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

#[test]
fn a_change_of_the_admin_token_is_said_to_need_a_restart_until_it_is_taken_back() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let config = Config::to([origin.addr()])
        .top("watch: off")
        .top("admin: { bind: \"127.0.0.1:0\", token: { env: ADMIN_TOKEN } }");
    let yaml = config.yaml();
    let gateway = binary()
        .env("ADMIN_TOKEN", TOKEN)
        .env("NEXT_TOKEN", "another-battery-staple-0123456789")
        .start(&yaml);
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    for (reload, (yaml, restarts)) in
        [(yaml.replace("ADMIN_TOKEN", "NEXT_TOKEN"), 1), (yaml.clone(), 1)].into_iter().enumerate()
    {
        gateway.write_config(&yaml);
        gateway.hang_up();
        wait::until_true("the reload", || gateway.events("reloaded").len() > reload);
        assert_eq!(gateway.events("restart_needed").len(), restarts, "{reload}");
        assert_eq!(gateway.admin_request("GET", "/api/v1/status", &right).status, 200);
    }
}
