//! TLS is passed through by what the ClientHello says; nothing is decrypted, and nothing is lost of what was looked at.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use weir_testkit::{Certificate, Ending, Gateway, Nginx, RawClient, TcpOrigin, curl};

use crate::tcp::{Tcp, end_of, ended};

/// A ClientHello as TLS 1.2 and 1.3 clients send it, with only what is looked at.
fn hello(name: Option<&str>, protocols: &[&str]) -> Vec<u8> {
    hello_of(name, protocols, 0)
}

/// The same with `padding` bytes more in an extension of their own.
fn hello_of(name: Option<&str>, protocols: &[&str], padding: usize) -> Vec<u8> {
    let with_length = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &with_length(body)].concat();
    let mut extensions = Vec::new();
    if let Some(name) = name {
        extensions.extend(extension(0, &with_length(&[&[0][..], &with_length(name.as_bytes())].concat())));
    }
    if !protocols.is_empty() {
        let list: Vec<u8> =
            protocols.iter().flat_map(|p| [&[p.len() as u8], p.as_bytes()].concat()).collect();
        extensions.extend(extension(16, &with_length(&list)));
    }
    if padding > 0 {
        extensions.extend(extension(21, &vec![0; padding]));
    }
    let fixed = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 0x01], &[1, 0]].concat();
    let body = [fixed, with_length(&extensions)].concat();
    let message = [&[1][..], &(body.len() as u32).to_be_bytes()[1..], &body].concat();
    let records = message.chunks(1 << 14).map(|content| [&[22, 3, 1][..], &with_length(content)].concat());
    records.collect::<Vec<_>>().concat()
}

/// Servers that say who they are as soon as they have read what the gateway has looked at.
struct Passthrough {
    _servers: Vec<TcpOrigin>,
    gateway: Gateway,
}

const LETTERS: [&str; 5] = ["A", "B", "C", "D", "E"];

impl Passthrough {
    /// A: `a.test`; B: `*.b.test`; C: `*.c.b.test`; D: any name with `h2`; E: the rest, where it is asked for.
    fn start(has_forward: bool, preread: &str) -> Self {
        // Each answers every byte by its letter and the byte.
        let script = |letter: &'static str| {
            move |mut client: RawClient| {
                if client.try_send(letter).is_err() {
                    return;
                }
                while let Ok(bytes) = client.some() {
                    if bytes.is_empty() || client.try_send(bytes).is_err() {
                        return;
                    }
                }
            }
        };
        let servers: Vec<TcpOrigin> = LETTERS.map(|letter| TcpOrigin::start(script(letter))).into();
        let mut config = Tcp::to([servers[4].addr()]);
        if !has_forward {
            config = config
                .without_forward()
                .another_listener("all: { bind: \"127.0.0.1:0\", tcp: { forward: app } }");
        }
        for (letter, server) in ["a", "b", "c", "d"].iter().zip(&servers) {
            config = config.another_upstream(&format!("{letter}: {{ endpoints: [\"{}\"] }}", server.addr()));
        }
        let gateway = config
            .tcp("routes:")
            .tcp("  - { sni: a.test, forward: a }")
            .tcp("  - { sni: \"*.b.test\", forward: b }")
            .tcp("  - { sni: \"*.c.b.test\", forward: c }")
            .tcp("  - { alpn: h2, forward: d }")
            .tcp(&format!("preread_timeout: {preread}"))
            .start();
        Self { _servers: servers, gateway }
    }

    /// Sends the bytes; the letter of the server they went to, which must have got exactly them.
    fn way_of(&self, bytes: &[u8]) -> String {
        let mut client = self.gateway.connect();
        client.send(bytes);
        let letter = client.exactly(1).expect("a server takes it");
        assert!(
            client.exactly(bytes.len()).expect("an echo") == bytes,
            "what was looked at is passed on whole"
        );
        String::from_utf8(letter).expect("a letter")
    }

    fn is_closed(&self, bytes: &[u8]) -> bool {
        let mut client = self.gateway.connect();
        client.send(bytes);
        client.ending() == Ending::Reset
    }
}

#[test]
fn the_most_specific_name_wins_and_then_the_protocol() {
    let here = Passthrough::start(true, "10s");
    for (name, protocols, letter) in [
        (Some("a.test"), &[][..], "A"),
        (Some("A.TEST"), &[], "A"),
        (Some("a.test"), &["h2"], "A"),
        (Some("x.b.test"), &[], "B"),
        (Some("x.y.b.test"), &["http/1.1"], "B"),
        (Some("x.c.b.test"), &[], "C"),
        (Some("b.test"), &[], "E"),
        (Some("other.test"), &["http/1.1", "h2"], "D"),
        (None, &["h2"], "D"),
        (None, &["http/1.1"], "E"),
        (None, &[], "E"),
    ] {
        assert_eq!(here.way_of(&hello(name, protocols)), letter, "{name:?} {protocols:?}");
    }
    let line = weir_testkit::wait::until("its log line", || {
        here.gateway.log_lines(|line| line["sni"] == "x.c.b.test").into_iter().next()
    });
    assert_eq!((&line["upstream"], &line["attempts"]), (&"c".into(), &1.into()), "{line}");
}

#[test]
fn a_hello_split_at_every_byte_goes_the_same_way() {
    let here = Passthrough::start(true, "10s");
    let whole = hello(Some("a.test"), &["h2"]);
    for at in 1..whole.len() {
        let mut client = here.gateway.connect();
        client.send(&whole[..at]);
        std::thread::yield_now();
        client.send(&whole[at..]);
        assert_eq!(client.exactly(1).unwrap(), b"A", "split at {at}");
        assert_eq!(client.exactly(whole.len()).unwrap(), whole, "split at {at}");
    }
    let mut client = here.gateway.connect();
    client.send_split(&whole, 1);
    assert_eq!(client.exactly(1 + whole.len()).unwrap()[0], b'A');
    // And in records of a few bytes each.
    let message = &whole[5..];
    let records: Vec<u8> =
        message.chunks(7).flat_map(|piece| [&[22, 3, 1, 0, piece.len() as u8][..], piece].concat()).collect();
    assert_eq!(here.way_of(&records), "A");
}

#[test]
fn a_long_hello_is_read_to_its_bound_and_a_longer_one_goes_to_forward() {
    let here = Passthrough::start(true, "10s");
    assert_eq!(here.way_of(&hello_of(Some("a.test"), &[], 14_000)), "A");
    assert_eq!(here.way_of(&hello_of(Some("a.test"), &[], 60_000)), "E");
    let closed = Passthrough::start(false, "10s");
    let mut client = closed.gateway.connect();
    // Whichever asks first is told of the reset.
    let sent = client.try_send(hello_of(Some("a.test"), &[], 60_000));
    assert!(sent.is_err() || client.ending() == Ending::Reset);
    assert_eq!(end_of(&closed.gateway, "bad_hello")["error"], "bad-request");
}

/// What is no hello, and how it ends where nothing is to be done with it.
fn others() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let whole = hello(Some("a.test"), &[]);
    let with = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    vec![
        ("plain text", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec(), "no_route"),
        ("a startup message of PostgreSQL", vec![0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f], "no_route"),
        ("SSL 2.0", vec![0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10], "no_route"),
        ("SSL 2.0 with a newer version", vec![0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10], "no_route"),
        ("another handshake message", with(5, 2), "no_route"),
        ("another version", with(9, 9), "bad_hello"),
        ("a name that is none", hello(Some("a b"), &[]), "bad_hello"),
        ("an empty record", vec![22, 3, 1, 0, 0, 22, 3, 1], "bad_hello"),
        ("lengths that disagree", with(45, 0xff), "bad_hello"),
    ]
}

#[test]
fn what_is_no_hello_goes_to_forward_byte_by_byte() {
    let here = Passthrough::start(true, "10s");
    for (what, bytes, _) in others() {
        assert_eq!(here.way_of(&bytes), "E", "{what}");
    }
}

#[test]
fn what_is_no_hello_is_reset_without_forward() {
    let here = Passthrough::start(false, "10s");
    for (what, bytes, end) in others() {
        let before = ended(&here.gateway, end);
        assert!(here.is_closed(&bytes), "{what}");
        assert_eq!(ended(&here.gateway, end), before + 1, "{what}");
    }
    assert!(here.is_closed(&hello(Some("unknown.test"), &[])));
    assert_eq!(here.way_of(&hello(Some("a.test"), &[])), "A");
}

#[test]
fn who_says_nothing_goes_to_forward_when_the_time_is_up() {
    let here = Passthrough::start(true, "300ms");
    let started = Instant::now();
    let mut silent = here.gateway.connect();
    let mut begun = here.gateway.connect();
    begun.send(&hello(Some("a.test"), &[])[..9]);
    assert_eq!(silent.exactly(1).unwrap(), b"E", "a server may be to speak first");
    assert_eq!(begun.exactly(1 + 9).unwrap()[0], b'E');
    assert!(started.elapsed() >= Duration::from_millis(250));

    let closed = Passthrough::start(false, "300ms");
    assert_eq!(closed.gateway.connect().ending(), Ending::Reset);
    end_of(&closed.gateway, "no_route");
}

#[test]
fn who_leaves_within_the_hello_reaches_no_server() {
    let here = Passthrough::start(true, "10s");
    let count = || here._servers.iter().map(TcpOrigin::connection_count).sum::<usize>();
    let mut client = here.gateway.connect();
    client.send(&hello(Some("a.test"), &[])[..20]);
    // A reset is no end: half a hello and a clean end would be a lie.
    client.reset();
    end_of(&here.gateway, "client_reset");
    drop(here.gateway.connect());
    end_of(&here.gateway, "client_gone");
    assert_eq!(count(), 0);
}

#[test]
fn silent_connections_make_room_for_others() {
    let here = Passthrough::start(true, "1h");
    let limited = here.gateway.reload(
        &std::fs::read_to_string(here.gateway.folder().join("weir.yaml"))
            .unwrap()
            .replace("admin:", "limits: { connections: 3 }\nadmin:"),
    );
    assert_eq!(limited.status, 200, "{limited:?}");
    let mut silent: Vec<RawClient> = (0..3).map(|_| here.gateway.connect()).collect();
    weir_testkit::wait::until_true("three connections", || {
        here.gateway.metrics().sum("weir_connections", &[]) as u64 == 3
    });
    assert_eq!(here.way_of(&hello(Some("a.test"), &[])), "A");
    end_of(&here.gateway, "overloaded");
    // One of them has gone, and the others are as they were.
    let speaks = |client: &mut RawClient| {
        let sent = client.try_send(hello(Some("x.b.test"), &[]));
        sent.is_ok() && client.exactly(1).is_ok_and(|letter| letter == b"B")
    };
    assert_eq!(silent.iter_mut().map(speaks).filter(|&speaks| speaks).count(), 2);
}

fn s_client(gateway: &Gateway, name: &str, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &gateway.addr("web").to_string(), "-servername", name])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed by scripts/test");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn real_clients_reach_the_server_whose_certificate_they_want() {
    let one = Certificate::for_names(&["one.test"]);
    let many = Certificate::for_names(&["many.test", "*.many.test"]);
    let serve = |certificate: &Certificate, text: &str| {
        let snippet = format!(
            "{} ssl_protocols TLSv1.2 TLSv1.3; location / {{ return 200 {text}; }}",
            certificate.nginx()
        );
        Nginx::listening("ssl http2", &snippet)
    };
    let (first, second) = (serve(&one, "first"), serve(&many, "second"));
    let gateway = Tcp::to([first.addr()])
        .without_forward()
        .another_upstream(&format!("two: {{ endpoints: [\"{}\"] }}", second.addr()))
        .tcp("routes:")
        .tcp("  - { sni: one.test, forward: app }")
        .tcp("  - { sni: [many.test, \"*.many.test\"], forward: two }")
        .start();
    let port = gateway.addr("web").port();
    for (name, certificate, text) in
        [("one.test", &one, "first"), ("many.test", &many, "second"), ("x.many.test", &many, "second")]
    {
        for version in ["--tlsv1.3", "--tls-max", "--http2"] {
            let version: &[&str] = if version == "--tls-max" { &["--tls-max", "1.2"] } else { &[version] };
            let resolve = format!("{name}:{port}:127.0.0.1");
            let (ca, url) = (certificate.file(), format!("https://{name}:{port}/"));
            let fixed = ["--resolve", &resolve, "--cacert", ca.to_str().unwrap(), &url];
            let answer = curl(&[version, &fixed].concat());
            assert_eq!(
                (answer.exit, answer.stdout.as_str()),
                (0, text),
                "{name} {version:?}: {}",
                answer.stderr
            );
        }
        let subject = if name == "one.test" { "CN = one.test" } else { "CN = many.test" };
        let shown = s_client(&gateway, name, &["-alpn", "h2"]);
        assert!(
            shown.replace("CN=", "CN = ").contains(subject) && shown.contains("ALPN protocol: h2"),
            "{shown}"
        );
    }
    let refused = s_client(&gateway, "other.test", &[]);
    assert!(refused.contains("no peer certificate available"), "{refused}");
    end_of(&gateway, "no_route");
}
