use super::*;
use std::time::Instant;
use weir_wire::http1::HeadLimits;

fn exchange(request: &str) -> Exchange {
    let mut exchange = Exchange::new(Instant::now());
    let text = format!("{}\r\n\r\n", request.replace('\n', "\r\n"));
    exchange.request.parse(text.as_bytes(), &HeadLimits::default()).unwrap();
    exchange
}

fn cors(origins: &[&str], change: impl FnOnce(&mut CorsPlan)) -> Cors {
    let origins = match origins {
        ["*"] => Origins::Any,
        listed => Origins::Listed(listed.iter().map(|text| OriginPattern::parse(text).unwrap()).collect()),
    };
    let mut plan = CorsPlan {
        origins,
        methods: Granted::Listed(vec!["GET".into(), "PUT".into()]),
        headers: Granted::Listed(Vec::new()),
        expose: Vec::new(),
        credentials: false,
        max_age: Duration::from_secs(600),
        private_network: false,
    };
    change(&mut plan);
    plan.compile()
}

/// The answer's fields, in order, to a request that the upstream answers with `upstream`.
fn answered(cors: &Cors, request: &str, upstream: &[(&str, &str)]) -> Vec<String> {
    let mut exchange = exchange(request);
    if cors.on_request(&mut exchange).unwrap() == Flow::Continue {
        exchange.response.reset(200);
        for (name, value) in upstream {
            exchange.response.fields.append(name.as_bytes(), value.as_bytes());
        }
    }
    cors.on_response(&mut exchange);
    let line = |(_, name, value): (Known, &[u8], &[u8])| {
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    };
    let mut lines = vec![exchange.response.status.to_string()];
    lines.extend(exchange.response.fields.iter().map(line));
    lines
}

const PREFLIGHT: &str = "OPTIONS / HTTP/1.1\nOrigin: https://a.example\nAccess-Control-Request-Method: PUT\n\
                         Access-Control-Request-Headers: x-a,content-type\nAccess-Control-Request-Private-Network: true";

#[test]
fn a_listed_origin_is_echoed_and_the_upstreams_own_word_is_replaced() {
    let cors = cors(&["https://a.example"], |plan| {
        plan.expose = vec!["x-sum".into(), "grpc-status".into()];
        plan.credentials = true;
    });
    let upstream = [
        ("Access-Control-Allow-Origin", "*"),
        ("ACCESS-CONTROL-anything", "x"),
        ("Vary", "Accept"),
        ("x-sum", "1"),
    ];
    assert_eq!(
        answered(&cors, "GET / HTTP/1.1\nOrigin: https://a.example", &upstream),
        [
            "200",
            "Vary: Accept",
            "x-sum: 1",
            "vary: Origin",
            "access-control-allow-origin: https://a.example",
            "access-control-allow-credentials: true",
            "access-control-expose-headers: x-sum, grpc-status"
        ]
    );
}

#[test]
fn other_origins_and_requests_without_one_get_vary_alone() {
    let cors = cors(&["https://a.example"], |plan| plan.credentials = true);
    let upstream = [("access-control-allow-origin", "https://b.example")];
    for origin in [
        "",
        "\nOrigin: https://b.example",
        "\nOrigin: null",
        "\nOrigin: https://a.example\nOrigin: https://a.example",
    ] {
        let request = format!("GET / HTTP/1.1{origin}");
        assert_eq!(answered(&cors, &request, &upstream), ["200", "vary: Origin"], "{origin:?}");
    }
}

#[test]
fn every_origin_is_a_star_for_everybody_and_depends_on_nothing() {
    let cors = cors(&["*"], |_| {});
    for request in ["GET / HTTP/1.1", "GET / HTTP/1.1\nOrigin: null"] {
        assert_eq!(answered(&cors, request, &[]), ["200", "access-control-allow-origin: *"]);
    }
}

#[test]
fn a_preflight_is_answered_with_what_is_granted() {
    let cors = cors(&["https://*.b.example", "https://a.example"], |plan| {
        plan.headers = Granted::Listed(vec!["content-type".into(), "x-b".into()]);
        plan.expose = vec!["x-sum".into()];
        plan.private_network = true;
    });
    assert_eq!(
        answered(&cors, PREFLIGHT, &[]),
        [
            "204",
            "vary: Access-Control-Request-Method",
            "vary: Access-Control-Request-Headers",
            "access-control-allow-methods: GET, PUT",
            "access-control-allow-headers: content-type, x-b",
            "access-control-max-age: 600",
            "access-control-allow-private-network: true",
            "vary: Origin",
            "access-control-allow-origin: https://a.example"
        ]
    );
}

#[test]
fn a_preflight_of_another_origin_is_granted_nothing() {
    let cors = cors(&["https://b.example"], |plan| plan.headers = Granted::Any);
    let wanted = [
        "204",
        "vary: Access-Control-Request-Method",
        "vary: Access-Control-Request-Headers",
        "vary: Origin",
    ];
    assert_eq!(answered(&cors, PREFLIGHT, &[]), wanted);
}

#[test]
fn a_star_grants_what_is_asked_for_as_far_as_it_is_names() {
    let cors = cors(&["https://a.example"], |plan| {
        plan.methods = Granted::Any;
        plan.headers = Granted::Any;
    });
    let granted = |asked: &str| {
        let lines = answered(&cors, &PREFLIGHT.replace("x-a,content-type", asked), &[]);
        lines
            .into_iter()
            .find_map(|line| Some(line.strip_prefix("access-control-allow-headers: ")?.to_owned()))
    };
    assert_eq!(granted("x-a,content-type").as_deref(), Some("x-a, content-type"));
    assert_eq!(granted("x-a, b c"), None);
    assert_eq!(granted(""), None);
    assert_eq!(granted(&"x,".repeat(HEADERS_ECHOED_MAX)).map(|names| names.len()), Some(3 * 64 - 2));
    assert_eq!(granted(&"x,".repeat(HEADERS_ECHOED_MAX + 1)), None);
    assert!(answered(&cors, PREFLIGHT, &[]).contains(&"access-control-allow-methods: PUT".to_owned()));
}

#[test]
fn other_options_requests_go_on() {
    let cors = cors(&["https://a.example"], |_| {});
    for request in [
        "OPTIONS / HTTP/1.1\nOrigin: https://a.example",
        "OPTIONS / HTTP/1.1\nAccess-Control-Request-Method: PUT",
        "GET / HTTP/1.1\nOrigin: https://a.example\nAccess-Control-Request-Method: PUT",
    ] {
        assert_eq!(cors.on_request(&mut exchange(request)).unwrap(), Flow::Continue, "{request}");
    }
}
