use std::path::Path;
use std::time::Duration;

use weir_base::{Percent, format_duration};
use weir_config::{Code, MemoryReader, Object, Shape};
use weir_net::tls::certificates::Shelf;
use weir_route::{EncodedSlashes, PathRules};
use weir_telemetry::{Fields, Format, Level, Sink};
use weir_upstream::*;

use super::{Loaded, ROOT, read};
use crate::plan::{ActionPlan, RootPlan};

const LEAST: &str =
    "listeners:\n  web: { bind: \"127.0.0.1:0\", http: {} }\nroutes:\n  - { name: all, forward: app }\n";
const APP: &str = "upstreams:\n  app: { endpoints: [\"127.0.0.1:9000\"] }\n";

fn loaded(text: &str) -> Loaded {
    read(
        Path::new("weir.yaml"),
        &MemoryReader::new().file("weir.yaml", text).file("token", "long-enough-to-be-a-good-one"),
        &Shelf::default(),
    )
}

fn plan(text: &str) -> RootPlan {
    let loaded = loaded(text);
    loaded.plan.unwrap_or_else(|| panic!("{}", loaded.problems.render(false)))
}

fn upstream(keys: &str) -> UpstreamPlan {
    let text = format!("{LEAST}upstreams:\n  app: {{ endpoints: [\"127.0.0.1:9000\"], {keys} }}\n");
    plan(&text).upstreams["app"].clone()
}

fn codes(text: &str) -> Vec<Code> {
    loaded(text).problems.to_vec().iter().map(weir_config::Problem::code).collect()
}

/// Every default that the table of configuration.md documents.
#[test]
fn defaults_are_the_documented_ones() {
    let plan = plan(&format!("{LEAST}{APP}"));
    assert!(plan.workers >= 1, "one per core");
    assert!(!plan.trusted_proxies.contains("127.0.0.1".parse().unwrap()));
    let timeouts = plan.timeouts;
    let all = [
        timeouts.request_head,
        timeouts.keep_alive,
        timeouts.body_idle,
        timeouts.stream_idle,
        timeouts.upgrade_idle,
        timeouts.drain,
    ];
    assert_eq!(all.map(format_duration), ["10s", "75s", "1m", "5m", "1h", "30s"]);
    assert_eq!((plan.limits.base.header_bytes, plan.limits.base.headers), (64 << 10, 128));
    assert_eq!(plan.limits.connections, None);
    assert_eq!(plan.limits.base.connections_per_ip, None);
    assert_eq!(plan.limits.base.requests_per_connection, None);
    let web = &plan.listeners["web"];
    assert_eq!(web.paths, PathRules { normalize: true, encoded_slashes: EncodedSlashes::Keep });
    assert_eq!(web.unix_mode, 0o660);
    let admin = plan.admin.as_ref().unwrap();
    assert_eq!(admin.bind.to_string(), "127.0.0.1:9090");
    assert!(admin.hosts.is_empty() && admin.token.is_none());
    assert_eq!(
        (plan.log.level, plan.log.format, &*plan.log.service_name),
        (Level::Info, Format::Json, "weir")
    );
    assert_eq!(plan.log.access.sink, Sink::Stdout);
    assert_eq!(plan.log.access.sample, Percent::ALL);
    assert_eq!(plan.log.access.fields, Fields::ALL);
    assert!(plan.watch && plan.warnings.is_empty());
    assert_eq!(plan.routes[0].timeout, None);
}

#[test]
fn defaults_of_upstreams_are_the_documented_ones() {
    let app = upstream("");
    let target = Target::Address("127.0.0.1:9000".parse::<std::net::SocketAddr>().unwrap().into());
    // What configuration.md says, not what the code's own default says.
    assert_eq!(app.endpoints, [EndpointPlan { target, weight: 1, max_connections: None, backup: false }]);
    assert_eq!((&app.balance, &app.host), (&BalancePlan::RoundRobin, &HostPlan::Preserve));
    let timeouts = [app.connect_timeout, app.response_timeout, app.idle_timeout];
    assert_eq!(timeouts.map(|timeout| timeout.as_secs()), [5, 60, 60]);
    let secs = Duration::from_secs;
    assert_eq!(app.pool, PoolPlan { idle_per_worker: 64, idle_timeout: secs(55), max_age: secs(3600) });
    assert_eq!(app.queue, QueuePlan { size: 1024, timeout: secs(3) });
    assert_eq!(
        app.retry,
        RetryPlan {
            attempts: 3,
            statuses: vec![],
            non_idempotent: false,
            budget: Percent::new(20),
            body_bytes_max: 64 << 10
        }
    );
    assert_eq!(app.health.active, None);
    let passive =
        PassivePlan { failures: 5, pause: secs(30), ejected_max: Percent::new(50), statuses: vec![] };
    assert_eq!(app.health.passive, Some(passive));
    assert_eq!((app.slow_start, app.panic_threshold, app.required), (None, Percent::new(30), false));
    let active = upstream("health: { active: {} }").health.active.unwrap();
    assert_eq!(
        (active.interval, active.timeout, active.up_after, active.down_after),
        (secs(10), secs(5), 2, 3)
    );
    let check = HttpCheckPlan { path: "/health".into(), host: None, statuses: vec![200..=299], body: None };
    assert_eq!(active.check, CheckPlan::Http(check));
}

/// An empty mapping gives what an absent one gives, so the tables' defaults and the plans' own agree.
#[test]
fn empty_sections_mean_the_same_as_absent_ones() {
    let absent = upstream("");
    let empty = upstream("pool: {}, queue: {}, retry: {}, health: { passive: {} }");
    assert_eq!(absent, empty);
    let text = format!("{LEAST}{APP}timeouts: {{}}\nlimits: {{}}\nlog: {{}}\nadmin: {{}}\n");
    let (with, without) = (plan(&text), plan(&format!("{LEAST}{APP}")));
    assert_eq!(
        format!("{:?}{:?}", with.timeouts, with.limits),
        format!("{:?}{:?}", without.timeouts, without.limits)
    );
    assert_eq!(with.log, without.log);
    assert_eq!(format!("{:?}", with.admin), format!("{:?}", without.admin));
}

#[test]
fn balancers_go_by_their_names_and_older_ones() {
    for (name, balance) in [
        ("round_robin", BalancePlan::RoundRobin),
        ("weighted_round_robin", BalancePlan::RoundRobin),
        ("least_conn", BalancePlan::LeastConn),
        ("least_connections", BalancePlan::LeastConn),
        ("random_two", BalancePlan::RandomTwo),
        ("least_time", BalancePlan::LeastTime),
        ("ip_hash", BalancePlan::IpHash),
    ] {
        assert_eq!(upstream(&format!("balance: {name}")).balance, balance, "{name}");
    }
    for (key, hash) in [
        ("client_ip", HashKey::ClientIp),
        ("path", HashKey::Path),
        ("header:X-User", HashKey::Header("x-user".into())),
        ("cookie:Session", HashKey::Cookie("Session".into())),
        ("query:Id", HashKey::Query("Id".into())),
    ] {
        assert_eq!(
            upstream(&format!("balance: hash, key: \"{key}\"")).balance,
            BalancePlan::Hash(hash),
            "{key}"
        );
    }
}

#[test]
fn off_and_false_switch_off() {
    for off in ["off", "false", "\"off\""] {
        let app = upstream(&format!(
            "queue: {off}, retry: {off}, slow_start: {off}, health: {{ active: {off}, passive: {off} }}"
        ));
        assert_eq!((app.queue.size, app.retry.attempts, app.slow_start), (0, 1, None), "{off}");
        assert_eq!(app.health, HealthPlan { active: None, passive: None }, "{off}");
        let plan = plan(&format!("{LEAST}{APP}admin: {off}\nlog: {{ access: {off} }}\nwatch: {off}\n"));
        assert!(plan.admin.is_none() && plan.log.access.sink == Sink::Off && !plan.watch, "{off}");
    }
}

#[test]
fn settings_of_a_check_may_stand_beside_or_within() {
    let beside = upstream("health: { active: { interval: 1s, path: /x, statuses: 204, http: {} } }");
    let within = upstream("health: { active: { http: { interval: 1s, path: /x, statuses: [204] } } }");
    let implied = upstream("health: { active: { interval: 1s, path: /x, statuses: \"204-204\" } }");
    assert_eq!(beside, within);
    assert_eq!(beside, implied);
    let tcp = upstream("health: { active: { tcp: { interval: 1s } } }").health.active.unwrap();
    assert_eq!((tcp.check, tcp.interval), (CheckPlan::Tcp, Duration::from_secs(1)));
}

#[test]
fn datagrams_of_checks_are_texts_and_bytes() {
    let active =
        |check: &str| upstream(&format!("health: {{ active: {{ {check} }} }}")).health.active.unwrap();
    for (written, send, expect) in [
        ("{ send: ping }", &b"ping"[..], None),
        ("{ send: \"\", expect: \"a b\" }", b"", Some(&b"a b"[..])),
        ("{ send: \"\\r\\n\\0\", expect: 12 }", b"\r\n\0", Some(b"12")),
        ("{ send: { hex: \"12 34ab\" }, expect: { hex: FF } }", b"\x12\x34\xab", Some(b"\xff")),
    ] {
        let plan = UdpCheckPlan { send: send.to_vec(), expect: expect.map(<[u8]>::to_vec) };
        assert_eq!(active(&format!("udp: {written}")).check, CheckPlan::Udp(plan), "{written}");
    }
    let (beside, within) =
        (active("udp: { send: x }, interval: 1s"), active("udp: { send: x, interval: 1s }"));
    assert_eq!(beside, within);
    assert_eq!(beside.interval, Duration::from_secs(1));
    for (bytes, expected) in [(PROBE_BYTES_MAX, vec![]), (PROBE_BYTES_MAX + 1, vec![Code::OUT_OF_RANGE])] {
        let (send, expect) = ("x".repeat(bytes), "00".repeat(PROBE_BYTES_MAX));
        let check = format!("udp: {{ send: {send}, expect: {{ hex: {expect} }} }}");
        let app = format!("app: {{ endpoints: [a:1], health: {{ active: {{ {check} }} }} }}");
        assert_eq!(codes(&format!("{LEAST}upstreams:\n  {app}\n")), expected, "{bytes} bytes");
    }
}

#[test]
fn bodies_of_checks_are_texts_expressions_and_json_values() {
    let body = |body: &str| match upstream(&format!("health: {{ active: {{ body: {body} }} }}"))
        .health
        .active
        .unwrap()
        .check
    {
        CheckPlan::Http(check) => check.body.unwrap(),
        CheckPlan::Grpc(_) | CheckPlan::Tcp | CheckPlan::Udp(_) => panic!("http was asked for"),
    };
    assert_eq!(body("ok"), BodyPlan::Text("ok".into()));
    assert_eq!(body("{ regex: \"^o+k$\" }"), BodyPlan::Regex(regex_of("^o+k$")));
    for (written, value) in [
        ("UP", "\"UP\""),
        ("1", "1"),
        ("true", "true"),
        ("1.5", "1.5"),
        ("\"1\"", "\"1\""),
        ("[1, a]", "[1,\"a\"]"),
    ] {
        let expected = BodyPlan::Json { path: "a.0".into(), value: serde_json::from_str(value).unwrap() };
        assert_eq!(body(&format!("{{ json: a.0, value: {written} }}")), expected);
    }
}

fn regex_of(pattern: &str) -> regex::Regex {
    regex::Regex::new(pattern).unwrap()
}

#[test]
fn endpoints_are_addresses_names_and_sockets_beside_the_file() {
    let reader = MemoryReader::new().file(
        "conf/weir.yaml",
        format!("{LEAST}upstreams:\n  app: {{ endpoints: [\"[::1]:80\", \"App.Internal:80\", \"unix:run/a.sock\", \"unix:/b.sock\"] }}\n"),
    );
    let plan = read(Path::new("conf/weir.yaml"), &reader, &Shelf::default()).plan.unwrap();
    let targets: Vec<String> = plan.upstreams["app"].endpoints.iter().map(|e| e.target.to_string()).collect();
    assert_eq!(targets, ["[::1]:80", "app.internal:80", "unix:conf/run/a.sock", "unix:/b.sock"]);
}

#[test]
fn a_route_is_a_rule_for_each_host_and_path() {
    let text = format!(
        "{LEAST}  - match: {{ listeners: web, host: [a.example, b.example, a.example], path: [/x, /y/:id] }}\n    forward: [ {{ upstream: app, weight: 3 }} ]\n    timeout: 30s\n{APP}"
    );
    let plan = plan(&text);
    let (route, rules) = plan.routes_with_rules().nth(1).unwrap();
    assert_eq!((&*route.name, &*route.place.to_string()), ("routes[1]", "weir.yaml:5:5"));
    assert_eq!(rules.len(), 4);
    assert_eq!(route.listeners, ["web".into()]);
    assert_eq!(route.timeout, Some(Duration::from_secs(30)));
    assert!(matches!(&route.action, ActionPlan::Forward(shares) if *shares == [("app".into(), 3)]));
}

#[test]
fn paths_of_several_patterns_bind_what_all_of_them_have() {
    let route = |to: &str| {
        format!(
            "{LEAST}  - match: {{ path: [\"/a/:id/:x\", \"/b/:id\"] }}\n    redirect: {{ to: \"/{to}\" }}\n{APP}"
        )
    };
    assert_eq!(codes(&route("{id}")), []);
    assert_eq!(codes(&route("{x}")), [Code::UNKNOWN_NAME]);
}

#[test]
fn tokens_come_from_files_and_make_an_open_admin_address_a_warning() {
    let plan = plan(&format!("{LEAST}{APP}admin: {{ bind: \"0.0.0.0:9090\", token: {{ file: token }} }}\n"));
    assert_eq!(plan.admin.unwrap().token.unwrap().expose(), "long-enough-to-be-a-good-one");
    assert_eq!(plan.warnings.len(), 1);
    assert!(plan.warnings[0].contains("weir.yaml:7:16") && plan.warnings[0].contains("0.0.0.0:9090"));
}

#[test]
fn a_name_for_a_route_is_taken_once() {
    assert_eq!(
        codes(&format!("{LEAST}  - {{ name: all, match: {{ path: /x }}, forward: app }}\n{APP}")),
        [Code::NAME_TAKEN]
    );
}

/// How long it takes is measured in release: about 60 ms of CPU for a file of 0.8 MB like this one.
#[test]
fn ten_thousand_routes_are_one_plan() {
    let mut text = LEAST.replace("forward: app", "match: { path: /none }, forward: app");
    for n in 0..10_000 {
        text.push_str(&format!(
            "  - {{ match: {{ host: h{n}.example.com, path: /a/:id }}, forward: app }}\n"
        ));
    }
    assert_eq!(plan(&(text + APP)).routes.len(), 10_001);
}

#[test]
fn no_text_panics() {
    let good = include_str!("../../tests/config/good/most.yaml");
    for cut in (0..good.len()).step_by(7).filter(|at| good.is_char_boundary(*at)) {
        loaded(&good[..cut]);
    }
    let lines: Vec<&str> = good.lines().collect();
    for skipped in 0..lines.len() {
        let rest: Vec<&str> =
            lines.iter().enumerate().filter(|(at, _)| *at != skipped).map(|(_, line)| *line).collect();
        loaded(&rest.join("\n"));
    }
}

/// Each word that the tables hold, in turn, in place of a value that has another shape.
#[test]
fn no_value_of_a_wrong_shape_panics() {
    let mut tables = vec![&ROOT];
    let mut seen: Vec<&'static Object> = Vec::new();
    while let Some(table) = tables.pop() {
        if seen.iter().any(|known| known.name == table.name) {
            continue;
        }
        seen.push(table);
        table.keys.iter().for_each(|key| inner(&key.shape, &mut tables));
    }
    let values =
        ["[]", "{}", "~", "[[]]", "[{}]", "{ a: b }", "\"\"", "-1", "off", "99999999999999999999", "[a, {}]"];
    let all_keys: Vec<&str> = seen.iter().flat_map(|table| table.keys.iter().map(|key| key.name)).collect();
    for key in all_keys {
        for value in values {
            for text in [
                format!("{key}: {value}\n"),
                format!(
                    "{LEAST}upstreams:\n  app: {{ endpoints: [\"a:1\"], {key}: {value}, health: {{ {key}: {value}, active: {{ {key}: {value} }} }}, pool: {{ {key}: {value} }} }}\n"
                ),
                format!("{LEAST}  - {{ {key}: {value}, match: {{ {key}: {value} }} }}\n"),
                format!(
                    "{LEAST}  - {{ respond: {{ {key}: {value} }}, policies: [ {{ {key}: {value} }}, {{ headers: {{ request: {{ {key}: {value} }} }} }} ] }}\n"
                ),
            ] {
                loaded(&text);
            }
        }
    }
}

fn inner(shape: &'static Shape, tables: &mut Vec<&'static Object>) {
    match shape {
        Shape::Object(table) => tables.push(table),
        Shape::List(shape) | Shape::OneOrMany(shape) | Shape::Map(shape) => inner(shape, tables),
        Shape::OneOf(shapes) => shapes.iter().for_each(|shape| inner(shape, tables)),
        Shape::Kind(rows) => rows().iter().for_each(|row| inner(&row.shape, tables)),
        _ => {}
    }
}
