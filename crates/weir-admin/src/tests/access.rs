//! Who may ask.

use super::{Example, Running, TOKEN};

#[tokio::test]
async fn only_its_own_names_are_served() {
    let running = Running::start(Example::default(), &["ops.example."], None);
    let port = running.addr().port();
    for (host, status) in [
        ("localhost", 200),
        ("LocalHost.", 200),
        (&*format!("localhost:{port}"), 200),
        ("127.0.0.1", 200),
        ("127.8.7.6:1", 200),
        (&*format!("[::1]:{port}"), 200),
        ("[::ffff:127.0.0.1]", 200),
        ("ops.example", 200),
        ("OPS.example:443", 200),
        ("", 421),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil.example:localhost", 421),
        ("localhost:evil.example", 421),
        ("user@localhost", 421),
        ("10.0.0.1", 421),
        ("0.0.0.0", 421),
        ("[::1", 421),
        ("[localhost]", 421),
        ("::1", 421),
        ("localhost, evil.example", 421),
    ] {
        for path in ["/healthz", "/metrics", "/nothing"] {
            let reply = running.ask_raw(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            let wanted = if status == 200 && path == "/nothing" { 404 } else { status };
            assert_eq!(reply.status, wanted, "{host:?} {path} {reply:?}");
            if status == 421 {
                reply.expect_problem(421, "admin-host-refused");
            }
        }
    }
}

#[tokio::test]
async fn a_name_in_the_target_must_be_its_own_too() {
    let running = Running::example();
    let own = running.ask("GET http://localhost/healthz", "").await;
    assert_eq!(own.status, 200);
    let foreign = running.ask("GET http://evil.example/healthz", "").await;
    foreign.expect_problem(421, "admin-host-refused");
    let twice = running.ask("GET /healthz", "Host: evil.example\r\n").await;
    twice.expect_problem(421, "admin-host-refused");
    let none = running.ask_raw("GET /healthz HTTP/1.0\r\n\r\n").await;
    none.expect_problem(421, "admin-host-refused");
}

#[tokio::test]
async fn another_sites_page_is_refused_for_reading_too() {
    let running = Running::example();
    for fields in [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: \r\n",
        "Origin: http://localhost:3000\r\n",
        "Origin: https://localhost.evil.example\r\n",
        "Origin: ftp://localhost\r\n",
        "Origin: http://localhost\r\nOrigin: http://evil.example\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "sec-fetch-site: SOMETHING\r\n",
    ] {
        for line in ["GET /api/v1/config", "POST /api/v1/reload", "GET /healthz"] {
            let reply = running.ask(line, fields).await;
            reply.expect_problem(403, "admin-origin-refused");
            assert_eq!(reply.field("access-control-allow-origin"), None);
        }
    }
    assert_eq!(running.gateway.revision.load(std::sync::atomic::Ordering::Relaxed), 0);
    for fields in [
        "Origin: http://localhost\r\n",
        "Origin: HTTP://LOCALHOST:80\r\n",
        "Origin: https://localhost\r\n",
        "Sec-Fetch-Site: same-origin\r\n",
        "Sec-Fetch-Site: none\r\n",
    ] {
        assert_eq!(running.ask("POST /api/v1/reload", fields).await.status, 200, "{fields}");
    }
}

#[tokio::test]
async fn everything_but_the_probes_needs_the_token() {
    let near = [&TOKEN[1..], &TOKEN[..TOKEN.len() - 1], &format!("{TOKEN}x"), &TOKEN.to_uppercase()]
        .map(|wrong| format!("Authorization: Bearer {wrong}\r\n"));
    let twice = format!("Authorization: Bearer x\r\nAuthorization: Bearer {TOKEN}\r\n");
    let basic = format!("Authorization: Basic {TOKEN}\r\n");
    let wrong = [
        "",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer\r\n",
        "Authorization: \r\n",
        &twice,
        &basic,
    ];
    for fields in wrong.into_iter().chain(near.iter().map(String::as_str)) {
        // A server each: so many wrong tokens are answered 429 otherwise.
        let running = Running::start(Example::default(), &[], Some(TOKEN));
        for line in [
            "GET /api/v1/config",
            "GET /metrics",
            "POST /api/v1/reload",
            "GET /healthz?deep=true",
            "GET /nothing",
            "DELETE /api/v1/status",
        ] {
            let reply = running.ask(line, fields).await;
            reply.expect_problem(401, "unauthorized");
            assert!(reply.field("www-authenticate").unwrap().starts_with("Bearer "));
        }
        for path in ["/healthz", "/health/live", "/health/ready"] {
            assert_eq!(running.ask(&format!("GET {path}"), fields).await.status, 200, "{path} {fields}");
        }
    }
    let running = Running::start(Example::default(), &[], Some(TOKEN));
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let right = format!("Authorization: {scheme} {TOKEN}\r\n");
        assert_eq!(running.ask("GET /api/v1/config", &right).await.status, 200);
    }
}

#[tokio::test]
async fn an_empty_token_lets_nobody_in() {
    let running = Running::start(Example::default(), &[], Some(""));
    let reply = running.ask("GET /api/v1/config", "Authorization: Bearer \r\n").await;
    reply.expect_problem(401, "unauthorized");
}
