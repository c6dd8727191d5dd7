use super::*;
use weir_config::Secret;

#[test]
fn the_admin_token_is_starred() {
    let bind = "127.0.0.1:0".parse().unwrap();
    let token = Some(Secret::new("correct-horse-battery-staple"));
    let shown = admin(&AdminPlan { bind, hosts: vec!["ops.example".to_owned()], token, unix_mode: 0o600 });
    assert_eq!(
        shown,
        json!({ "bind": "127.0.0.1:0", "hosts": ["ops.example"], "token": "***", "unix_mode": "0600" })
    );
}

#[test]
fn what_callers_prove_themselves_with_is_starred_and_the_rest_is_shown() {
    let exact = ValueTest::Exact("value".to_owned());
    for name in ["Authorization", "x-api-key", "Cookie", "access_token", "x-session-id"] {
        assert_eq!(test(name, &exact), json!("***"), "{name}");
        assert_eq!(test(name, &ValueTest::Present), json!({ "present": true }));
    }
    assert_eq!(test("x-env", &exact), json!("value"));
}

#[test]
fn an_upstream_is_shown_with_its_defaults() {
    let shown = upstream(&UpstreamPlan::new("app"));
    assert_eq!((&shown["balance"], &shown["connect_timeout"]), (&json!("round_robin"), &json!("5s")));
    assert_eq!((&shown["retry"]["budget"], &shown["health"]["active"]), (&json!("20%"), &Value::Null));
    assert_eq!(shown["health"]["passive"]["pause"], "30s");
}
const FULL: &str = r#"
trusted_proxies: [10.0.0.0/8, "2001:db8::1"]
service_name: edge
admin: { token: correct-horse-battery-staple }
log: { access: /var/log/weir.log, fields: [method, path] }
listeners:
  web: { bind: "127.0.0.1:0", http: { encoded_slashes: refuse }, proxy_protocol: accepted }
  db: { bind: "127.0.0.1:0", tcp: { routes: [{ sni: db.example, alpn: h2, forward: app }] } }
  dns: { bind: "127.0.0.1:0", udp: { forward: app } }
upstreams:
  app:
    endpoints: [{ address: "127.0.0.1:9000", weight: 2 }]
    health: { active: { http: { path: "/up?token=s3cr3t" } } }
routes:
  - name: all
    forward: app
    policies:
      - headers:
          request: { set: { X-Api-Key: s3cr3t, X-Env: "a{{b}}{client_ip}" }, deny: X-Bad }
          response: { remove: Server }
      - security_headers: { preset: api, set: { X-Frame-Options: off } }
      - ip_rules: { allow: [10.0.0.0/8, 192.168.0.0/16], deny: 10.1.0.0/16 }
      - websocket_origins: { allow: "https://a.example" }
      - body_limit: { max: 1MiB }
      - status: { 404: 410 }
      - rewrite: { regex: { pattern: "^/a", replacement: "/b" }, host: "in.{host}" }
      - rewrite: { strip_prefix: /v1 }
  - { match: { path: /moved }, redirect: { to: "https://u:s3cr3t@b.example{path}?token=s3cr3t", status: 308 } }
  - { match: { path: /ping }, respond: { status: 201, body: "pong {method}", headers: { Set-Cookie: s3cr3t } } }
"#;

fn shown() -> Value {
    let reader = weir_config::MemoryReader::new().file("weir.yaml", FULL);
    let loaded = crate::spec::read(std::path::Path::new("weir.yaml"), &reader, &Default::default());
    show(&loaded.plan.unwrap_or_else(|| panic!("{}", loaded.problems.render(false))))
}

#[test]
fn policies_and_actions_are_shown_with_their_settings() {
    let shown = shown();
    let route = |name: &str| {
        let routes = shown["routes"].as_array().unwrap();
        routes.iter().find(|route| route["name"] == name).unwrap_or_else(|| panic!("{name}: {routes:?}"))
    };
    let nothing = json!({ "allow": null, "deny": [], "remove": [], "set": {}, "add": {}, "set_if_absent": {}, "hash": [] });
    let with = |changes: Value| {
        let mut all = nothing.clone();
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        all
    };
    let request =
        with(json!({ "deny": ["x-bad"], "set": { "x-api-key": "***", "x-env": "a{{b}}{client_ip}" } }));
    let wanted = json!([
        { "headers": { "request": request, "response": with(json!({ "remove": ["server"] })) } },
        { "security_headers": { "preset": "api", "set": { "x-frame-options": "off" } } },
        { "ip_rules": { "allow": ["192.168.0.0/16", "10.0.0.0/8"], "deny": ["10.1.0.0/16"], "default": "deny" } },
        { "websocket_origins": { "allow": ["https://a.example"], "allow_missing": false } },
        { "body_limit": { "max": 1_048_576 } },
        { "status": { "404": 410 } },
        { "rewrite": { "regex": { "pattern": "^/a", "replacement": "/b" }, "host": "in.{host}" } },
        { "rewrite": { "strip_prefix": "/v1" } },
    ]);
    assert_eq!(route("all")["policies"], wanted);
    let actions = ["routes[1]", "routes[2]"].map(|name| route(name)["action"].clone());
    let wanted = [
        json!({ "redirect": { "to": "https://***@b.example{path}?token=***", "status": 308 } }),
        json!({ "respond": { "status": 201, "body": "pong {method}", "headers": { "set-cookie": "***" } } }),
    ];
    assert_eq!(actions, wanted);
    assert!(!shown.to_string().contains("s3cr3t"), "{shown}");
    assert!(!shown.to_string().contains("correct-horse"), "{shown}");
}

#[test]
fn whom_it_believes_and_what_it_logs_is_shown() {
    let shown = shown();
    assert_eq!(shown["trusted_proxies"], json!(["10.0.0.0/8", "2001:db8::1/128"]));
    assert_eq!(
        (&shown["service_name"], &shown["log"]["access"]),
        (&json!("edge"), &json!("/var/log/weir.log"))
    );
    assert_eq!(shown["log"]["fields"], json!(["method", "path"]));
    assert_eq!(shown["listeners"]["web"]["proxy_protocol"], "accepted");
    assert_eq!(shown["listeners"]["web"]["http"]["encoded_slashes"], "refuse");
}

/// Goal: a key that is added to the language is added to the view. Method: the published schema names all keys.
#[test]
fn no_key_of_the_language_is_left_out() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/weir.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let shown = shown();
    // Not there yet, of the file rather than of what it says, or shown as part of another.
    let elsewhere = ["include", "tunnel", "tls", "key"];
    // What a listener takes decides which of its keys have a meaning.
    let kinds = ["web", "db", "dns"].map(|name| shown["listeners"][name].as_object().unwrap());
    for key in schema["$defs"]["listener"]["properties"].as_object().unwrap().keys() {
        let is_shown = kinds.iter().any(|shown| shown.contains_key(key));
        assert!(is_shown || elsewhere.contains(&key.as_str()), "`listener.{key}` is not shown: {kinds:?}");
    }
    for (object, place) in [
        ("", ""),
        ("http", "/listeners/web/http"),
        ("tcp", "/listeners/db/tcp"),
        ("tcp_route", "/listeners/db/tcp/routes/0"),
        ("udp", "/listeners/dns/udp"),
        ("admin", "/admin"),
        ("log", "/log"),
        ("timeouts", "/timeouts"),
        ("limits", "/limits"),
        ("http2", "/http2"),
        ("upstream", "/upstreams/app"),
        ("endpoint", "/upstreams/app/endpoints/0"),
        ("pool", "/upstreams/app/pool"),
        ("queue", "/upstreams/app/queue"),
        ("retry", "/upstreams/app/retry"),
        ("health", "/upstreams/app/health"),
        ("passive", "/upstreams/app/health/passive"),
        ("request_headers", "/routes/0/policies/0/headers/request"),
        ("response_headers", "/routes/0/policies/0/headers/response"),
        ("security_headers", "/routes/0/policies/1/security_headers"),
        ("ip_rules", "/routes/0/policies/2/ip_rules"),
        ("websocket_origins", "/routes/0/policies/3/websocket_origins"),
        ("body_limit", "/routes/0/policies/4/body_limit"),
        ("redirect", "/routes/1/action/redirect"),
        ("respond", "/routes/2/action/respond"),
    ] {
        let described = if object.is_empty() { &schema } else { &schema["$defs"][object] };
        let keys = described["properties"].as_object().unwrap_or_else(|| panic!("{object}"));
        let view = shown.pointer(place).unwrap_or_else(|| panic!("{place} in {shown}"));
        for key in keys.keys().filter(|key| !elsewhere.contains(&key.as_str())) {
            assert!(view.get(key).is_some(), "`{object}.{key}` is not shown: {view}");
        }
    }
}

/// Goal: the published description names what is shown. Method: its `Config` requires every key of the view.
#[test]
fn the_openapi_file_requires_every_key_that_is_shown() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let config = text.split("\n    Config:\n").nth(1).expect("a schema `Config`");
    let required = config.lines().find_map(|line| line.trim().strip_prefix("required: [")).unwrap();
    let required: Vec<&str> = required.trim_end_matches(']').split(", ").collect();
    let shown = shown();
    assert_eq!(shown.as_object().unwrap().keys().collect::<Vec<_>>(), required);
}

#[test]
fn datagrams_of_a_check_are_shown_as_texts_where_they_are_and_else_in_hexadecimal() {
    for (send, shown) in [
        (&b"ping"[..], json!("ping")),
        (b"", json!("")),
        (b"ping\n", json!({ "hex": "70696e670a" })),
        (b"\x00\xff", json!({ "hex": "00ff" })),
    ] {
        let plan = UdpCheckPlan { send: send.to_vec(), expect: None };
        let shown = json!({ "udp": { "send": shown, "expect": null } });
        assert_eq!(check(&CheckPlan::Udp(plan)), shown);
    }
}
