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
