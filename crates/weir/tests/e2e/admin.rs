//! The admin address: who may ask, and what it shows.

use weir_testkit::{Origin, Problem, RawClient, behaviour};

use crate::{Config, binary};

#[test]
fn health_has_its_documented_shapes() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    let health = gateway.admin_get("/healthz");
    assert_eq!((health.status, health.json()), (200, serde_json::json!({"status": "ok"})));
    let deep = gateway.admin_get("/healthz?deep=true");
    for word in ["listeners", "upstreams", "web", "app"] {
        assert!(deep.text().contains(word), "{word} is not in {deep:?}");
    }
    let live = gateway.admin_get("/health/live");
    assert_eq!((live.status, live.json()), (200, serde_json::json!({"status": "UP"})));
    let ready = gateway.admin_get("/health/ready");
    assert_eq!((ready.status, &ready.json()["status"]), (200, &serde_json::json!("UP")));
    assert!(ready.json()["dependencies"].is_array());
}

#[test]
fn the_resources_are_json_and_unknown_ones_are_problems() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    for name in ["status", "config", "routes", "upstreams"] {
        let answer = gateway.admin_get(&format!("/api/v1/{name}"));
        assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/json")), "{name}");
        answer.json();
    }
    Problem::expect(&gateway.admin_get("/api/v1/nothing"), 404, "not-found");
    Problem::expect(&gateway.admin_get("/"), 404, "not-found");
}

#[test]
fn only_its_own_names_are_served() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway =
        Config::to([origin.addr()]).top("admin: { bind: \"127.0.0.1:0\", hosts: [ops.example] }").start();
    let admin = gateway.admin();
    let port = admin.port();
    for (host, status) in [
        (admin.to_string(), 200),
        ("localhost".into(), 200),
        (format!("localhost:{port}"), 200),
        ("127.0.0.1".into(), 200),
        (format!("[::1]:{port}"), 200),
        ("ops.example".into(), 200),
        ("evil.example".into(), 421),
        (format!("evil.example:{port}"), 421),
        ("localhost.evil.example".into(), 421),
        ("127.0.0.1.evil.example".into(), 421),
    ] {
        for path in ["/healthz", "/metrics", "/api/v1/config"] {
            let response = RawClient::connect(admin).get(&host, path);
            assert_eq!(response.status, status, "{host} {path}");
            if status == 421 {
                Problem::expect(&response, 421, "admin-host-refused");
            }
        }
    }
}

#[test]
fn foreign_origins_are_refused() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    let own = format!("Origin: http://{}\r\n", gateway.admin());
    assert_eq!(gateway.admin_request("POST", "/api/v1/reload", &own).status, 200);
    for foreign in ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost.evil.example"] {
        for (method, path) in [("POST", "/api/v1/reload"), ("GET", "/api/v1/config")] {
            let answer = gateway.admin_request(method, path, &format!("Origin: {foreign}\r\n"));
            Problem::expect(&answer, 403, "admin-origin-refused");
            assert!(!answer.head.fields.has("access-control-allow-origin"));
        }
    }
    let answer = gateway.admin_request("POST", "/api/v1/reload", "Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(answer.status, 403, "{answer:?}");
}

#[test]
fn state_is_changed_by_post_alone() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    let endpoint = format!("/api/v1/upstreams/app/endpoints/{}/down", origin.addr());
    for path in ["/api/v1/reload", endpoint.as_str()] {
        let answer = gateway.admin_get(path);
        assert_eq!((answer.status, answer.field("allow")), (405, Some("POST")), "{path}");
        Problem::expect(&answer, 405, "method-not-allowed");
    }
    assert_eq!(gateway.get("/").status, 200);
    let answer = gateway.admin_request("POST", "/api/v1/status", "");
    assert_eq!(answer.status, 405);
}

#[test]
fn a_token_is_needed_for_everything_but_the_probes() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let secret = "correct-horse-battery-staple-0123456789";
    let yaml = Config::to([origin.addr()])
        .top("admin: { bind: \"127.0.0.1:0\", token: { env: ADMIN_TOKEN } }")
        .yaml();
    for fields in
        ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic x\r\n", "Authorization: Bearer \r\n"]
    {
        // A gateway each: so many wrong tokens are answered 429 otherwise.
        let gateway = binary().env("ADMIN_TOKEN", secret).start(&yaml);
        for path in ["/api/v1/config", "/api/v1/status", "/metrics"] {
            let answer = gateway.admin_request("GET", path, fields);
            Problem::expect(&answer, 401, "unauthorized");
            assert!(answer.field("www-authenticate").is_some_and(|w| w.starts_with("Bearer")), "{answer:?}");
        }
        assert_eq!(gateway.admin_request("POST", "/api/v1/reload", fields).status, 401);
        assert_eq!(gateway.admin_request("GET", "/health/live", fields).status, 200);
    }
    let gateway = binary().env("ADMIN_TOKEN", secret).start(&yaml);
    let right = format!("Authorization: Bearer {secret}\r\n");
    let config = gateway.admin_request("GET", "/api/v1/config", &right);
    assert_eq!(config.status, 200);
    assert!(!config.text().contains(secret) && !gateway.stderr().contains(secret), "the secret is shown");
}

#[test]
fn it_does_not_bind_beyond_loopback_without_a_token() {
    let yaml = Config::to(["127.0.0.1:9"]).top("admin: { bind: \"0.0.0.0:0\" }").yaml();
    let (status, stderr) = binary().start_refused(&yaml);
    assert_eq!(status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("token"), "{stderr}");
}

#[test]
fn it_can_be_switched_off() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).top("admin: off").start();
    assert_eq!(gateway.get("/").status, 200);
    assert!(gateway.events("listening").iter().all(|event| event["listener"] != "admin"));
}

#[test]
fn a_huge_body_is_refused_before_it_is_read() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    let before = gateway.rss_kib();
    let mut client = RawClient::connect(gateway.admin());
    client.send(format!(
        "POST /api/v1/explain HTTP/1.1\r\nHost: {}\r\nContent-Length: 4000000000\r\n\r\n",
        gateway.admin()
    ));
    for _ in 0..500 {
        if client.try_send(vec![b' '; 65_536]).is_err() {
            break;
        }
    }
    match client.read_response("POST") {
        Ok(response) => assert_eq!(response.status, 413, "{response:?}"),
        Err(error) => assert!(matches!(error, weir_testkit::ReadError::Reset), "{error:?}"),
    }
    assert!(gateway.rss_kib().saturating_sub(before) < 8 * 1024);
    assert_eq!(gateway.admin_get("/healthz").status, 200);
}

#[test]
fn a_slow_admin_client_does_not_stop_the_others() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    let mut slow: Vec<_> = (0..50).map(|_| RawClient::connect(gateway.admin())).collect();
    for client in &mut slow {
        client.send("GET /healthz HTTP/1.1\r\nHo");
    }
    for _ in 0..5 {
        assert_eq!(gateway.admin_get("/healthz").status, 200);
    }
}

#[test]
fn metrics_are_well_formed_and_count() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    for _ in 0..7 {
        assert_eq!(gateway.get("/").status, 200);
    }
    let answer = gateway.admin_get("/metrics");
    assert!(answer.field("content-type").is_some_and(|t| t.starts_with("text/plain")), "{answer:?}");
    let metrics = gateway.metrics();
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    ] {
        assert!(metrics.has(name), "{name} is missing");
    }
    let requests = weir_testkit::wait::until_within(weir_testkit::wait::PATIENCE, || {
        let metrics = gateway.metrics();
        let by_status = metrics.series.iter().any(|(series, value)| {
            series.starts_with("weir_") && series.contains("requests_total") && *value >= 7.0
        });
        by_status.then_some(())
    });
    assert!(requests.is_some(), "no weir_*requests_total of 7 in {:#?}", metrics.series);
    for (name, kind) in &metrics.types {
        assert!(kind != "counter" || name.ends_with("_total"), "the counter {name} is not called a total");
    }
    assert!(metrics.series.keys().any(|s| s.contains("build_info")), "no build information");
}

#[test]
fn explain_names_the_route_without_touching_it() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    let mut client = RawClient::connect(gateway.admin());
    let body = r#"{"method":"GET","url":"http://t/some/path"}"#;
    client.send(format!(
        "POST /api/v1/explain HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        gateway.admin(),
        body.len()
    ));
    let answer = client.response();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text().contains("all") && answer.text().contains("app"), "{answer:?}");
    assert_eq!(origin.request_count(), 0);
}
