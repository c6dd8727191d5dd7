//! Answers that are compressed on their way, against the decoders of curl.

use std::io::Read;
use std::process::{Command, Stdio};

use weir_testkit::{After, Gate, Gateway, Nginx, Origin, curl};

use crate::Config;

const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

/// Text that compresses about as well as text does.
fn text(bytes: usize) -> String {
    let words = ["gateway", "listener", "route", "policy", "upstream", "endpoint", "balancer"];
    let mut text = String::with_capacity(bytes + 20);
    let mut at = 7_usize;
    while text.len() < bytes {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(words[(at >> 33) % words.len()]);
        text.push(' ');
    }
    text
}

fn compressing(origin: &Origin) -> Gateway {
    Config::to([origin.addr()]).route("policies: [ { compress: {} } ]").start()
}

/// An origin that answers each path with its own framing of one text.
fn pages(body: &str) -> Origin {
    let body = body.to_owned();
    Origin::start(move |request, connection| {
        let fields = [("Content-Type", "text/html"), ("ETag", "\"v1\""), ("Accept-Ranges", "bytes")];
        let is_head = request.head.start.starts_with("HEAD");
        if request.head.start.contains("/chunked") {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = connection.write(head);
            for piece in body.as_bytes().chunks(10_000) {
                let _ =
                    connection.write([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
            }
            let _ = connection.write("0\r\n\r\n");
        } else if is_head {
            let _ = connection.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"v1\"\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
        } else {
            connection.respond(200, &fields, &body);
        }
        After::KeepOpen
    })
}

#[test]
fn curl_reads_what_the_origin_wrote_in_every_coding() {
    let body = text(3 << 20);
    let origin = pages(&body);
    let gateway = compressing(&origin);
    for path in ["/length", "/chunked"] {
        let url = format!("http://{}{path}", gateway.addr("web"));
        for coding in CODINGS {
            let accept = format!("Accept-Encoding: {coding}");
            let read = curl(&["--compressed", "-H", &accept, &url]);
            assert!(read.exit == 0 && read.stdout == body, "{path} {coding}: {}", read.stderr);
            let format =
                ["-o", "/dev/null", "-w", "%{size_download} %header{content-encoding} %header{vary}"];
            let told = curl(&[&format[..], &["-H", &accept, &url]].concat()).stdout;
            let (size, rest) = told.split_once(' ').unwrap();
            assert_eq!(rest, format!("{coding} Accept-Encoding"), "{path}");
            assert!(size.parse::<usize>().unwrap() < body.len() / 3, "{path} {coding}: {size}");
        }
    }
    let plain = curl(&[&format!("http://{}/length", gateway.addr("web"))]);
    assert_eq!(plain.stdout, body);
}

/// The versions of HTTP in front, as curl is told them.
const FRONTS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];

#[test]
fn every_version_in_front_and_behind_carries_what_is_compressed() {
    let body = text(2 << 20);
    for (listen, upstream) in [("", "http: \"1.1\""), ("http2", "http: \"2\"")] {
        let nginx = Nginx::listening(listen, "types { text/css css; }");
        std::fs::write(nginx.root().join("a.css"), &body).unwrap();
        let gateway =
            Config::to([nginx.addr()]).upstream(upstream).route("policies: [ { compress: {} } ]").start();
        let url = format!("http://{}/a.css", gateway.addr("web"));
        for front in FRONTS {
            for coding in CODINGS {
                let accept = format!("Accept-Encoding: {coding}");
                let read = curl(&["--compressed", front, "-H", &accept, &url]);
                assert!(
                    read.exit == 0 && read.stdout == body,
                    "{front} {upstream} {coding}: {}",
                    read.stderr
                );
                let head = curl(&[front, "-I", "-H", &accept, &url]).stdout.to_ascii_lowercase();
                assert!(head.contains(&format!("content-encoding: {coding}")), "{front} {upstream}: {head}");
                assert!(head.contains("etag: w/\"") && !head.contains("content-length"), "{head}");
            }
        }
    }
}

#[test]
fn a_head_request_is_told_what_a_get_would_be() {
    let origin = pages(&text(5_000));
    let gateway = compressing(&origin);
    let ask = |method: &str| {
        let mut client = gateway.connect();
        client.send(format!("{method} /length HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip\r\n\r\n"));
        client.read_response(method).unwrap()
    };
    let (get, head) = (ask("GET"), ask("HEAD"));
    for name in ["content-encoding", "vary", "etag", "content-type", "content-length", "accept-ranges"] {
        assert_eq!(get.field(name), head.field(name), "{name}");
    }
    assert_eq!((get.field("etag"), get.field("content-length")), (Some("W/\"v1\""), None));
    assert!(head.body.is_empty() && get.body.starts_with(&[0x1f, 0x8b]));
}

#[test]
fn a_weak_tag_comes_back_to_the_upstream_as_it_is() {
    let origin = pages(&text(5_000));
    let gateway = compressing(&origin);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip\r\nIf-None-Match: W/\"v1\"\r\n\r\n");
    client.response();
    assert_eq!(origin.only_request().field("if-none-match"), Some("W/\"v1\""));
}

#[test]
fn what_the_origin_has_written_can_be_decoded_while_it_pauses() {
    for coding in CODINGS {
        let gate = Gate::new();
        let held = gate.clone();
        let origin = Origin::start(move |_, connection| {
            let _ = connection
                .write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n");
            let _ = connection.write("6\r\nfirst\n\r\n");
            held.wait();
            let _ = connection.write("7\r\nsecond\n\r\n0\r\n\r\n");
            After::KeepOpen
        });
        let gateway = compressing(&origin);
        let mut client = Command::new("curl")
            .args(["-sN", "--max-time", "30", "--compressed", "-H", &format!("Accept-Encoding: {coding}")])
            .arg(format!("http://{}/", gateway.addr("web")))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = client.stdout.take().unwrap();
        let mut first = [0; 6];
        out.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"first\n", "{coding}");
        gate.open();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "second\n", "{coding}");
        assert!(client.wait().unwrap().success());
    }
}

#[test]
fn event_streams_and_clients_of_old_get_the_body_as_it_is() {
    let origin = Origin::start(|_, connection| {
        connection.respond(200, &[("Content-Type", "text/event-stream")], "data: 1\n\n".repeat(500));
        After::KeepOpen
    });
    let gateway = compressing(&origin);
    let events =
        curl(&["-i", "-H", "Accept-Encoding: gzip, br, zstd", &format!("http://{}/", gateway.addr("web"))]);
    assert!(
        events.stdout.contains("data: 1") && !events.stdout.contains("content-encoding"),
        "{}",
        events.stdout
    );

    let origin = pages(&text(5_000));
    let gateway = compressing(&origin);
    let old = curl(&[
        "-i",
        "--http1.0",
        "-H",
        "Accept-Encoding: gzip",
        &format!("http://{}/", gateway.addr("web")),
    ]);
    assert!(
        old.stdout.contains("vary: Accept-Encoding") && old.stdout.ends_with(&text(5_000)),
        "{}",
        old.exit
    );
}

#[test]
fn an_answer_that_is_cut_is_not_taken_for_the_whole() {
    let origin = Origin::start(|_, connection| {
        let _ =
            connection.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n");
        let _ = connection.write(text(50_000));
        After::Close
    });
    let gateway = compressing(&origin);
    for coding in CODINGS {
        let accept = format!("Accept-Encoding: {coding}");
        let read = curl(&["--compressed", "-H", &accept, &format!("http://{}/", gateway.addr("web"))]);
        assert_ne!(read.exit, 0, "{coding}");
    }
}
