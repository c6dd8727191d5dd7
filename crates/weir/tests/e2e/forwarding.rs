//! What passes through, and how it looks on the other side.

use weir_testkit::{After, Gate, Nginx, Origin, RawClient, behaviour, curl};

use crate::Config;

#[test]
fn a_file_of_nginx_arrives_unchanged_at_curl() {
    let nginx = Nginx::start("");
    let content: Vec<u8> = (0..5_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(nginx.root().join("file.bin"), &content).unwrap();
    let gateway = Config::to([nginx.addr()]).start();
    let file = gateway.folder().join("received");
    let url = format!("http://{}/file.bin", gateway.addr("web"));
    let got = curl(&["-o", file.to_str().unwrap(), "-w", "%{http_code} %{content_type}", &url]);
    assert_eq!((got.exit, got.stdout.as_str()), (0, "200 application/octet-stream"), "{got:?}");
    assert!(std::fs::read(file).unwrap() == content, "the file differs");
}

#[test]
fn an_upload_arrives_unchanged_by_length_and_by_chunks() {
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).start();
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let mut client = gateway.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(&body);
    assert!(client.response().body == body);
    client.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in body.chunks(70_000) {
        client.send(format!("{:X};ext=\"a b\"\r\n", piece.len()));
        client.send(piece);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    assert!(client.response().body == body);
}

#[test]
fn names_keep_their_case_and_values_their_bytes_in_both_directions() {
    let origin = Origin::start(|_, connection| {
        connection.respond(200, &[("X-oDD-cAse", "a  b;c=\"d\""), ("x-lower", "1")], "");
        After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhOST: t\r\nX-WeIrD: v  w\r\nACCEPT: */*\r\ncookie: a=b; c=d\r\n\r\n");
    let response = client.response();
    let seen = origin.only_request().head.fields;
    for name in ["X-WeIrD", "ACCEPT", "cookie"] {
        assert!(seen.has_exact_case(name), "{name} in {seen:?}");
    }
    assert_eq!(seen.get("x-weird"), Some("v  w"));
    assert!(
        response.head.fields.has_exact_case("X-oDD-cAse") && response.head.fields.has_exact_case("x-lower")
    );
    assert_eq!(response.field("x-odd-case"), Some("a  b;c=\"d\""));
}

#[test]
fn repeated_fields_stay_apart_and_in_order() {
    let origin = Origin::start(|_, connection| {
        connection.respond(200, &[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], "");
        After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\nX-A: 1\r\nX-A: 2\r\n\r\n");
    assert_eq!(client.response().head.fields.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(origin.only_request().head.fields.all("x-a"), ["1", "2"]);
}

#[test]
fn hop_by_hop_fields_end_at_the_gateway_in_both_directions() {
    let origin = Origin::start(|_, connection| {
        let fields = [("Connection", "X-Up"), ("X-Up", "1"), ("Keep-Alive", "timeout=5"), ("X-Stays", "1")];
        connection.respond(200, &fields, "");
        After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send(
        "GET / HTTP/1.1\r\nHost: t\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
         Proxy-Connection: keep-alive\r\nTE: gzip\r\nX-Stays: 1\r\n\r\n",
    );
    let response = client.response();
    let seen = origin.only_request().head.fields;
    for name in ["x-hop", "keep-alive", "proxy-connection", "te", "upgrade"] {
        assert!(!seen.has(name), "{name} in {seen:?}");
    }
    assert!(!seen.all("connection").iter().any(|v| v.to_lowercase().contains("x-hop")), "{seen:?}");
    assert!(seen.has("x-stays") && response.head.fields.has("x-stays"));
    for name in ["x-up", "keep-alive"] {
        assert!(!response.head.fields.has(name), "{name} in {response:?}");
    }
}

#[test]
fn one_client_connection_reuses_one_upstream_connection() {
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    for n in 0..20 {
        assert_eq!(client.get("t", &format!("/{n}")).status, 200);
    }
    assert_eq!((origin.request_count(), origin.connection_count()), (20, 1));
}

#[test]
fn pipelined_requests_are_answered_in_order_although_the_first_is_slow() {
    let gate = Gate::new();
    let opener = gate.clone();
    let origin = Origin::start(move |request, connection| {
        if request.target == "/0" {
            gate.wait();
        }
        connection.respond(200, &[], &request.target);
        After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    let requests: String = (0..5).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: t\r\n\r\n")).collect();
    client.send(requests);
    weir_testkit::wait::until_true("the first request", || origin.request_count() > 0);
    opener.open();
    for n in 0..5 {
        assert_eq!(client.response().text(), format!("/{n}"));
    }
}

#[test]
fn pipelined_bodies_are_told_apart() {
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send(
        "POST /1 HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\none\
         POST /2 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n\
         GET /3 HTTP/1.1\r\nHost: t\r\n\r\n",
    );
    let texts: Vec<_> = (0..3).map(|_| client.response().text()).collect();
    assert_eq!(texts, ["one", "two", ""]);
}

#[test]
fn a_request_split_at_every_byte_is_the_same_request() {
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).start();
    let request = "POST /split?x=1 HTTP/1.1\r\nHost: t\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n\
                   4;e=1\r\nabcd\r\n3\r\nefg\r\n0\r\nx-t: 1\r\n\r\n";
    let mut client = gateway.connect();
    client.send_split(request, 1);
    assert_eq!(client.response().text(), "abcdefg");
    // Every way to cut it in two.
    for at in 1..request.len() {
        client.send(&request[..at]);
        std::thread::yield_now();
        client.send(&request[at..]);
        assert_eq!(client.response().text(), "abcdefg", "cut at {at}");
    }
    assert!(origin.requests().iter().all(|r| r.target == "/split?x=1" && r.field("x-a") == Some("b")));
}

#[test]
fn a_response_split_at_every_byte_is_the_same_response() {
    let origin = Origin::start(|_, connection| {
        let response = "HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n\
                        4\r\nabcd\r\n3;ext\r\nefg\r\n0\r\nx-t: 1\r\n\r\n";
        for byte in response.as_bytes() {
            let _ = connection.write([*byte]);
            std::thread::yield_now();
        }
        After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    for _ in 0..3 {
        let response = client.get("t", "/");
        assert_eq!((response.text().as_str(), response.field("x-a")), ("abcdefg", Some("b")));
    }
}

#[test]
fn trailers_pass_in_both_directions() {
    let origin = Origin::start(|_, connection| {
        let _ = connection.write(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
        );
        After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: t\r\nTE: trailers\r\nTrailer: X-Check\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Check: 9\r\nContent-Length: 5\r\n\r\n",
    );
    let response = client.response();
    let seen = origin.only_request();
    // A framing field has no business in a trailer: it is dropped, or the request refused.
    assert_eq!((response.text().as_str(), response.trailers.get("x-sum")), ("ok", Some("7")));
    assert_eq!(seen.trailers.get("x-check"), Some("9"));
    assert!(!seen.trailers.has("content-length"), "{:?}", seen.trailers);
}

/// Goal: a reader that merges trailers into the head learns nothing from them that it must learn from the head alone.
#[test]
fn fields_that_mean_something_before_the_body_never_pass_as_trailers() {
    const TRAILERS: &str = "Host: evil\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\nConnection: close\r\n\
        Authorization: Basic eDp5\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-User: root\r\nX_Real_IP: 10.0.0.1\r\n\
        Cookie: a=b\r\nSet-Cookie: a=b\r\nContent-Type: text/html\r\nLocation: /x\r\nRange: bytes=0-1\r\n\
        Weir-Error: internal\r\nAlt-Svc: clear\r\nX-Sum: 7\r\n";
    let origin = Origin::start(|_, connection| {
        let _ = connection.write(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n{TRAILERS}\r\n"
        ));
        After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{TRAILERS}\r\n"
    ));
    let response = client.response();
    for (whose, trailers) in [("answer", &response.trailers), ("request", &origin.only_request().trailers)] {
        let names: Vec<_> = trailers.0.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        assert_eq!(names, ["x-sum"], "of the {whose}");
    }
}

#[test]
fn a_policy_on_fields_holds_for_trailers_too() {
    let origin = Origin::start(|_, connection| {
        let _ = connection.write(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Internal: 1\r\nX-Sum: 7\r\n\
             X-Frame-Options: ALLOW\r\nX_Frame_Options: ALLOW\r\nX-Key: s3cr3t\r\n\r\n",
        );
        After::KeepOpen
    });
    let post = |gateway: &weir_testkit::Gateway, trailers: &str| {
        let mut client = gateway.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{trailers}\r\n"
        ));
        (client.response(), client)
    };
    let config = Config::to([origin.addr()]);
    let changed = config.clone().route(
        "policies: [{ headers: { request: { remove: x-internal, set: { x-team: core } }, \
         response: { remove: x-internal, set: { x-frame-options: DENY }, hash: x-key } } }]",
    );
    let (response, _) =
        post(&changed.start(), "X-Internal: 1\r\nX-Team: evil\r\nx_team: evil\r\nX-Check: 9\r\n");
    let seen = origin.requests().pop().unwrap();
    for (trailers, kept) in [(&response.trailers, "X-Sum"), (&seen.trailers, "X-Check")] {
        assert_eq!(trailers.0.iter().map(|(name, _)| name).collect::<Vec<_>>(), [kept]);
    }

    let allowing = config
        .clone()
        .route("policies: [{ headers: { request: { allow: [x-check] }, response: { allow: [x-sum] } } }]");
    let (response, _) = post(&allowing.start(), "X-Check: 9\r\nX-Other: 1\r\n");
    let seen = origin.requests().pop().unwrap();
    for (trailers, kept) in [(&response.trailers, "X-Sum"), (&seen.trailers, "X-Check")] {
        assert_eq!(trailers.0.iter().map(|(name, _)| name).collect::<Vec<_>>(), [kept]);
    }
}

/// Goal: what is denied in a head is denied behind the body; what the endpoint has of such a request stays unfinished.
#[test]
fn a_denied_trailer_is_400_and_the_endpoint_never_sees_the_end() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway =
        Config::to([origin.addr()]).route("policies: [{ headers: { request: { deny: x-admin } } }]").start();
    let mut client = gateway.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Admin: 1\r\n\r\n",
    );
    let response = client.response();
    assert_eq!((response.status, response.field("weir-error").unwrap()), (400, "header-denied"));
    assert_eq!(client.get("t", "/").status, 200, "the connection is at a message's end");
    assert!(origin.requests().iter().all(|request| request.method == "GET" || !request.is_complete));
}

#[test]
fn a_response_to_head_has_no_body_and_the_connection_lives_on() {
    let origin = Origin::start(|request, connection| {
        let body = if request.method == "HEAD" { "" } else { "12345" };
        let _ = connection.write(format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body}"));
        After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.send("HEAD / HTTP/1.1\r\nHost: t\r\n\r\n");
        let response = client.read_response("HEAD").unwrap();
        assert_eq!((response.status, response.field("content-length")), (200, Some("5")));
        assert_eq!(client.get("t", "/").text(), "12345");
    }
    assert_eq!(origin.connection_count(), 1);
}

#[test]
fn statuses_without_a_body_leave_the_connection_in_step() {
    let origin = Origin::start(|request, connection| {
        let _ = connection.write(match request.target.as_str() {
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nETag: \"x\"\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        });
        After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    assert_eq!(client.get("t", "/204").status, 204);
    assert_eq!(client.get("t", "/304").field("etag"), Some("\"x\""));
    assert_eq!(client.get("t", "/200").text(), "ok");
}

#[test]
fn a_body_that_ends_with_the_upstreams_connection_is_delimited_for_the_client() {
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let response = format!("{version} 200 OK\r\nX-A: 1\r\n\r\nuntil the end");
        let origin = Origin::start(behaviour::raw(response, After::Close));
        let gateway = Config::to([origin.addr()]).start();
        let mut client = gateway.connect();
        assert_eq!(client.get("t", "/").text(), "until the end");
        assert_eq!(client.get("t", "/").text(), "until the end");
    }
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks_and_a_close() {
    let gate = Gate::new();
    gate.open();
    let origin = Origin::start(behaviour::chunked_with_trailer(&gate));
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.0\r\nHost: t\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "firstsecond"));
    assert!(!response.head.fields.has("transfer-encoding"), "{response:?}");
    client.ending();
}

#[test]
fn a_client_of_http_1_0_may_ask_to_keep_the_connection() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: t\r\nConnection: keep-alive\r\n\r\n");
        let response = client.response();
        assert_eq!(response.text(), "ok");
        assert_eq!(response.field("connection").map(str::to_lowercase).as_deref(), Some("keep-alive"));
    }
}

#[test]
fn a_client_that_asks_for_close_gets_it_announced_and_done() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    assert!(client.response().announces_close());
    client.ending();
    assert_eq!(gateway.get("/").text(), "ok");
    assert!(!origin.requests()[0].head.fields.all("connection").contains(&"close"), "the pool keeps its own");
}

#[test]
fn a_client_that_expects_100_sends_its_body_after_it() {
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!(client.head().0, 100);
        client.send("hello");
        let response = client.response();
        assert_eq!((response.status, response.text().as_str(), response.interim.len()), (200, "hello", 0));
    }
}

#[test]
fn curl_uploads_with_expect() {
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).start();
    let url = format!("http://{}/", gateway.addr("web"));
    let got = curl(&["-H", "Expect: 100-continue", "--data", "a=b", &url]);
    assert_eq!((got.exit, got.stdout.as_str()), (0, "a=b"), "{got:?}");
}

#[test]
fn an_upstream_that_refuses_on_the_head_spares_the_body() {
    let origin = Origin::start_on_head(|_, connection| {
        connection.respond(417, &[("Connection", "close")], "no");
        After::Close
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 50\r\nExpect: 100-continue\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (417, "no"));
    assert!(response.interim.len() <= 1, "{:?}", response.interim);
}

#[test]
fn an_unknown_expectation_is_refused_or_passed_but_never_hangs() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\nExpect: magic\r\n\r\n");
    assert!([200, 417].contains(&client.response().status));
}

#[test]
fn early_hints_pass_each_of_them() {
    let origin = Origin::start(behaviour::raw(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nLink: </b.js>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        After::KeepOpen,
    ));
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    for _ in 0..2 {
        let response = client.get("t", "/");
        let links: Vec<_> = response.interim.iter().map(|head| head.fields.get("link").unwrap()).collect();
        assert_eq!(links, ["</a.css>; rel=preload", "</b.js>; rel=preload"]);
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    }
    // RFC 8297: an interim response means nothing to HTTP/1.0.
    client.send("GET / HTTP/1.0\r\nHost: t\r\n\r\n");
    assert!(client.response().interim.is_empty());
}

#[test]
fn an_early_response_reaches_the_client_that_is_still_sending() {
    let origin = Origin::start_on_head(|_, connection| {
        connection.respond(403, &[], "enough");
        let _ = connection.read_some();
        After::Close
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10000000\r\n\r\n");
    client.send(vec![b'x'; 100_000]);
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (403, "enough"));
    // What the client goes on sending must not become a request.
    let _ = client.try_send("GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(gateway.get("/next").status, 403);
    assert!(origin.requests().iter().all(|r| r.target != "/smuggled"));
}

#[test]
fn connect_and_trace_are_refused_and_options_star_is_answered() {
    let origin = Origin::start(behaviour::echo_head);
    let gateway = Config::to([origin.addr()]).start();
    for line in ["CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443", "TRACE / HTTP/1.1\r\nHost: t"] {
        let mut client = gateway.connect();
        client.send(format!("{line}\r\n\r\n"));
        weir_testkit::Problem::expect(&client.response(), 405, "method-not-allowed");
    }
    let mut client = gateway.connect();
    client.send("OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n");
    let response = client.response();
    assert!([200, 204].contains(&response.status), "{response:?}");
    assert_eq!(origin.request_count(), 0);
    // With a path it is an ordinary method.
    client.send("OPTIONS /x HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(origin.only_request().method, "OPTIONS");
}

#[test]
fn an_absolute_target_is_forwarded_as_a_path_with_its_own_host() {
    let origin = Origin::start(behaviour::echo_head);
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET http://right.example/a?b HTTP/1.1\r\nHost: right.example\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let seen = origin.only_request();
    assert_eq!((seen.target.as_str(), seen.field("host")), ("/a?b", Some("right.example")));
    // One that contradicts Host is refused, or its own authority is both routed by and forwarded.
    let mut client = gateway.connect();
    client.send("GET http://right.example/ HTTP/1.1\r\nHost: wrong.example\r\n\r\n");
    if client.response().status == 200 {
        assert_eq!(origin.requests()[1].field("host"), Some("right.example"));
    }
}

#[test]
fn the_host_field_is_kept_or_replaced_as_the_upstream_says() {
    let origin = Origin::start(behaviour::echo_head);
    let address = origin.addr().to_string();
    for (line, expected) in [
        ("host: preserve", "client.example"),
        ("host: endpoint", address.as_str()),
        ("host: named.example", "named.example"),
    ] {
        let gateway = Config::to([origin.addr()]).upstream(line).start();
        gateway.connect().get("client.example", "/");
        assert_eq!(origin.requests().last().unwrap().field("host"), Some(expected), "{line}");
    }
}

#[test]
fn a_listener_on_a_unix_socket_serves_curl() {
    let origin = Origin::start(behaviour::fixed(200, "over unix"));
    let folder =
        std::env::temp_dir().join(format!("weir-unix-{}-{}", std::process::id(), origin.addr().port()));
    std::fs::create_dir(&folder).unwrap();
    let socket = folder.join("s");
    let yaml = Config::to([origin.addr()])
        .yaml()
        .replace("\"127.0.0.1:0\"", &format!("\"unix:{}\"", socket.display()));
    let gateway = crate::start(&yaml);
    let got = curl(&["--unix-socket", socket.to_str().unwrap(), "http://any/"]);
    drop(gateway);
    // A socket left behind by a killed process is no obstacle to the next one.
    let gateway = crate::start(&yaml);
    let again = curl(&["--unix-socket", socket.to_str().unwrap(), "http://any/"]);
    drop(gateway);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!((got.stdout.as_str(), again.stdout.as_str()), ("over unix", "over unix"));
}

#[test]
fn many_clients_at_once_each_get_their_own_answer() {
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).start();
    let addr = gateway.addr("web");
    let threads: Vec<_> = (0..16)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut client = RawClient::connect(addr);
                for n in 0..50 {
                    let body = format!("{thread}-{n}").repeat(1 + n % 7);
                    let head = format!("PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", body.len());
                    client.send(head + &body);
                    assert_eq!(client.response().text(), body);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
