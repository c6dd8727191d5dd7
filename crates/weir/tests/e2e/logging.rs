//! What is written down, and that nobody else writes there.

use weir_testkit::{Origin, behaviour, wait};

use crate::Config;

#[test]
fn an_access_line_has_all_its_fields() {
    let origin = Origin::start(behaviour::echo_body);
    let gateway = Config::to([origin.addr()]).top("service_name: edge").start();
    let mut client = gateway.connect();
    client.send("POST /a/b?c=d HTTP/1.1\r\nHost: site.example\r\nContent-Length: 5\r\n\r\nhello");
    client.response();
    let line = gateway.access_line("/a/b");
    for (field, value) in [
        ("service_name", "edge"),
        ("method", "POST"),
        ("host", "site.example"),
        ("route", "all"),
        ("upstream", "app"),
        ("client_ip", "127.0.0.1"),
        ("protocol", "HTTP/1.1"),
        ("endpoint", origin.addr().to_string().as_str()),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert_eq!((&line["http_status"], &line["attempts"]), (&200.into(), &1.into()), "{line}");
    assert_eq!(line["trace_id"].as_str().map(str::len), Some(32), "{line}");
    for field in ["timestamp", "level", "event"] {
        assert!(line[field].is_string(), "{field} in {line}");
    }
    assert!(
        line["timestamp"].as_str().is_some_and(|t| t.len() >= 20 && t.contains('T') && t.ends_with('Z')),
        "{line}"
    );
    assert!(line["duration_ms"].as_f64().is_some_and(|ms| (0.0..60_000.0).contains(&ms)), "{line}");
    assert!(line["bytes_in"].as_u64().is_some_and(|n| n >= 5), "{line}");
    assert!(line["bytes_out"].as_u64().is_some_and(|n| n >= 5), "{line}");
}

#[test]
fn an_access_log_that_cannot_be_opened_ends_the_start_and_is_named() {
    let yaml = Config::to(["127.0.0.1:9"]).top("log: { access: missing/access.log }").yaml();
    let (status, said) = crate::binary().start_refused(&yaml);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("missing/access.log: No such file or directory"), "{said}");
}

#[test]
fn an_error_is_logged_by_its_code() {
    let refusing = weir_testkit::Refusing::start();
    let gateway = Config::to([refusing.addr()]).start();
    gateway.get("/failing");
    let line = gateway.access_line("/failing");
    assert_eq!((&line["http_status"], &line["error"]), (&502.into(), &"connect-failed".into()), "{line}");
}

#[test]
fn secrets_in_a_query_are_starred() {
    let origin = Origin::start(behaviour::echo_head);
    let gateway = Config::to([origin.addr()]).start();
    let path =
        "/q?token=s3cret1&a=b&key=s3cret2&api_key=s3cret3&access_token=s3cret4&TOKEN=s3cret5&to%6ben=s3cret6";
    assert_eq!(gateway.get(path).status, 200);
    wait::until_true("the line", || {
        !gateway.log_lines(|l| l["path"].as_str().is_some_and(|p| p.starts_with("/q"))).is_empty()
    });
    let all = gateway.stdout_lines().join("\n") + &gateway.stderr();
    assert!(!all.contains("s3cret"), "{all}");
    assert!(origin.only_request().target.contains("s3cret1"), "the upstream gets what the client sent");
}

#[test]
fn nobody_writes_a_line_of_his_own() {
    for format in ["json", "text"] {
        let origin = Origin::start(behaviour::fixed(200, "ok"));
        let gateway = Config::to([origin.addr()]).top(&format!("log: {{ format: {format} }}")).start();
        let mut client = gateway.connect();
        client.send(
            "GET /inj%0A%7B%22event%22:%22forged%22%7D\"%1b[31m HTTP/1.1\r\nHost: t\r\n\
             User-Agent: \u{9b}31m\"} {\"event\":\"forged\"\r\nReferer: a\tb\r\n\r\n",
        );
        client.response();
        let mut client = gateway.connect();
        client.send("GET /\"quote\\back HTTP/1.1\r\nHost: t\"x\r\n\r\n");
        client.response();
        gateway.get("/last");
        wait::until_true("the last line", || {
            gateway.stdout_lines().iter().any(|line| line.contains("/last"))
        });
        for line in gateway.stdout_lines() {
            assert!(line.bytes().all(|b| b >= 0x20 && b != 0x7f), "control byte in {line:?}");
            assert!(!line.contains('\u{9b}'), "{line:?}");
            if format == "json" {
                let value: serde_json::Value =
                    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
                assert_ne!(value["event"], "forged");
            } else {
                assert!(!line.starts_with("{\"event\":\"forged"), "{line:?}");
            }
        }
    }
}

#[test]
fn every_line_of_both_streams_is_json_with_the_common_fields() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    gateway.get("/x");
    gateway.access_line("/x");
    gateway.reload("nonsense: [");
    wait::until_true("a line about it", || gateway.stderr().lines().count() > 3);
    for line in gateway.stdout_lines().iter().map(String::as_str).chain(gateway.stderr().lines()) {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        for field in ["timestamp", "level", "service_name", "event"] {
            assert!(value[field].is_string(), "{field} in {line}");
        }
    }
}

#[test]
fn the_access_log_may_be_off_or_a_file_that_is_reopened() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).top("log: { access: off }").start();
    gateway.get("/x");
    gateway.get("/y");
    assert!(gateway.stdout_lines().is_empty());

    let gateway = Config::to([origin.addr()]).top("log: { access: access.log }").start();
    let file = gateway.folder().join("access.log");
    let has = |path: &std::path::Path, word: &str| {
        std::fs::read_to_string(path).is_ok_and(|text| text.contains(word))
    };
    gateway.get("/before");
    wait::until_true("the first line", || has(&file, "/before"));
    let moved = gateway.folder().join("access.log.1");
    std::fs::rename(&file, &moved).unwrap();
    gateway.hang_up();
    wait::until_true("a new file", || {
        gateway.get("/after");
        has(&file, "/after")
    });
}

#[test]
fn a_reader_of_the_log_that_stops_does_not_stop_requests() {
    // The kit reads stdout; a pipe that nobody reads is made by a file that cannot grow.
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).top("log: { access: /dev/full }").start();
    for _ in 0..200 {
        assert_eq!(gateway.get("/").status, 200);
    }
}
