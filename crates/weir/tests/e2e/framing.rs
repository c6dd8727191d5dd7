//! One refusal for each trick that makes two readers see different messages.

use weir_testkit::{Gateway, Origin, ReadError, behaviour};

use crate::Config;

/// A request line and Host, to which each case adds its trick.
const GET: &str = "GET / HTTP/1.1\r\nHost: t\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: t\r\n";
/// What a smuggler hides behind his trick.
const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n";

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    statuses: &'static [u16],
}

fn case(name: &'static str, statuses: &'static [u16], bytes: impl Into<Vec<u8>>) -> Case {
    Case { name, bytes: bytes.into(), statuses }
}

/// Sends each case on its own connection and collects what is wrong, so that one run shows all of it.
fn refuses_all(gateway: &Gateway, origin: &Origin, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for case in cases {
        let seen = origin.request_count();
        let mut client = gateway.connect();
        let mut bytes = case.bytes.clone();
        bytes.extend(HIDDEN.bytes());
        let _ = client.try_send(&bytes);
        match client.read_response("GET") {
            Ok(response) if !case.statuses.contains(&response.status) => {
                wrong.push(format!("{}: answered {}", case.name, response.status));
            }
            Ok(response) => {
                if response.field("weir-error").is_none() {
                    wrong.push(format!("{}: not the gateway's own answer", case.name));
                }
                if !response.announces_close() {
                    wrong.push(format!("{}: did not announce the close", case.name));
                }
                // A second response, or an open connection, means that reading went on behind the trick.
                match client.read_response("GET") {
                    Err(ReadError::Closed | ReadError::Reset) => {}
                    other => wrong.push(format!("{}: after the refusal {other:?}", case.name)),
                }
            }
            Err(error) => wrong.push(format!("{}: {error:?}", case.name)),
        }
        for request in origin.requests().drain(seen..) {
            if request.is_complete && request.target != "/fine" {
                wrong.push(format!("{}: the origin saw a request", case.name));
            }
        }
        if gateway.get("/fine").status != 200 {
            wrong.push(format!("{}: the next request failed", case.name));
        }
        if wrong.len() > 40 {
            break;
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn bed() -> (Origin, Gateway) {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    (origin, gateway)
}

#[test]
fn ambiguous_lengths_are_refused() {
    let (origin, gateway) = bed();
    let length = |name, value: &str| case(name, &[400], format!("{POST}Content-Length:{value}\r\n\r\nhello"));
    let cases = vec![
        case(
            "length before coding",
            &[400],
            format!("{POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        case(
            "coding before length",
            &[400],
            format!("{POST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        ),
        case(
            "the same length twice",
            &[400],
            format!("{POST}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
        ),
        case("two lengths", &[400], format!("{POST}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")),
        case(
            "lengths in two cases",
            &[400],
            format!("{POST}content-length: 5\r\nCONTENT-LENGTH: 0\r\n\r\nhello"),
        ),
        length("a list", " 5, 5"),
        length("a list of different ones", " 5,6"),
        length("a plus", " +5"),
        length("a minus", " -5"),
        length("two words", " 5 5"),
        length("hexadecimal", " 0x5"),
        length("empty", ""),
        length("only a space", " "),
        length("a fraction", " 5.0"),
        length("a semicolon", " 5;"),
        length("an underscore", " 0_5"),
        length("quoted", " \"5\""),
        length("one more than 64 bits hold", " 18446744073709551621"),
        length("very long", " 99999999999999999999999999999999999999"),
        length("a form feed", " \x0c5"),
        length("a vertical tab", " 5\x0b"),
        length("a NUL", " 5\0"),
        length("an Arabic digit", " \u{0665}"),
        case("space before the colon", &[400], format!("{POST}Content-Length : 5\r\n\r\nhello")),
        case("tab before the colon", &[400], format!("{POST}Content-Length\t: 5\r\n\r\nhello")),
    ];
    refuses_all(&gateway, &origin, cases);
}

#[test]
fn codings_other_than_one_plain_chunked_are_refused() {
    let (origin, gateway) = bed();
    let coding = |name, statuses, value: &str| {
        case(name, statuses, format!("{POST}Transfer-Encoding:{value}\r\n\r\n0\r\n\r\n"))
    };
    let either: &[u16] = &[400, 501];
    let cases = vec![
        coding("unknown", &[501], " xchunked"),
        coding("gzip alone", either, " gzip"),
        coding("gzip, then chunked", &[501], " gzip, chunked"),
        coding("chunked, then gzip", either, " chunked, gzip"),
        coding("identity", either, " identity"),
        coding("chunked, identity", either, " chunked, identity"),
        coding("chunked twice in a list", either, " chunked, chunked"),
        coding("with a parameter", either, " chunked;q=1"),
        coding("quoted", either, " \"chunked\""),
        coding("empty", either, ""),
        coding("only a comma", either, " ,"),
        coding("leading comma", either, " ,chunked"),
        coding("trailing comma", either, " chunked,"),
        coding("vertical tab", &[400], "\x0bchunked"),
        coding("NUL inside", &[400], " chu\0nked"),
        coding("NUL behind", &[400], " chunked\0"),
        coding("bare CR behind", &[400], " chunked\r"),
        coding("bare LF behind", &[400], " chunked\n"),
        case(
            "two fields",
            either,
            format!("{POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        case(
            "a second, unknown field",
            either,
            format!("{POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n"),
        ),
        case("space before the colon", &[400], format!("{POST}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n")),
        case("folded", &[400], format!("{POST}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n")),
        case(
            "on HTTP/1.0",
            &[400],
            "POST / HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    ];
    refuses_all(&gateway, &origin, cases);
}

#[test]
fn chunks_that_are_not_by_the_grammar_are_refused() {
    let (origin, gateway) = bed();
    let chunk =
        |name, body: &str| case(name, &[400], format!("{POST}Transfer-Encoding: chunked\r\n\r\n{body}"));
    let good = "\r\nhello\r\n0\r\n\r\n";
    let long = "x".repeat(100_000);
    let cases = vec![
        chunk("0x", &format!("0x5{good}")),
        chunk("plus", &format!("+5{good}")),
        chunk("minus", "-5\r\nhello\r\n0\r\n\r\n"),
        chunk("space before", &format!(" 5{good}")),
        chunk("tab before", &format!("\t5{good}")),
        chunk("underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        chunk("no digits", "\r\nhello\r\n0\r\n\r\n"),
        chunk("only an extension", ";a\r\nhello\r\n0\r\n\r\n"),
        chunk("no hexadecimal", "g\r\nhello\r\n0\r\n\r\n"),
        chunk("more than 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        chunk("very long size", &format!("{}5{good}", "0".repeat(10_000))),
        chunk("LF ends the size", "5\nhello\r\n0\r\n\r\n"),
        chunk("CR ends the size", "5\rhello\r\n0\r\n\r\n"),
        chunk("data longer than the size", "4\r\nhello\r\n0\r\n\r\n"),
        chunk("data without CRLF", "5\r\nhello0\r\n\r\n"),
        chunk("data ended by LF", "5\r\nhello\n0\r\n\r\n"),
        chunk("data ended by CR", "5\r\nhello\r0\r\n\r\n"),
        chunk("any two bytes for CRLF", "5\r\nhelloxx0\r\n\r\n"),
        chunk("CR in an extension", &format!("5;a\rb{good}")),
        chunk("LF in an extension", &format!("5;a\nb{good}")),
        chunk("NUL in an extension", &format!("5;a\0b{good}")),
        chunk("control byte in an extension", &format!("5;a\x01b{good}")),
        chunk("CR in a quoted extension", &format!("5;a=\"\rb\"{good}")),
        chunk("LF in a quoted extension", &format!("5;a=\"\nb\"{good}")),
        chunk("an endless extension", &format!("5;{long}{good}")),
        chunk("last chunk ended by LF", "0\n\r\n"),
        chunk("end ended by LF", "0\r\n\n"),
        chunk("trailer without a colon", "0\r\nx\r\n\r\n"),
        chunk("trailer with a space before the colon", "0\r\nx : 1\r\n\r\n"),
        chunk("folded trailer", "0\r\nx: 1\r\n y\r\n\r\n"),
        chunk("NUL in a trailer", "0\r\nx: a\0b\r\n\r\n"),
        chunk("bare CR in a trailer", "0\r\nx: a\rb\r\n\r\n"),
    ];
    refuses_all(&gateway, &origin, cases);
}

#[test]
fn many_chunks_with_extensions_are_refused_before_they_add_up() {
    let (origin, gateway) = bed();
    let mut client = gateway.connect();
    client.send(format!("{POST}Transfer-Encoding: chunked\r\n\r\n"));
    let one = format!("1;{}\r\nx\r\n", "e".repeat(1_000));
    let mut sent = 0;
    while sent < 32 << 20 && client.try_send(one.repeat(100)).is_ok() {
        sent += one.len() * 100;
    }
    assert!(sent < 32 << 20, "32 MiB of extensions were taken");
    assert!(origin.requests().iter().all(|r| !r.is_complete));
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn field_lines_that_are_not_by_the_grammar_are_refused() {
    let (origin, gateway) = bed();
    let line = |name, text: &str| case(name, &[400], format!("{GET}{text}\r\n\r\n"));
    let cases = vec![
        line("space in a name", "X A: 1"),
        line("space before the colon", "X-A : 1"),
        line("tab before the colon", "X-A\t: 1"),
        line("no colon", "X-A"),
        line("empty name", ": 1"),
        line("NUL in a name", "X\0A: 1"),
        line("NUL in a value", "X-A: a\0b"),
        line("control byte in a value", "X-A: a\x01b"),
        line("DEL in a value", "X-A: a\x7fb"),
        line("bare CR in a value", "X-A: a\rb"),
        line("bare CR and a field", "X-A: a\rContent-Length: 5"),
        line("bare LF between fields", "X-A: a\nX-B: b"),
        line("folding by a space", "X-A: a\r\n b"),
        line("folding by a tab", "X-A: a\r\n\tb"),
        line("separator in a name", "X(A): 1"),
        line("quoted name", "\"X-A\": 1"),
        case("not ASCII in a name", &[400], [GET.as_bytes(), b"X-\xe9: 1\r\n\r\n"].concat()),
        case("space before the first field", &[400], "GET / HTTP/1.1\r\n Host: t\r\nHost: t\r\n\r\n"),
        case("only LF ends every line", &[400], "GET / HTTP/1.1\nHost: t\n\n"),
        case("LF ends the head", &[400], "GET / HTTP/1.1\r\nHost: t\r\n\n"),
        case("LF ends the request line", &[400], "GET / HTTP/1.1\nHost: t\r\n\r\n"),
    ];
    refuses_all(&gateway, &origin, cases);
}

#[test]
fn request_lines_that_are_not_by_the_grammar_are_refused() {
    let (origin, gateway) = bed();
    let line = |name, text: &str| case(name, &[400], format!("{text}\r\nHost: t\r\n\r\n"));
    let version: &[u16] = &[400, 505];
    let cases = vec![
        line("two spaces before the target", "GET  / HTTP/1.1"),
        line("two spaces before the version", "GET /  HTTP/1.1"),
        line("space at the end", "GET / HTTP/1.1 "),
        line("space at the start", " GET / HTTP/1.1"),
        line("tabs", "GET\t/\tHTTP/1.1"),
        line("space in the target", "GET /a b HTTP/1.1"),
        line("no version", "GET /"),
        line("no target", "GET HTTP/1.1"),
        line("lower-case protocol", "GET / http/1.1"),
        line("bare CR", "GET /\r HTTP/1.1"),
        line("NUL in the target", "GET /\0 HTTP/1.1"),
        line("control byte in the target", "GET /\x01 HTTP/1.1"),
        line("DEL in the target", "GET /\x7f HTTP/1.1"),
        line("separator in the method", "GE(T / HTTP/1.1"),
        line("target that is no path", "GET foo HTTP/1.1"),
        line("star with a method other than OPTIONS", "GET * HTTP/1.1"),
        line("fragment", "GET /a#b HTTP/1.1"),
        case("unknown minor version", version, "GET / HTTP/1.2\r\nHost: t\r\n\r\n"),
        case("unknown major version", version, "GET / HTTP/3.0\r\nHost: t\r\n\r\n"),
        case("version with two digits", version, "GET / HTTP/1.10\r\nHost: t\r\n\r\n"),
        case("version with a letter", version, "GET / HTTP/1.x\r\nHost: t\r\n\r\n"),
        case("almost the HTTP/2 preface", version, "PRI * HTTP/2.0\r\nHost: t\r\n\r\n"),
        case("a TLS hello", &[400], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
    ];
    refuses_all(&gateway, &origin, cases);
}

#[test]
fn hosts_that_are_not_one_plain_name_are_refused() {
    let (origin, gateway) = bed();
    let host = |name, fields: &str| case(name, &[400], format!("GET / HTTP/1.1\r\n{fields}\r\n"));
    let cases = vec![
        host("missing", ""),
        host("twice the same", "Host: t\r\nHost: t\r\n"),
        host("two", "Host: t\r\nHost: u\r\n"),
        host("empty", "Host:\r\n"),
        host("comma", "Host: t,u\r\n"),
        host("user information", "Host: u@t\r\n"),
        host("path", "Host: t/x\r\n"),
        host("space", "Host: t u\r\n"),
        host("query", "Host: t?x\r\n"),
        host("backslash", "Host: t\\u\r\n"),
        host("port with a letter", "Host: t:8x\r\n"),
        host("port too large", "Host: t:65536\r\n"),
        host("two ports", "Host: t:80:80\r\n"),
        host("open bracket", "Host: [::1\r\n"),
        host("bracket without an address", "Host: [x]\r\n"),
        host("only a port", "Host: :80\r\n"),
    ];
    refuses_all(&gateway, &origin, cases);
}

#[test]
fn what_only_looks_odd_is_served() {
    let (_origin, gateway) = bed();
    for bytes in [
        format!("{GET}\r\n"),
        format!("{GET}X-Empty:\r\n\r\n"),
        format!("{GET}X-Tab:\ta\tb\t\r\n\r\n"),
        format!("{GET}X-Latin: caf\u{e9}\r\n\r\n"),
        format!("{POST}Content-Length: 0\r\n\r\n"),
        format!("{POST}Content-Length: 005\r\n\r\nhello"),
        format!("{POST}Transfer-Encoding: Chunked\r\n\r\n5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n"),
        format!("{POST}Transfer-Encoding: chunked\r\n\r\n0005\r\nhello\r\n00\r\n\r\n"),
        "GET / HTTP/1.1\r\nHost: t:8080\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n".to_owned(),
        "M-SEARCH / HTTP/1.1\r\nHost: t\r\n\r\n".to_owned(),
    ] {
        let mut client = gateway.connect();
        client.send(&bytes);
        assert_eq!(client.response().status, 200, "{}", bytes.escape_debug());
        assert_eq!(client.get("t", "/").status, 200, "after {}", bytes.escape_debug());
    }
}

#[test]
fn a_body_that_is_cut_never_becomes_a_complete_request() {
    let (origin, gateway) = bed();
    for bytes in [
        format!("{POST}Content-Length: 100\r\n\r\nhello"),
        format!("{POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        format!("{POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"),
    ] {
        let mut client = gateway.connect();
        client.send(&bytes);
        client.half_close();
        let _ = client.rest();
        drop(client);
        weir_testkit::wait::until_true("the upstream request to be given up", || {
            origin.requests().iter().all(|r| !r.is_complete) && origin.open_count() == 0
        });
    }
}
