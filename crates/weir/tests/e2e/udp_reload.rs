//! What a reload and a stop do to UDP sessions.

use std::net::UdpSocket;

use weir_testkit::{Gateway, UdpClient, UdpOrigin, free_address, wait};

use crate::udp::{UdpConfig, client, dropped, ended, session_line, sessions};

/// A configuration with a listener besides, so that `dns` may go.
fn with_other(config: &UdpConfig) -> UdpConfig {
    config.clone().top("routes: [{ respond: {} }]")
}

fn yaml(config: &UdpConfig) -> String {
    let web = "listeners:\n  web: { bind: \"127.0.0.1:0\", http: {} }\n";
    with_other(config).yaml().replace("listeners:\n", web)
}

fn yaml_without(config: &UdpConfig) -> String {
    let lines = yaml(config);
    let kept: Vec<&str> = lines.lines().filter(|line| !line.starts_with("  dns:")).collect();
    kept.join("\n") + "\n"
}

fn reload(gateway: &Gateway, yaml: &str) {
    let answer = gateway.reload(yaml);
    assert_eq!(answer.status, 200, "{}\n{yaml}", answer.text());
}

#[test]
fn sessions_outlive_reloads_that_change_everything_but_their_listener() {
    let (one, two) = (UdpOrigin::named("one"), UdpOrigin::named("two"));
    let gateway = UdpConfig::to([one.addr()]).start();
    let client = client(&gateway);
    assert_eq!(client.ask_text("a"), "one a");
    let changes = [
        UdpConfig::to([one.addr(), two.addr()]),
        UdpConfig::to([one.addr()]).upstream("balance: least_conn"),
        UdpConfig::to([one.addr()]).udp("idle_timeout: 5s, sessions_max: 7, on_down: close"),
        UdpConfig::to([two.addr()]),
        UdpConfig::to([one.addr()]),
    ];
    for config in &changes {
        for text in ["b", "c"] {
            reload(&gateway, &config.yaml());
            assert_eq!(client.ask_text(text), format!("one {text}"), "its endpoint drains");
        }
    }
    assert_eq!(one.sources().len(), 1, "the session kept its port");
    assert_eq!(sessions(&gateway), 1);
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("weir_udp_received_datagrams_total", &[]) as u64, 11, "counters go on");
}

#[test]
fn a_listener_that_forwards_elsewhere_does_so_with_new_sessions() {
    let (one, two) = (UdpOrigin::named("one"), UdpOrigin::named("two"));
    let to = |name: &str| {
        let both = format!("upstreams:\n  other: {{ endpoints: [\"{}\"] }}\n", two.addr());
        let yaml = UdpConfig::to([one.addr()]).yaml().replace("forward: app", &format!("forward: {name}"));
        yaml.replace("upstreams:\n", &both)
    };
    let gateway = crate::start(&to("app"));
    let kept = client(&gateway);
    assert_eq!(kept.ask_text("a"), "one a");
    reload(&gateway, &to("other"));
    assert_eq!(kept.ask_text("b"), "one b");
    assert_eq!(client(&gateway).ask_text("c"), "two c");
    reload(&gateway, &to("other").replace("forward: other", "forward: other, idle_timeout: 1ms"));
    let lines = || gateway.log_lines(|line| line["event"] == "session");
    wait::until_true("both lines", || lines().len() == 2);
    for line in lines() {
        let upstream = if line["endpoint"] == one.addr().to_string() { "app" } else { "other" };
        assert_eq!(line["upstream"], upstream, "{line}");
    }
}

#[test]
fn a_listener_that_is_gone_serves_its_sessions_to_their_end_and_takes_no_new_ones() {
    let origin = UdpOrigin::echo();
    let config = UdpConfig::to([origin.addr()]).udp("requests: 3, responses: 1");
    let gateway = crate::start(&yaml(&config).replace("listeners:\n", "workers: 1\nlisteners:\n"));
    let without = yaml_without(&config).replace("listeners:\n", "workers: 1\nlisteners:\n");
    let (kept, late) = (client(&gateway), client(&gateway));
    assert_eq!(kept.ask_text("a"), "a");
    reload(&gateway, &without);
    assert_eq!(kept.ask_text("b"), "b");
    late.send(b"too late");
    assert_eq!(kept.ask_text("c"), "c", "its last");
    assert_eq!(origin.count(), 3);
    wait::until_true("the end of the session", || {
        !gateway.log_lines(|line| line["event"] == "session" && line["end"] == "answered").is_empty()
    });
    let addr = gateway.addr("dns");
    wait::until("the port, free again", || UdpSocket::bind(addr).ok());
}

#[test]
fn a_listener_removed_and_added_again_goes_on() {
    let origin = UdpOrigin::echo();
    let config = UdpConfig::to([origin.addr()]).bind(free_address());
    let gateway = crate::start(&yaml(&config));
    let kept = client(&gateway);
    assert_eq!(kept.ask_text("a"), "a");
    for _ in 0..10 {
        reload(&gateway, &yaml_without(&config));
        reload(&gateway, &yaml(&config));
        kept.ask_patiently(b"b", b"b");
        client(&gateway).ask_patiently(b"c", b"c");
    }
    // One whose sessions are over is gone for good, and is made anew.
    reload(&gateway, &yaml(&config.clone().udp("idle_timeout: 1ms")));
    wait::until_true("the end of all sessions", || sessions(&gateway) == 0);
    reload(&gateway, &yaml_without(&config));
    wait::until_true("no row of it", || gateway.metrics().sum("weir_udp_sessions_total", &[]) == 0.0);
    reload(&gateway, &yaml(&config));
    kept.ask_patiently(b"d", b"d");
}

#[test]
fn a_listener_gets_another_name_and_answers_go_on() {
    let origin = UdpOrigin::echo();
    let config = UdpConfig::to([origin.addr()]).bind(free_address());
    let named = |name: &str| config.yaml().replace("  dns:", &format!("  {name}:"));
    let gateway = crate::start(&named("dns"));
    let client = client(&gateway);
    assert_eq!(client.ask_text("a"), "a");
    let session = origin.sources()[0];
    for name in ["games", "dns", "games"] {
        reload(&gateway, &named(name));
        // What the endpoint sends to a session that there was still finds its client.
        origin.send_to(session, b"news");
        let answers = [client.ask_text("b").into_bytes(), client.receive()];
        assert!(answers.contains(&b"news".to_vec()) && answers.contains(&b"b".to_vec()), "{answers:?}");
    }
    wait::until_true("the address under its name", || gateway.addr("games") == gateway.addr("dns"));
}

#[test]
fn a_listener_of_datagrams_becomes_one_of_connections() {
    let origin = UdpOrigin::echo();
    let config = UdpConfig::to([origin.addr()]).bind(free_address());
    let gateway = config.start();
    assert_eq!(client(&gateway).ask_text("a"), "a");
    reload(&gateway, &with_other(&config).yaml().replace("udp: { forward: app }", "http: {}"));
    assert_eq!(weir_testkit::RawClient::connect(gateway.addr("dns")).get("t", "/").status, 200);
    reload(&gateway, &config.yaml());
    assert_eq!(client(&gateway).ask_text("b"), "b");
}

#[test]
fn a_shorter_idle_timeout_and_a_lower_sessions_max_hold_for_sessions_that_there_are() {
    let origin = UdpOrigin::echo();
    let config = UdpConfig::to([origin.addr()]).top("workers: 1").udp("idle_timeout: 1h");
    let gateway = config.start();
    let clients: Vec<UdpClient> = (0..10).map(|_| client(&gateway)).collect();
    clients.iter().for_each(|client| assert_eq!(client.ask_text("a"), "a"));
    reload(&gateway, &config.clone().udp("sessions_max: 4").yaml());
    wait::until_true("the end of six", || ended(&gateway, "evicted") == 6);
    assert_eq!(sessions(&gateway), 4);
    assert_eq!(clients[9].ask_text("b"), "b");
    assert_eq!(origin.sources().len(), 10, "the youngest kept its session");
    assert_eq!(client(&gateway).ask_text("c"), "c");
    assert_eq!((sessions(&gateway), ended(&gateway, "evicted")), (4, 7));
    reload(&gateway, &config.yaml().replace("1h", "1ms"));
    wait::until_true("the end of all", || sessions(&gateway) == 0);
}

#[test]
fn on_remove_close_ends_the_sessions_of_an_endpoint_that_is_gone() {
    let (one, two) = (UdpOrigin::named("one"), UdpOrigin::named("two"));
    let config = |origin: &UdpOrigin| UdpConfig::to([origin.addr()]).udp("on_remove: close");
    let gateway = config(&one).start();
    let client = client(&gateway);
    assert_eq!(client.ask_text("a"), "one a");
    reload(&gateway, &config(&two).yaml());
    assert_eq!(session_line(&gateway, "endpoint_removed")["level"], "info");
    assert_eq!(client.ask_text("b"), "two b");
}

#[test]
fn a_stop_waits_for_sessions_and_begins_none() {
    let origin = UdpOrigin::silent();
    let config = UdpConfig::to([origin.addr()]).udp("responses: 1").top("timeouts: { drain: 1m }");
    let mut gateway = config.top("workers: 1").start();
    let kept = client(&gateway);
    kept.send(b"a");
    let session = origin.wait_for(1)[0].from;
    gateway.ask_to_stop();
    wait::until_true("the drain", || !gateway.events("draining").is_empty());
    // The worker hears of it a moment after the log.
    wait::until_true("the drop", || {
        client(&gateway).send(b"too late");
        dropped(&gateway, "draining") > 0
    });
    assert!(gateway.is_running());
    origin.send_to(session, b"answer");
    assert_eq!(kept.receive(), b"answer");
    assert_eq!(gateway.exit_status().code(), Some(0));
    assert_eq!(gateway.events("stopped")[0]["connections_cut"], 0);
}

#[test]
fn a_stop_cuts_sessions_when_its_time_is_over_and_says_how_many() {
    let origin = UdpOrigin::echo();
    let mut gateway = UdpConfig::to([origin.addr()]).top("timeouts: { drain: 100ms }").start();
    let clients: Vec<UdpClient> = (0..100).map(|_| client(&gateway)).collect();
    clients.iter().for_each(|client| assert_eq!(client.ask_text("a"), "a"));
    assert_eq!(gateway.terminate().code(), Some(0));
    assert_eq!(gateway.events("draining")[0]["connections"], 100);
    assert_eq!(gateway.events("stopped")[0]["connections_cut"], 100);
    let cut = || gateway.log_lines(|line| line["event"] == "session" && line["end"] == "shutting_down");
    wait::until_true("a line of each", || cut().len() == 100);
}

#[test]
fn a_second_signal_cuts_sessions_at_once() {
    let origin = UdpOrigin::echo();
    let mut gateway = UdpConfig::to([origin.addr()]).top("timeouts: { drain: 1h }").start();
    assert_eq!(client(&gateway).ask_text("a"), "a");
    gateway.ask_to_stop();
    wait::until_true("the drain", || !gateway.events("draining").is_empty());
    assert_eq!(gateway.terminate().code(), Some(0));
    assert_eq!(gateway.events("stopped")[0]["connections_cut"], 1);
}
