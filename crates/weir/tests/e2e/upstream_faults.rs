//! What upstreams do wrong, and that none of it reaches the client as a whole answer.

use weir_testkit::{After, Gate, Origin, Problem, ReadError, Refusing, behaviour, wait};

use crate::Config;

#[test]
fn malformed_answers_become_502() {
    let head = "HTTP/1.1 200 OK\r\n";
    let mut wrong = Vec::new();
    for (name, answer) in [
        ("garbage", "\x16\x03\x01 nonsense\r\n\r\n".to_owned()),
        ("another protocol", "SSH-2.0-OpenSSH_9\r\n\r\n".to_owned()),
        ("status of two digits", "HTTP/1.1 20 OK\r\n\r\n".to_owned()),
        ("status of letters", "HTTP/1.1 abc OK\r\n\r\n".to_owned()),
        ("status of four digits", "HTTP/1.1 2000 OK\r\n\r\n".to_owned()),
        ("status below 100", "HTTP/1.1 099 OK\r\n\r\n".to_owned()),
        (
            "length and coding",
            format!("{head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        ("two lengths", format!("{head}Content-Length: 2\r\nContent-Length: 3\r\n\r\nokk")),
        ("a list of lengths", format!("{head}Content-Length: 2, 3\r\n\r\nokk")),
        ("negative length", format!("{head}Content-Length: -2\r\n\r\nok")),
        ("length with a plus", format!("{head}Content-Length: +2\r\n\r\nok")),
        ("unknown coding", format!("{head}Transfer-Encoding: gzip\r\n\r\nok")),
        (
            "chunked on 1.0",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_owned(),
        ),
        ("NUL in a value", format!("{head}X-A: a\0b\r\nContent-Length: 0\r\n\r\n")),
        ("bare CR in a value", format!("{head}X-A: a\rSet-Cookie: x\r\nContent-Length: 0\r\n\r\n")),
        ("space before the colon", format!("{head}X-A : 1\r\nContent-Length: 0\r\n\r\n")),
        ("no colon", format!("{head}X-A\r\nContent-Length: 0\r\n\r\n")),
        (
            "a head without an end",
            format!("{head}{}", "X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(10_000)),
        ),
        (
            "switching without being asked",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_owned(),
        ),
    ] {
        let origin = Origin::start(behaviour::raw(answer, After::Close));
        let gateway = Config::to([origin.addr()]).upstream("retry: { attempts: 1 }").start();
        let response = gateway.get("/x");
        if response.status != 502 || response.field("weir-error") != Some("upstream-malformed") {
            wrong.push(format!("{name}: {response:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Goal: no endpoint can end its head where the gateway sees none, or begin another answer within its own (attack row 29).
#[test]
fn an_answer_cannot_be_split_by_its_head() {
    let head = "HTTP/1.1 200 OK\r\n";
    let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Forged: 1\r\n\r\nforged";
    let mut wrong = Vec::new();
    for (name, answer) in [
        ("the head ends with bare LFs", format!("{head}X-A: 1\n\nContent-Length: 0\r\n\r\n{forged}")),
        ("a line ends with a bare LF", format!("{head}X-A: 1\nX-Forged: 1\r\nContent-Length: 0\r\n\r\n")),
        ("a line ends with a bare CR", format!("{head}X-A: 1\rX-Forged: 1\r\nContent-Length: 0\r\n\r\n")),
        ("the status line ends with a bare LF", format!("HTTP/1.1 200 OK\n{}", &forged[17..])),
        ("a CR in the reason", "HTTP/1.1 200 O\rX-Forged: 1\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("a NUL in the reason", "HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("a folded line", format!("{head}X-A: 1\r\n X-Forged: 1\r\nContent-Length: 0\r\n\r\n")),
        ("a fold by a tab", format!("{head}X-A: 1\r\n\tX-Forged: 1\r\nContent-Length: 0\r\n\r\n")),
        ("a folded first line", format!("{head} X-Forged: 1\r\nContent-Length: 0\r\n\r\n")),
        ("a control byte in a value", format!("{head}X-A: a\x0bb\r\nContent-Length: 0\r\n\r\n")),
        ("a DEL in a value", format!("{head}X-A: a\x7fb\r\nContent-Length: 0\r\n\r\n")),
        ("a space in a name", format!("{head}X A: 1\r\nContent-Length: 0\r\n\r\n")),
        ("a colon alone", format!("{head}: 1\r\nContent-Length: 0\r\n\r\n")),
        ("a length in a hidden line", format!("{head}Content-Length : 0\r\n\r\n{forged}")),
        ("a length twice in one field", format!("{head}Content-Length: 0, 0\r\n\r\n{forged}")),
        ("a length in hexadecimal", format!("{head}Content-Length: 0x0\r\n\r\n{forged}")),
        ("a length with a space inside", format!("{head}Content-Length: 0 0\r\n\r\n{forged}")),
        ("an empty length", format!("{head}Content-Length:\r\n\r\n{forged}")),
        ("a length of 2^64", format!("{head}Content-Length: 18446744073709551616\r\n\r\n{forged}")),
        ("a coding twice", format!("{head}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n{forged}")),
        (
            "two codings",
            format!("{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
        ),
        ("a coding with a control byte", format!("{head}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n")),
        ("a coding that only looks like it", format!("{head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")),
        ("a version of two digits", "HTTP/1.10 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("a version that is no HTTP/1", "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("a version in lower case", "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("a tab behind the version", "HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("too many interim answers", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(40) + forged),
        ("a split in an interim answer", format!("HTTP/1.1 103 Early\r\nLink: a\rb\r\n\r\n{forged}")),
    ] {
        let origin = Origin::start(behaviour::raw(answer, After::Close));
        let gateway = Config::to([origin.addr()]).upstream("retry: { attempts: 1 }").start();
        let mut client = gateway.connect();
        client.send("GET /x HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        let bytes = client.rest().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        // Interim answers that are whole may have passed before the fault was seen.
        let last = text.rsplit("\r\n\r\nHTTP/1.1 ").find(|part| part.contains("weir-error")).unwrap_or(&text);
        let refused = last.trim_start_matches("HTTP/1.1 ").starts_with("502 ")
            && last.contains("weir-error: upstream-malformed\r\n");
        if !refused || text.to_lowercase().contains("forged") {
            wrong.push(format!("{name}: {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_refused_connection_is_502_and_named() {
    let refusing = Refusing::start();
    let gateway = Config::to([refusing.addr()]).start();
    let problem = Problem::expect(&gateway.get("/a?token=s3cret"), 502, "connect-failed");
    assert_eq!(problem.instance, "/a");
    assert!(!problem.detail.contains("s3cret"));
}

#[test]
fn an_upstream_that_closes_or_resets_before_its_head_is_502() {
    for after in [After::Close, After::Reset] {
        let origin = Origin::start(move |_, _| after);
        let gateway = Config::to([origin.addr()]).upstream("retry: { attempts: 1 }").start();
        Problem::expect(&gateway.get("/"), 502, "upstream-closed");
    }
    let origin = Origin::start(behaviour::raw("HTTP/1.1 200 OK\r\nContent-Le", After::Close));
    let gateway = Config::to([origin.addr()]).upstream("retry: { attempts: 1 }").start();
    let response = gateway.get("/");
    assert_eq!(response.status, 502, "{response:?}");
}

#[test]
fn a_body_cut_by_the_upstream_is_cut_for_the_client() {
    for after in [After::Close, After::Reset] {
        let by_length = Origin::start(behaviour::dies_mid_body(10, after));
        let by_chunks = Origin::start(behaviour::raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            after,
        ));
        let within_chunk = Origin::start(behaviour::raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhello",
            after,
        ));
        let before_the_end = Origin::start(behaviour::raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            after,
        ));
        for origin in [by_length, by_chunks, within_chunk, before_the_end] {
            let gateway = Config::to([origin.addr()]).upstream("retry: { attempts: 1 }").start();
            let mut client = gateway.connect();
            client.send("GET /cut HTTP/1.1\r\nHost: t\r\n\r\n");
            match client.read_response("GET") {
                Err(ReadError::Cut { .. } | ReadError::Reset) => {
                    assert_eq!(gateway.access_line("/cut")["error"], "upstream-cut");
                }
                // A reset may overtake the head; then the client must be told so.
                Ok(response) => assert_eq!(response.status, 502, "{response:?}"),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_malformed_chunk_in_the_middle_cuts_the_answer() {
    for chunk in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5;a\0\r\nhello\r\n0\r\n\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n{chunk}");
        let origin = Origin::start(behaviour::raw(answer, After::KeepOpen));
        let gateway = Config::to([origin.addr()]).start();
        let mut client = gateway.connect();
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        match client.read_response("GET") {
            Err(ReadError::Cut { .. } | ReadError::Reset) => {}
            Ok(response) => assert_eq!(response.status, 502, "{}", chunk.escape_debug()),
            Err(other) => panic!("{}: {other:?}", chunk.escape_debug()),
        }
    }
}

#[test]
fn bytes_after_an_answer_belong_to_nobody() {
    let origin = Origin::start(|request, connection| {
        let extra = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
        let path = &request.target;
        let length = path.len();
        let _ = connection.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}{extra}"));
        After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    for n in 0..10 {
        let path = format!("/{n}");
        assert_eq!(client.get("t", &path).text(), path);
    }
    assert_eq!(origin.connection_count(), 10, "a dirty connection was used again");
}

#[test]
fn bytes_that_come_while_a_connection_rests_make_it_useless() {
    let late = Gate::new();
    let written = Gate::new();
    let origin = Origin::start({
        let (late, written) = (late.clone(), written.clone());
        move |request, connection| {
            connection.respond(200, &[], &request.target);
            if request.connection == 0 {
                late.wait();
                let _ = connection.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
                written.open();
            }
            After::KeepOpen
        }
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    assert_eq!(client.get("t", "/1").text(), "/1");
    late.open();
    written.wait();
    assert_eq!(client.get("t", "/2").text(), "/2");
}

#[test]
fn an_upstream_that_closes_between_requests_is_not_noticed_by_clients() {
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).upstream("retry: { attempts: 1 }").start();
    let mut client = gateway.connect();
    for n in 0..20 {
        client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(client.response().text(), "hi", "request {n}");
        origin.close_connections();
        wait::until_true("the closed connection", || origin.open_count() == 0);
    }
    assert_eq!(origin.request_count(), 20);
}

#[test]
fn an_answer_that_announces_close_ends_the_upstream_connection() {
    let origin = Origin::start(|_, connection| {
        connection.respond(200, &[("Connection", "close")], "ok");
        connection.wait_for_close();
        After::Close
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    for n in 1..=5 {
        let response = client.get("t", "/");
        assert!(!response.announces_close(), "the upstream's close is not the client's");
        assert_eq!(origin.connection_count(), n);
    }
    wait::until_true("all upstream connections closed", || origin.open_count() == 0);
}

#[test]
fn a_100_that_never_comes_does_not_hold_the_request_for_ever() {
    let origin = Origin::start_on_head(|request, connection| {
        // Reads the body without ever having said 100, as HTTP/1.0 servers do.
        request.head.fields.0.retain(|(name, _)| !name.eq_ignore_ascii_case("expect"));
        if connection.read_body(request).is_err() {
            return After::Close;
        }
        connection.respond(200, &[], &request.body);
        After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    // RFC 9110 10.1.1: a client does not wait for ever either.
    if client.is_quiet_for(std::time::Duration::from_millis(300)) {
        client.send("hi");
        assert_eq!(client.response().text(), "hi");
    } else {
        client.send("hi");
        let response = client.response();
        assert_eq!((response.text().as_str(), response.interim.len()), ("hi", 1));
    }
}

#[test]
fn a_flapping_upstream_answers_whenever_it_is_up() {
    let mut origin = Origin::start(behaviour::fixed(200, "up"));
    let addr = origin.addr();
    let gateway = Config::to([addr]).start();
    for _ in 0..5 {
        assert_eq!(gateway.get("/").status, 200);
        origin.kill();
        assert!([502, 503].contains(&gateway.get("/").status));
        origin = Origin::start_at(addr, behaviour::fixed(200, "up"));
    }
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn a_status_made_one_without_a_body_takes_the_body_with_it() {
    let origin = Origin::start(behaviour::fixed(200, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL"));
    for status in [204, 304] {
        let route = format!("policies: [ {{ status: {{ 200: {status} }} }} ]");
        let gateway = Config::to([origin.addr()]).route(&route).start();
        let mut client = gateway.connect();
        for _ in 0..5 {
            let response = client.get("t", "/");
            assert_eq!((response.status, response.body.len()), (status, 0));
        }
    }
}

#[test]
fn an_interim_answer_announces_no_body() {
    let origin = Origin::start(behaviour::raw(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        After::KeepOpen,
    ));
    let gateway = Config::to([origin.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let (status, head) = client.head();
    assert_eq!(
        (status, head.fields.get("link"), head.fields.get("content-length")),
        (103, Some("</a>"), None)
    );
    assert_eq!(client.response().text(), "ok");
}
