//! Requests over HTTP/2 that would become two on HTTP/1.1, or another one: none gets through.

use weir_testkit::h2::flag;

use crate::h2_abuse::Victim;

type Fields<'a> = Vec<(&'a str, &'a str)>;

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "test"), (":path", "/x")];

/// The GET with more fields.
fn and<'a>(fields: &[(&'a str, &'a str)]) -> Fields<'a> {
    [&GET[..], fields].concat()
}

/// The GET with one pseudo field replaced.
fn but<'a>(name: &str, value: &'a str) -> Fields<'a> {
    GET.iter().map(|field| (field.0, if field.0 == name { value } else { field.1 })).collect()
}

fn without(name: &str) -> Fields<'static> {
    GET.iter().copied().filter(|field| field.0 != name).collect()
}

fn cases() -> Vec<(&'static str, Fields<'static>)> {
    vec![
        ("CRLF in a value", and(&[("x", "a\r\nevil: 1")])),
        ("LF in a value", and(&[("x", "a\nevil: 1")])),
        ("CR in a value", and(&[("x", "a\rb")])),
        ("NUL in a value", and(&[("x", "a\0b")])),
        ("a request in a value", and(&[("x", "a\r\n\r\nGET /evil HTTP/1.1\r\nHost: test")])),
        ("space before a value", and(&[("x", " a")])),
        ("tab behind a value", and(&[("x", "a\t")])),
        ("CRLF in a name", and(&[("x\r\nevil", "1")])),
        ("colon in a name", and(&[("x:y", "1")])),
        ("space in a name", and(&[("x y", "1")])),
        ("upper case in a name", and(&[("X-Y", "1")])),
        ("an empty name", and(&[("", "1")])),
        ("a name beyond ASCII", and(&[("x\u{e9}", "1")])),
        ("space in the path", but(":path", "/x HTTP/1.1")),
        ("CRLF in the path", but(":path", "/x HTTP/1.1\r\nHost: evil\r\n\r\n")),
        ("tab in the path", but(":path", "/x\ty")),
        ("NUL in the path", but(":path", "/x\0")),
        ("a path without a slash", but(":path", "x")),
        ("an absolute path", but(":path", "http://evil/")),
        ("an empty path", but(":path", "")),
        ("space in the method", but(":method", "GET /evil HTTP/1.1\r\nx:")),
        ("an empty method", but(":method", "")),
        ("CRLF in the authority", but(":authority", "test\r\nevil: 1")),
        ("user information in the authority", but(":authority", "user@test")),
        ("a path in the authority", but(":authority", "test/x")),
        ("two hosts in the authority", but(":authority", "test, evil")),
        ("a scheme that is none", but(":scheme", "ht tp")),
        ("another Host than the authority", and(&[("host", "evil")])),
        ("two Hosts", and(&[("host", "test"), ("host", "evil")])),
        ("te", and(&[("te", "chunked")])),
        ("te of several", and(&[("te", "trailers, chunked")])),
        ("transfer-encoding", and(&[("transfer-encoding", "chunked")])),
        ("connection", and(&[("connection", "close")])),
        ("connection that names a field", and(&[("connection", "x-auth"), ("x-auth", "1")])),
        ("keep-alive", and(&[("keep-alive", "timeout=5")])),
        ("proxy-connection", and(&[("proxy-connection", "close")])),
        ("upgrade", and(&[("upgrade", "h2c")])),
        ("content-length without a body", and(&[("content-length", "5")])),
        ("two content-lengths", and(&[("content-length", "0"), ("content-length", "5")])),
        ("a list of content-lengths", and(&[("content-length", "0, 0")])),
        ("a signed content-length", and(&[("content-length", "+0")])),
        ("a content-length that is none", and(&[("content-length", "0x0")])),
        ("an empty content-length", and(&[("content-length", "")])),
        ("no method", without(":method")),
        ("no path", without(":path")),
        ("no scheme", without(":scheme")),
        ("neither authority nor Host", without(":authority")),
        ("a pseudo field twice", and(&[(":path", "/evil")])),
        ("an unknown pseudo field", and(&[(":evil", "1")])),
        ("a pseudo field of answers", and(&[(":status", "200")])),
        ("a pseudo field behind the others", [&[("x", "1")][..], &GET].concat()),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "test:443")]),
        ("CONNECT for a protocol that nobody knows", and(&[(":protocol", "evil")])),
        ("TRACE", but(":method", "TRACE")),
    ]
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let victim = Victim::start();
    let mut wrong = Vec::new();
    for (name, fields) in cases() {
        let before = victim.origin.request_count();
        let mut client = victim.attacker();
        let stream = client.headers(flag::END_STREAM, &fields);
        match client.try_answer(stream) {
            Ok(answer) if answer.reset.is_some() || [400, 405, 431, 501].contains(&answer.status) => {}
            Err(_) if client.goaway().is_some_and(|code| code != 0) => {}
            other => wrong.push(format!("{name}: {other:?}")),
        }
        if victim.origin.request_count() != before {
            wrong.push(format!("{name} reached the origin"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    victim.recovers();
}

/// Most are the stream's fault alone. A field that no table of a header block could hold ends the connection: the library
/// reads the block no further.
#[test]
fn a_refused_request_leaves_its_neighbours_alone_where_its_block_can_be_read() {
    let victim = Victim::start();
    let mut client = victim.attacker();
    let mut ended = Vec::new();
    for (name, fields) in cases() {
        let stream = client.headers(flag::END_STREAM, &fields);
        if client.try_answer(stream).is_err() {
            ended.push(name);
            client = victim.attacker();
        }
        assert_eq!(client.get("test", "/next").status, 200, "behind {name}");
    }
    let unreadable = [
        "CRLF in a value",
        "LF in a value",
        "CR in a value",
        "NUL in a value",
        "a request in a value",
        "CRLF in a name",
        "colon in a name",
        "space in a name",
        "upper case in a name",
        "an empty name",
        "a name beyond ASCII",
        "space in the method",
        "an empty method",
        "an unknown pseudo field",
    ];
    assert_eq!(ended, unreadable);
}

/// Matched and forwarded alike: there is one path, without the part that is the client's own.
#[test]
fn a_fragment_is_cut_off_before_the_path_is_looked_at() {
    let secret = "{ match: { path: /secret }, respond: { status: 403 } }";
    let victim = Victim::with(|config| config.another_route(secret));
    let mut client = victim.attacker();
    for (path, status) in [("/x#/../secret", 200), ("/secret#x", 403)] {
        let stream = client.headers(flag::END_STREAM, &but(":path", path));
        assert_eq!(client.answer(stream).status, status);
    }
    assert!(victim.origin.requests().iter().all(|request| !request.target.contains('#')));
}

/// What is sound is passed on as it was meant.
#[test]
fn sound_requests_arrive_as_one_sound_request() {
    let victim = Victim::start();
    let mut client = victim.attacker();
    let fields =
        and(&[("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"), ("x", "\u{e9}"), ("host", "test")]);
    let stream = client.headers(flag::END_STREAM, &fields);
    assert_eq!(client.answer(stream).status, 200);
    let requests = victim.origin.requests();
    let seen = requests.last().expect("a request");
    assert_eq!(seen.field("cookie"), Some("a=1; b=2"));
    assert_eq!((seen.target.as_str(), seen.field("host")), ("/x", Some("test")));
}
