//! Pages of other origins: what a browser is told, and what the upstream never hears.

use weir_testkit::{Origin, Response, behaviour, curl};

use crate::Config;

const POLICY: &str = "policies: [ { cors: { origins: [\"https://app.example\"], methods: [GET, PUT], \
                      headers: content-type, credentials: true, expose: x-sum } } ]";

fn ask(gateway: &weir_testkit::Gateway, request: &str) -> Response {
    let mut client = gateway.connect();
    client.send(format!("{}\r\n\r\n", request.replace('\n', "\r\n")));
    client.response()
}

fn preflight(gateway: &weir_testkit::Gateway, origin: &str, method: &str) -> Response {
    ask(
        gateway,
        &format!("OPTIONS /a HTTP/1.1\nHost: t\nOrigin: {origin}\nAccess-Control-Request-Method: {method}"),
    )
}

#[test]
fn a_preflight_is_answered_without_the_upstream() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).route(POLICY).start();
    let granted = preflight(&gateway, "https://app.example", "PUT");
    assert_eq!((granted.status, granted.text().as_str()), (204, ""));
    assert_eq!(granted.field("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(granted.field("access-control-allow-credentials"), Some("true"));
    assert_eq!(granted.field("access-control-allow-methods"), Some("GET, PUT"));
    assert_eq!(granted.field("access-control-allow-headers"), Some("content-type"));
    let refused = preflight(&gateway, "https://evil.example", "PUT");
    assert_eq!((refused.status, refused.field("access-control-allow-origin")), (204, None));
    assert!(refused.head.fields.all("vary").contains(&"Origin"));
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn a_route_for_some_methods_takes_their_preflights_and_no_others() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let route = format!("{{ match: {{ path: /a, methods: [PUT] }}, forward: app, {POLICY} }}");
    let gateway = Config::to([origin.addr()]).another_route(&route).start();
    assert_eq!(preflight(&gateway, "https://app.example", "PUT").status, 204);
    // The route of all other requests has no such policy: its upstream answers.
    assert_eq!(preflight(&gateway, "https://app.example", "GET").text(), "ok");
    assert_eq!(ask(&gateway, "OPTIONS /a HTTP/1.1\nHost: t").text(), "ok");
}

#[test]
fn the_word_of_the_upstream_is_replaced_on_answers_and_errors() {
    let origin = Origin::start(|_, connection| {
        connection.respond(
            200,
            &[("Access-Control-Allow-Origin", "*"), ("Access-Control-Max-Age", "1")],
            "ok",
        );
        weir_testkit::After::KeepOpen
    });
    let gateway = Config::to([origin.addr()])
        .route(POLICY)
        .another_route(&format!("{{ match: {{ path: /none }}, forward: gone, {POLICY} }}"))
        .upstream("")
        .top("  gone: { endpoints: [\"127.0.0.1:1\"] }")
        .start();
    for (path, status) in [("/a", 200), ("/none", 502)] {
        let with = |from: &str| ask(&gateway, &format!("GET {path} HTTP/1.1\nHost: t{from}"));
        let listed = with("\nOrigin: https://app.example");
        assert_eq!(listed.status, status, "{listed:?}");
        assert_eq!(listed.field("access-control-allow-origin"), Some("https://app.example"));
        assert_eq!(listed.field("access-control-expose-headers"), Some("x-sum"));
        assert!(!listed.head.fields.has("access-control-max-age"));
        for from in ["", "\nOrigin: null", "\nOrigin: https://evil.example"] {
            let other = with(from);
            assert_eq!((other.status, other.field("vary")), (status, Some("Origin")), "{from}");
            assert!(!other.head.fields.has("access-control-allow-origin"), "{from}");
        }
    }
}

#[test]
fn pages_are_told_the_same_over_http2() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).route(POLICY).start();
    let url = format!("http://{}/a", gateway.addr("web"));
    let ask = |arguments: &[&str]| {
        let from = ["--http2-prior-knowledge", "-i", "-H", "Origin: https://app.example"];
        curl(&[&from[..], arguments, &[&url]].concat()).stdout
    };
    let granted = ask(&["-X", "OPTIONS", "-H", "Access-Control-Request-Method: PUT"]);
    assert!(granted.starts_with("HTTP/2 204"), "{granted}");
    assert!(granted.contains("access-control-allow-methods: GET, PUT\r\n"), "{granted}");
    assert_eq!(origin.request_count(), 0);
    let answer = ask(&[]);
    assert!(answer.contains("access-control-allow-origin: https://app.example\r\n"), "{answer}");
}

#[test]
fn a_reload_changes_who_may_read() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let config = Config::to([origin.addr()]);
    let gateway = config.clone().route(POLICY).start();
    let allowed =
        || preflight(&gateway, "https://new.example", "GET").head.fields.has("access-control-allow-origin");
    assert!(!allowed());
    let reloaded = gateway.reload(&config.route(&POLICY.replace("app.example", "new.example")).yaml());
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert!(allowed());
}
