//! Requests and answers between HTTP/2 in front and HTTP/1.1 behind.

use weir_testkit::h2::{Answer, RawH2, code, data, flag};
use weir_testkit::{After, Gate, Gateway, Origin, Request, behaviour, wait};

use crate::Config;

type Fields<'a> = Vec<(&'a str, &'a str)>;

/// The head of a request with this method and these fields behind the pseudo ones.
fn head<'a>(method: &'a str, fields: &[(&'a str, &'a str)]) -> Fields<'a> {
    [&[(":method", method), (":scheme", "http"), (":path", "/a?b"), (":authority", "test")], fields].concat()
}

fn start(origin: &Origin) -> (Gateway, RawH2) {
    let gateway = Config::to([origin.addr()]).start();
    let client = RawH2::connect(gateway.addr("web"));
    (gateway, client)
}

/// What the origin saw of fields that a client sent, without those that the gateway writes.
fn seen(request: &Request) -> Vec<(String, String)> {
    let own =
        ["host", "x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host", "x-request-id"];
    let is_own = |name: &str| own.contains(&name) || name == "traceparent";
    let fields = request.head.fields.0.iter().map(|(name, value)| (name.to_lowercase(), value.clone()));
    fields.filter(|(name, _)| !is_own(name)).collect()
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A name for the failure, what is sent of head and body, and the fields and the body that the origin sees.
type Translation = (&'static str, Fields<'static>, &'static str, Fields<'static>, &'static str);

#[test]
fn requests_reach_an_endpoint_of_http_1_as_they_were_meant() {
    let cases: Vec<Translation> = vec![
        ("nothing but pseudo fields", head("GET", &[]), "", vec![], ""),
        (
            "fields keep order and values",
            head("GET", &[("b", "2"), ("a", ""), ("c", "x, y")]),
            "",
            vec![("b", "2"), ("a", ""), ("c", "x, y")],
            "",
        ),
        (
            "repeated fields stay apart",
            head("GET", &[("x", "1"), ("x", "2")]),
            "",
            vec![("x", "1"), ("x", "2")],
            "",
        ),
        (
            "crumbs of cookies are one again",
            head("GET", &[("cookie", "a=1"), ("x", "1"), ("cookie", "b=2")]),
            "",
            vec![("cookie", "a=1; b=2"), ("x", "1")],
            "",
        ),
        ("Host that says the same", head("GET", &[("host", "test")]), "", vec![], ""),
        ("te", head("GET", &[("te", "trailers")]), "", vec![("connection", "TE"), ("te", "trailers")], ""),
        (
            "a body of a declared length",
            head("POST", &[("content-length", "5")]),
            "hello",
            vec![("content-length", "5")],
            "hello",
        ),
        (
            "a body without a length",
            head("PUT", &[]),
            "hello",
            vec![("transfer-encoding", "chunked")],
            "hello",
        ),
        ("a method that nobody knows", head("BREW", &[]), "", vec![], ""),
        (
            "gateway fields of a stranger",
            head("GET", &[("x-forwarded-for", "6.6.6.6"), ("x_real_ip", "6.6.6.6")]),
            "",
            vec![],
            "",
        ),
    ];
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let (_gateway, mut client) = start(&origin);
    for (at, (name, sent, body, fields, whole)) in cases.into_iter().enumerate() {
        let end = if body.is_empty() { flag::END_STREAM } else { 0 };
        let stream = client.headers(end, &sent);
        if !body.is_empty() {
            client.send(data(stream, flag::END_STREAM, body));
        }
        let answer = client.answer(stream);
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{name}");
        let request = origin.requests().remove(at);
        assert_eq!(request.method, sent[0].1, "{name}");
        assert_eq!((request.target.as_str(), request.field("host")), ("/a?b", Some("test")), "{name}");
        let chunks: &[(&str, &str)] = &[("transfer-encoding", "chunked")];
        let mut expected = pairs(&fields);
        let mut got = seen(&request);
        got.sort_by_key(|field| chunks.iter().any(|chunk| chunk.0 == field.0));
        expected.sort_by_key(|field| chunks.iter().any(|chunk| chunk.0 == field.0));
        assert_eq!(got, expected, "{name}");
        assert_eq!(String::from_utf8_lossy(&request.body), whole, "{name}");
        assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"), "{name}");
    }
}

#[test]
fn what_is_no_request_is_refused_before_an_endpoint_hears_of_it() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let (gateway, mut client) = start(&origin);
    let without = |name: &str| -> Fields<'static> {
        head("GET", &[]).into_iter().filter(|field| field.0 != name).collect()
    };
    let answered = [
        ("no authority", without(":authority"), 400),
        ("two lengths", head("GET", &[("content-length", "0"), ("content-length", "0")]), 400),
        ("a plain CONNECT", vec![(":method", "CONNECT"), (":authority", "test:80")], 405),
        ("TRACE", head("TRACE", &[]), 405),
        ("another protocol", [&head("CONNECT", &[])[..], &[(":protocol", "connect-udp")]].concat(), 501),
        (
            "a path above the root",
            vec![(":method", "GET"), (":scheme", "http"), (":path", "/../x"), (":authority", "test")],
            400,
        ),
    ];
    for (name, fields, status) in answered {
        // Pseudo fields come first.
        let (pseudo, rest): (Fields<'_>, Fields<'_>) =
            fields.iter().partition(|field| field.0.starts_with(':'));
        let stream = client.headers(flag::END_STREAM, &[pseudo, rest].concat());
        let answer = client.answer(stream);
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert!(answer.field("weir-error").is_some(), "{name}");
    }
    // What RFC 9113 section 8 calls malformed is the stream's error; its access line says what was wrong with it.
    for (name, host) in [("another Host", &["other"][..]), ("two Hosts", &["test", "test"])] {
        let hosts: Vec<(&str, &str)> = host.iter().map(|host| ("host", *host)).collect();
        let stream = client.headers(flag::END_STREAM, &head("GET", &hosts));
        assert_eq!(client.answer(stream).reset, Some(code::PROTOCOL_ERROR), "{name}");
    }
    let lines = || gateway.log_lines(|line| line["http_status"] == 400 && line["error"] == "bad-host").len();
    wait::until_true("the access lines", || lines() >= 2);
    let reset = [
        ("a pseudo field behind a field", [&head("GET", &[("x", "1")])[..], &[(":path", "/b")]].concat()),
        ("a field of connections", head("GET", &[("connection", "close")])),
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("no path", without(":path")),
    ];
    for (name, fields) in reset {
        let stream = client.headers(flag::END_STREAM, &fields);
        let answer = client.answer(stream);
        assert_eq!(answer.reset, Some(code::PROTOCOL_ERROR), "{name}: {answer:?}");
    }
    let ended = [
        ("an unknown pseudo field", [&[(":evil", "1")], &head("GET", &[])[..]].concat()),
        ("a name in upper case", head("GET", &[("X-Y", "1")])),
        ("a line end in a value", head("GET", &[("x", "1\r\ny: 2")])),
    ];
    for (name, fields) in ended {
        let mut client = RawH2::connect(gateway.addr("web"));
        client.headers(flag::END_STREAM, &fields);
        assert_eq!(client.ending(wait::PATIENCE).unwrap().goaway, Some(code::PROTOCOL_ERROR), "{name}");
    }
    assert_eq!(origin.request_count(), 0);
    assert_eq!(gateway.access_line("/../x")["protocol"], "HTTP/2");
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_never_becomes_a_whole_request() {
    for (name, sent) in [("longer", "hello!"), ("shorter", "hell")] {
        let origin = Origin::start_on_head(|request, connection| {
            let _cut = connection.read_body(request);
            After::Close
        });
        let (_gateway, mut client) = start(&origin);
        let stream = client.headers(0, &head("POST", &[("content-length", "5")]));
        wait::until_true("the head to arrive", || {
            origin.request_count() == 1 || origin.connection_count() == 1
        });
        client.send(data(stream, flag::END_STREAM, sent));
        let answer = client.answer(stream);
        assert_eq!(answer.reset, Some(code::PROTOCOL_ERROR), "{name}: {answer:?}");
        wait::until_true("the request to be cut", || origin.open_count() == 0);
        assert!(origin.requests().iter().all(|request| !request.is_complete), "{name}");
    }
}

#[test]
fn trailers_pass_both_ways_but_for_those_that_may_not_stand_there() {
    let gate = Gate::new();
    gate.open();
    let origin = Origin::start(behaviour::chunked_with_trailer(&gate));
    let (_gateway, mut client) = start(&origin);
    let stream = client.headers(0, &head("POST", &[]));
    client.send(data(stream, 0, "hello"));
    let trailers = [("x-check", "1"), ("host", "evil"), ("x-forwarded-for", "6.6.6.6")];
    client.send(weir_testkit::h2::headers(stream, flag::END_STREAM, &trailers));
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.text().as_str()), (200, "firstsecond"));
    assert_eq!(answer.trailers.0, pairs(&[("x-sum", "42")]));
    let request = origin.only_request();
    assert_eq!((&request.body[..], request.trailers.0), (&b"hello"[..], pairs(&[("x-check", "1")])));
}

/// What the origin writes, whether it closes behind it, and what the client must see.
fn answer_to(method: &'static str, bytes: &'static str, after: After) -> Answer {
    let origin = Origin::start(behaviour::raw(bytes, after));
    let (_gateway, mut client) = start(&origin);
    let stream = client.headers(flag::END_STREAM, &head(method, &[]));
    client.answer(stream)
}

#[test]
fn answers_of_http_1_reach_the_client_as_they_were_meant() {
    use After::{Close, KeepOpen};
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    let text = |rest: &str| -> &'static str { Box::leak(format!("{OK}{rest}").into_boxed_str()) };
    let answer = answer_to("GET", text("Content-Length: 5\r\nX-Up: A\r\n\r\nhello"), KeepOpen);
    assert_eq!((answer.status, answer.text().as_str(), answer.reset), (200, "hello", None));
    assert_eq!((answer.field("content-length"), answer.field("x-up")), (Some("5"), Some("A")));
    assert!(answer.field("date").is_some());

    let answer =
        answer_to("GET", text("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), KeepOpen);
    assert_eq!((answer.text().as_str(), answer.field("transfer-encoding")), ("hello", None));

    let answer =
        answer_to("GET", text("Connection: close, x-mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n\r\nhello"), Close);
    assert_eq!((answer.text().as_str(), answer.reset), ("hello", None));
    assert!(["connection", "x-mine", "keep-alive"].iter().all(|name| answer.field(name).is_none()));

    let answer = answer_to("HEAD", text("Content-Length: 5\r\n\r\n"), KeepOpen);
    assert_eq!((answer.status, answer.field("content-length"), answer.body.len()), (200, Some("5"), 0));

    let answer = answer_to("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", KeepOpen);
    assert_eq!((answer.status, answer.field("etag"), answer.reset), (304, Some("\"a\""), None));

    let answer = answer_to("DELETE", "HTTP/1.1 204 No Content\r\n\r\n", KeepOpen);
    assert_eq!((answer.status, answer.body.len(), answer.reset), (204, 0, None));

    let early =
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let answer = answer_to("GET", early, KeepOpen);
    assert_eq!((answer.interim, answer.status, answer.body), (vec![103], 200, b"ok".to_vec()));
}

#[test]
fn an_answer_that_is_cut_never_looks_whole() {
    use After::{Close, Reset};
    for (bytes, after) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", Close),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", Reset),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello", Close),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n", Close),
    ] {
        let answer = answer_to("GET", bytes, after);
        assert_eq!(answer.reset, Some(code::INTERNAL_ERROR), "{bytes:?} {answer:?}");
    }
    let answer = answer_to("GET", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Close);
    assert_eq!((answer.status, answer.field("weir-error")), (502, Some("upstream-malformed")));
}

/// Goal: the whole answer counts although the request was not read to its end. Method: an endpoint that answers the head
/// alone, and a client that goes on sending.
#[test]
fn a_request_that_is_reset_without_an_error_has_no_end() {
    let origin = Origin::start_on_head(|request, connection| {
        let _cut = connection.read_body(request);
        After::Close
    });
    let (gateway, mut client) = start(&origin);
    let stream = client.headers(0, &head("POST", &[]));
    client.send(data(stream, 0, "half"));
    wait::until_true("the head to arrive", || origin.connection_count() == 1);
    client.send(weir_testkit::h2::reset(stream, code::NO_ERROR));
    wait::until_true("the request to be cut", || origin.open_count() == 0);
    assert!(origin.requests().iter().all(|request| !request.is_complete));
    assert_eq!(gateway.access_line("/a")["error"], "client-gone");
}

#[test]
fn an_early_answer_ends_the_stream_without_an_error() {
    let origin = Origin::start_on_head(|_, connection| {
        connection.respond(413, &[], "too much");
        After::Close
    });
    let (_gateway, mut client) = start(&origin);
    let stream = client.headers(0, &head("POST", &[]));
    client.send(data(stream, 0, "hello"));
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.text().as_str(), answer.reset), (413, "too much", None));
    let frame = client.frame_of(stream).unwrap();
    assert_eq!((frame.kind, frame.number()), (weir_testkit::h2::kind::RST_STREAM, code::NO_ERROR));
}

#[test]
fn a_client_that_waits_for_100_gets_it_before_it_sends() {
    let origin = Origin::start_on_head(|request, connection| {
        let read = connection.read_body(request);
        connection.respond(if read.is_ok() { 200 } else { 500 }, &[], &request.body);
        After::KeepOpen
    });
    let (_gateway, mut client) = start(&origin);
    let stream = client.headers(0, &head("POST", &[("expect", "100-continue"), ("content-length", "5")]));
    let frame = client.frame_of(stream).unwrap();
    assert_eq!(frame.fields.get(":status"), Some("100"));
    client.send(data(stream, flag::END_STREAM, "hello"));
    assert_eq!(client.answer(stream).text(), "hello");
}

#[test]
fn a_failed_attempt_is_repeated_elsewhere_with_its_body() {
    let broken = Origin::start_on_head(|request, connection| {
        let _body = connection.read_body(request);
        After::Close
    });
    let sound = Origin::start(behaviour::echo_body);
    let gateway = Config::to([broken.addr(), sound.addr()]).start();
    let mut client = RawH2::connect(gateway.addr("web"));
    for _ in 0..4 {
        let stream = client.headers(0, &head("PUT", &[]));
        client.send(data(stream, 0, "hel"));
        client.send(data(stream, flag::END_STREAM, "lo"));
        assert_eq!(client.answer(stream).text(), "hello");
    }
    assert!(broken.request_count() > 0);
}
