//! Which route answers, and that what was matched is what is forwarded.

use weir_testkit::{Gateway, Origin, Problem, Response, behaviour};

use crate::{Config, start};

/// Routes that answer their own name.
fn naming(routes: &[(&str, &str)]) -> String {
    let mut yaml = "listeners:\n  web: { bind: \"127.0.0.1:0\", http: {} }\nroutes:\n".to_owned();
    for (name, matches) in routes {
        yaml += &format!(
            "  - name: {name}\n    match: {matches}\n    respond: {{ status: 200, body: \"{name}\" }}\n"
        );
    }
    yaml
}

fn ask(gateway: &Gateway, request: &str) -> Response {
    let mut client = gateway.connect();
    client.send(request.replace('\n', "\r\n") + "\r\n\r\n");
    client.response()
}

/// Asserts which route answers each `METHOD target` with these fields.
fn answers(gateway: &Gateway, expected: &[(&str, &str, &str)]) {
    for (line, fields, name) in expected {
        let fields = if fields.is_empty() { "Host: t" } else { fields };
        let response = ask(gateway, &format!("{line} HTTP/1.1\n{fields}"));
        let got = if response.status == 200 { response.text() } else { response.status.to_string() };
        assert_eq!(got, *name, "{line} {fields}");
    }
}

#[test]
fn the_more_specific_host_wins_whatever_the_order() {
    let gateway = start(&naming(&[
        ("any", "{ path: /* }"),
        ("wild", "{ host: \"*.example.com\", path: /* }"),
        ("longer-wild", "{ host: \"*.api.example.com\", path: /* }"),
        ("exact", "{ host: www.example.com, path: /* }"),
        ("exact-only-a", "{ host: only.example.com, path: /a }"),
    ]));
    answers(
        &gateway,
        &[
            ("GET /", "Host: www.example.com", "exact"),
            ("GET /", "Host: WWW.Example.COM", "exact"),
            ("GET /", "Host: www.example.com.", "exact"),
            ("GET /", "Host: www.example.com:8080", "exact"),
            ("GET /", "Host: x.example.com", "wild"),
            ("GET /", "Host: x.y.example.com", "wild"),
            ("GET /", "Host: x.api.example.com", "longer-wild"),
            ("GET /", "Host: example.com", "any"),
            ("GET /", "Host: badexample.com", "any"),
            ("GET /a", "Host: only.example.com", "exact-only-a"),
            ("GET /b", "Host: only.example.com", "wild"),
        ],
    );
}

#[test]
fn the_more_specific_path_wins_segment_by_segment() {
    let gateway = start(&naming(&[
        ("rest", "{ path: /a/*rest }"),
        ("param", "{ path: /a/:id }"),
        ("literal", "{ path: /a/b }"),
        ("deep", "{ path: /a/:id/c }"),
        ("digits", "{ path: /n/:id, params: { id: \"[0-9]+\" } }"),
        ("regex", "{ path: { regex: \"^/r[0-9]+/.*$\" } }"),
        ("root", "{ path: / }"),
    ]));
    answers(
        &gateway,
        &[
            ("GET /a/b", "", "literal"),
            ("GET /a/x", "", "param"),
            ("GET /a/b/c", "", "deep"),
            ("GET /a/b/d", "", "rest"),
            ("GET /a", "", "rest"),
            ("GET /n/12", "", "digits"),
            ("GET /n/12x", "", "404"),
            ("GET /r12/x", "", "regex"),
            ("GET /rx/x", "", "404"),
            ("GET /", "", "root"),
            ("GET /?q", "", "root"),
            ("GET /b", "", "404"),
            ("GET /A/b", "", "404"),
        ],
    );
}

#[test]
fn methods_fields_and_query_narrow_a_route_and_more_of_them_win() {
    let gateway = start(&naming(&[
        ("plain", "{ path: /x }"),
        // As many matchers as the next one has: a request may match both, so something must order them.
        ("post", "{ path: /x, methods: [POST], priority: 1 }"),
        ("canary", "{ path: /x, headers: { x-env: canary } }"),
        ("both", "{ path: /x, headers: { x-env: canary }, query: { debug: \"1\" } }"),
        ("pattern", "{ path: /y, headers: { x-v: { regex: \"^v[0-9]$\" } } }"),
        ("present", "{ path: /z, headers: { x-any: { present: true } } }"),
    ]));
    answers(
        &gateway,
        &[
            ("GET /x", "", "plain"),
            ("POST /x", "Host: t\nContent-Length: 0", "post"),
            ("GET /x", "Host: t\nX-ENV: canary", "canary"),
            ("GET /x", "Host: t\nX-Env: canary2", "plain"),
            ("GET /x?a=b&debug=1", "Host: t\nX-Env: canary", "both"),
            ("GET /x?debug=2", "Host: t\nX-Env: canary", "canary"),
            ("GET /y", "Host: t\nX-V: v2", "pattern"),
            ("GET /y", "Host: t\nX-V: v22", "404"),
            ("GET /z", "Host: t\nX-Any: 0", "present"),
            ("GET /z", "", "404"),
        ],
    );
}

#[test]
fn a_priority_decides_between_equals() {
    let gateway = start(&naming(&[
        ("low", "{ path: /x, headers: { a: \"1\" } }"),
        ("high", "{ path: /x, headers: { b: \"1\" }, priority: 5 }"),
    ]));
    answers(&gateway, &[("GET /x", "Host: t\nA: 1\nB: 1", "high"), ("GET /x", "Host: t\nA: 1", "low")]);
}

#[test]
fn no_spelling_of_a_path_walks_around_a_route() {
    let origin = Origin::start(behaviour::echo_head);
    let gateway = Config::to([origin.addr()])
        .another_route("{ name: closed, match: { path: /admin/* }, respond: { status: 403, body: closed } }")
        .start();
    for path in [
        "/admin/x",
        "/admin",
        "//admin/x",
        "/./admin/x",
        "/a/../admin/x",
        "/a/%2e%2e/admin/x",
        "/a/.%2E/admin/x",
        "/%61dmin/x",
        "/admin//x",
        "/%2e/admin/x",
        "///a///..//admin",
        "/admin/",
        "/admin/%2e%2e/admin",
        "/admin?x",
        "/b/c/../../admin/./x",
    ] {
        let response = ask(&gateway, &format!("GET {path} HTTP/1.1\nHost: t"));
        assert!([403, 400].contains(&response.status), "{path} was answered {}", response.status);
    }
    // What is not the same path is forwarded, and as the same path for the upstream.
    for request in origin.requests() {
        assert!(!request.target.contains("admin"), "{}", request.target);
    }
}

#[test]
fn the_path_that_was_matched_is_the_one_forwarded() {
    let origin = Origin::start(behaviour::echo_head);
    let gateway = Config::to([origin.addr()]).start();
    for (sent, forwarded) in [
        ("/a/./b//c/../d", "/a/b/d"),
        ("/%61%7e%2D", "/a~-"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a%2fb", "/a%2Fb"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a;p=1/b", "/a;p=1/b"),
        ("/a/?x=//..%2f&y=%61", "/a/?x=//..%2f&y=%61"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/a?", "/a?"),
    ] {
        assert_eq!(ask(&gateway, &format!("GET {sent} HTTP/1.1\nHost: t")).status, 200, "{sent}");
        let target = origin.requests().last().unwrap().target.clone();
        assert!(target.eq_ignore_ascii_case(forwarded), "{sent} went as {target}, not {forwarded}");
    }
}

#[test]
fn paths_that_cannot_be_read_in_one_way_are_400() {
    let origin = Origin::start(behaviour::echo_head);
    let gateway = Config::to([origin.addr()]).start();
    for path in [
        "/..",
        "/a/../..",
        "/%2e%2e/x",
        "/a\\b",
        "/a%5cb",
        "/a%00b",
        "/a%",
        "/a%4",
        "/a%zz",
        "/%",
        "/a%u0041",
    ] {
        let response = ask(&gateway, &format!("GET {path} HTTP/1.1\nHost: t"));
        assert_eq!(response.status, 400, "{path}");
        assert!(["bad-path", "bad-request"].contains(&Problem::of(&response).code.as_str()), "{path}");
    }
    assert_eq!(origin.request_count(), 0);
}

/// Goal: an endpoint that decodes `%2F` cannot be reached by a path that no rule has seen.
#[test]
fn encoded_slashes_walk_around_no_rule_where_they_are_refused() {
    let origin = Origin::start(behaviour::echo_head);
    let config = Config::to([origin.addr()])
        .another_route("{ match: { path: /prot/* }, respond: { status: 403, body: closed } }");
    let kept = config.start();
    assert_eq!(ask(&kept, "GET /prot%2fx HTTP/1.1\nHost: t").status, 200);
    assert_eq!(origin.requests().last().unwrap().target, "/prot%2Fx");
    for listener in ["normalize_path: on", "normalize_path: off"] {
        let seen = origin.request_count();
        let gateway = config.clone().http("encoded_slashes: refuse").listener(listener).start();
        for path in ["/prot%2fx", "/prot%2Fx", "/a%5cb", "/a%5Cb", "/%2f", "/prot%2f..%2fx"] {
            let response = ask(&gateway, &format!("GET {path} HTTP/1.1\nHost: t"));
            assert_eq!((response.status, Problem::of(&response).code.as_str()), (400, "bad-path"), "{path}");
        }
        assert_eq!(origin.request_count(), seen);
        assert_eq!(ask(&gateway, "GET /prot/x HTTP/1.1\nHost: t").status, 403);
        // Not a path: a query may hold what it likes.
        assert_eq!(ask(&gateway, "GET /x?to=%2fprot HTTP/1.1\nHost: t").status, 200);
    }
}

#[test]
fn without_normalisation_the_bytes_pass_as_they_came() {
    let origin = Origin::start(behaviour::echo_head);
    let gateway = Config::to([origin.addr()]).listener("normalize_path: off").start();
    for path in ["/a//b/./%61", "/%2e%2e/x", "/a/../b"] {
        assert_eq!(ask(&gateway, &format!("GET {path} HTTP/1.1\nHost: t")).status, 200);
        assert_eq!(origin.requests().last().unwrap().target, path);
    }
}

#[test]
fn redirect_and_respond_answer_by_themselves() {
    let origin = Origin::start(behaviour::echo_head);
    let gateway = Config::to([origin.addr()])
        .another_route("{ match: { path: /old/*rest }, redirect: { to: \"https://example.com/new/{rest}\", status: 308 } }")
        .another_route("{ match: { path: /ping }, respond: { status: 200, body: \"pong\\n\", headers: { content-type: text/plain } } }")
        .start();
    let mut client = gateway.connect();
    let moved = client.get("t", "/old/a/b");
    assert_eq!((moved.status, moved.field("location")), (308, Some("https://example.com/new/a/b")));
    let pong = client.get("t", "/ping");
    assert_eq!((pong.text().as_str(), pong.field("content-type")), ("pong\n", Some("text/plain")));
    client.send("HEAD /ping HTTP/1.1\r\nHost: t\r\n\r\n");
    let head = client.read_response("HEAD").unwrap();
    assert_eq!((head.status, head.field("content-length")), (200, Some("5")));
    client.send("POST /ping HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.response().text(), "pong\n");
    assert_eq!(client.get("t", "/else").status, 200);
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_redirect_cannot_be_split_by_what_it_quotes() {
    let origin = Origin::start(behaviour::echo_head);
    let gateway = Config::to([origin.addr()])
        .another_route(
            "{ match: { path: /old/*rest }, redirect: { to: \"https://example.com/{rest}\", status: 302 } }",
        )
        .start();
    let response = ask(&gateway, "GET /old/a%0d%0aSet-Cookie:%20x HTTP/1.1\nHost: t");
    assert!(!response.head.fields.has("set-cookie"), "{response:?}");
    if response.status == 302 {
        assert!(!response.field("location").unwrap().contains(['\r', '\n']));
    }
}

#[test]
fn a_weighted_split_keeps_its_shares() {
    let (stable, canary) =
        (Origin::start(behaviour::fixed(200, "s")), Origin::start(behaviour::fixed(200, "c")));
    let gateway = start(&format!(
        "listeners:\n  web: {{ bind: \"127.0.0.1:0\", http: {{}} }}\nroutes:\n  - match: {{ path: /* }}\n    \
         forward:\n      - {{ upstream: stable, weight: 85 }}\n      - {{ upstream: canary, weight: 15 }}\n\
         upstreams:\n  stable: {{ endpoints: [\"{}\"] }}\n  canary: {{ endpoints: [\"{}\"] }}\n",
        stable.addr(),
        canary.addr()
    ));
    let mut client = gateway.connect();
    for _ in 0..400 {
        assert_eq!(client.get("t", "/").status, 200);
    }
    // 60 expected; five standard deviations of a fair coin are 36.
    let share = canary.request_count();
    assert!((24..=96).contains(&share), "{share} of 400");
}

#[test]
fn a_prefix_is_stripped_and_fields_are_set_by_policies() {
    let origin = Origin::start(|_, connection| {
        connection.respond(200, &[("Server", "secret/1"), ("X-Keep", "1")], "");
        weir_testkit::After::KeepOpen
    });
    let gateway = Config::to([origin.addr()])
        .another_route(
            "{ match: { path: \"/v1/*\" }, forward: app, policies: [ \
             { headers: { request: { set: { x-team: core, x-client: \"{client_ip}\" }, remove: [x-internal] }, \
             response: { set: { x-frame-options: DENY }, remove: [server] } } }, { rewrite: { strip_prefix: /v1 } } ] }",
        )
        .start();
    let response = ask(&gateway, "GET /v1/users?x=1 HTTP/1.1\nHost: t\nX-Internal: 1\nX-Team: mine");
    let seen = origin.only_request();
    assert_eq!(seen.target, "/users?x=1");
    assert_eq!((seen.field("x-team"), seen.field("x-client")), (Some("core"), Some("127.0.0.1")));
    assert_eq!(seen.field("x-internal"), None);
    assert_eq!((response.field("x-frame-options"), response.field("server")), (Some("DENY"), None));
    assert_eq!(response.field("x-keep"), Some("1"));
    assert_eq!(ask(&gateway, "GET /v1 HTTP/1.1\nHost: t").status, 200);
    assert_eq!(origin.requests()[1].target, "/");
}

#[test]
fn ip_rules_judge_the_client_not_its_claims() {
    let origin = Origin::start(behaviour::fixed(200, "in"));
    let gateway =
        Config::to([origin.addr()]).route("policies: [ { ip_rules: { allow: [127.0.0.2/32] } } ]").start();
    let web = gateway.addr("web");
    let mut stranger = gateway.connect();
    stranger.send("GET / HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 127.0.0.2\r\n\r\n");
    Problem::expect(&stranger.response(), 403, "client-not-allowed");
    let mut friend = weir_testkit::RawClient::connect_from("127.0.0.2".parse().unwrap(), web);
    assert_eq!(friend.get("t", "/").text(), "in");
}

#[test]
fn an_expression_cannot_be_made_to_run_away() {
    let gateway = start(&naming(&[("slow", "{ path: { regex: \"^/(a+)+$\" } }")]));
    let before = gateway.cpu_time();
    let path = "a".repeat(20_000) + "!";
    for _ in 0..20 {
        assert_eq!(ask(&gateway, &format!("GET /{path} HTTP/1.1\nHost: t")).status, 404);
    }
    assert!(gateway.cpu_time() - before < std::time::Duration::from_secs(3));
}

#[test]
fn a_rewrite_from_what_the_client_sent_is_held_to_the_same_rules() {
    let origin = Origin::start(behaviour::echo_head);
    let gateway = Config::to([origin.addr()])
        .another_route(
            "{ match: { path: /cut/*rest }, forward: app, \
             policies: [ { rewrite: { regex: { pattern: \"^/cut/api(.*)$\", replacement: \"$1\" } } } ] }",
        )
        .another_route("{ match: { path: /host }, forward: app, policies: [ { rewrite: { host: \"{header.x-to}\" } } ] }")
        .start();
    let status = |path: &str, to: &str| {
        let mut client = gateway.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\nX-To: {to}\r\n\r\n"));
        client.response().status
    };
    assert_eq!(status("/cut/api/x", ""), 200);
    assert_eq!(status("/cut/api../secret", ""), 400);
    assert_eq!(status("/cut/api.%2e/secret", ""), 400);
    assert_eq!(status("/cut/api..;/secret", ""), 400);
    assert_eq!(status("/host", "inside.example:8080"), 200);
    for host in ["", "a b", "a,b", "u@a", "a/../b", "a:99999"] {
        assert_eq!(status("/host", host), 400, "{host:?}");
    }
    assert_eq!(origin.request_count(), 2);
}

#[test]
fn the_route_is_the_one_whose_media_type_the_client_would_rather_have() {
    let gateway = start(&naming(&[
        ("html", "{ path: /page, accept: text/html, priority: 1 }"),
        ("json", "{ path: /page, accept: [application/json, application/*] }"),
        ("rest", "{ path: /page }"),
    ]));
    let taken = |accept: &str| ask(&gateway, &format!("GET /page HTTP/1.1\nHost: t{accept}")).text();
    for (accept, wanted) in [
        ("", "html"),
        ("\nAccept: */*", "html"),
        ("\nAccept: text/html;q=0.4, application/json;q=0.5", "json"),
        ("\nAccept: text/html;q=0, */*;q=0.1", "json"),
        ("\nAccept: application/xml", "json"),
        ("\nAccept: image/png", "rest"),
    ] {
        assert_eq!(taken(accept), wanted, "{accept}");
    }
}
