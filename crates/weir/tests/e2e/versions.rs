//! Every feature over every pair of versions: HTTP/1.1 and HTTP/2, each plain and within TLS, in front and behind.
//!
//! Two gateways stand in a row: what the first says to the second is what it says to an endpoint of that version, and
//! behind the second one is an origin that writes each byte by hand.

use std::fmt::Write as _;
use std::net::SocketAddr;

use weir_testkit::h2::{RawH2, data, flag, headers, kind};
use weir_testkit::{
    After, Authority, Certificate, Connection, Gateway, Origin, RawClient, Request, curl, websocket,
};

use crate::start;
use crate::tls::{TlsClient, tls};
use crate::upstream_tls::text;

/// The first segment of a path, which chooses what is spoken behind.
const BACKS: [&str; 4] = ["plain-1", "plain-2", "tls-1", "tls-2"];

/// What is spoken in front, as curl is told of it.
const FRONTS: [(&str, &str); 4] = [
    ("http", "--http1.1"),
    ("http", "--http2-prior-knowledge"),
    ("https", "--http1.1"),
    ("https", "--http2"),
];

const PAGE: &str = "<p>the same words again and again</p>\n";

/// Answers each path in its own way.
fn answer(request: &Request, connection: &mut Connection) -> After {
    let html = ("Content-Type", "text/html");
    match request.target.rsplit('/').next().unwrap_or_default() {
        "echo" => connection.respond(200, &[], &request.body),
        "page" => connection.respond(200, &[html, ("ETag", "\"v1\"")], PAGE.repeat(200)),
        "hints" => {
            let _ = connection.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
            connection.respond(200, &[], "hinted");
        }
        "trailers" => {
            let sum = request.trailers.get("x-sum").unwrap_or("none");
            let _ = connection.write(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n4\r\nbody\r\n0\r\nx-sum: {sum}+1\r\n\r\n"
            ));
        }
        "ws" => return weir_testkit::behaviour::websocket_echo(request, connection),
        _ => connection.respond(200, &[], "hello"),
    }
    After::KeepOpen
}

/// The two gateways and the origin.
struct Row {
    origin: Origin,
    first: Gateway,
    _second: Gateway,
    _certificate: Certificate,
    authority: Authority,
}

impl Row {
    fn start() -> Self {
        let authority = Authority::new("Row");
        let certificate = authority.issue(&["row.test"]);
        let origin = Origin::start(answer);
        let both = format!(
            "listeners:\n  plain: {{ bind: \"127.0.0.1:0\", http: {{}} }}\n  \
             secure:\n    bind: \"127.0.0.1:0\"\n    http: {{}}\n    {}\n",
            tls(&certificate)
        );
        let second = start(&format!(
            "{both}routes: [{{ forward: app }}]\nupstreams: {{ app: {{ endpoints: [\"{}\"] }} }}",
            origin.addr()
        ));
        let (mut routes, mut upstreams) = (String::new(), String::new());
        for back in BACKS {
            let (kind, version) = back.split_once('-').expect("a kind and a version");
            let version = if version == "1" { "1.1" } else { version };
            let (listener, tls) = match kind {
                "tls" => (
                    "secure",
                    format!("tls: {{ ca: {}, server_name: row.test }}", authority.file().display()),
                ),
                _ => ("plain", "tls: off".to_owned()),
            };
            let _ = writeln!(
                routes,
                "  - {{ match: {{ path: /{back}/* }}, forward: \"{back}\", policies: [\
                 {{ cors: {{ origins: [\"https://page.test\"] }} }}, {{ compress: {{}} }}] }}"
            );
            let _ = writeln!(
                upstreams,
                "  \"{back}\": {{ endpoints: [\"{}\"], http: \"{version}\", {tls} }}",
                second.addr(listener)
            );
        }
        let first = start(&format!("{both}routes:\n{routes}upstreams:\n{upstreams}"));
        Self { origin, first, _second: second, _certificate: certificate, authority }
    }

    fn addr(&self, scheme: &str) -> SocketAddr {
        self.first.addr(if scheme == "https" { "secure" } else { "plain" })
    }

    /// What curl prints, heads and all, over each pair; the pair and the path are what a failure is told with.
    fn each(&self, path: &str, more: &[&str], check: impl Fn(&str, &str)) {
        for (scheme, version) in FRONTS {
            for back in BACKS {
                let port = self.addr(scheme).port();
                let (resolve, file) = (format!("row.test:{port}:127.0.0.1"), self.authority.file());
                let url = format!("{scheme}://row.test:{port}/{back}/{path}");
                let own = [version, "--cacert", text(&file), "-i", "--resolve", &resolve, &url];
                let answer = curl(&[&own[..], more].concat());
                let name = format!("{scheme} {version} to {url}");
                assert_eq!(answer.exit, 0, "{name}: {}", answer.stderr);
                check(&name, &answer.stdout);
            }
        }
    }

    /// A gateway before the first one that says within TLS, over HTTP/2, what it is told by plain clients.
    fn bridge(&self) -> Gateway {
        start(&format!(
            "listeners: {{ web: {{ bind: \"127.0.0.1:0\", http: {{}} }} }}\nroutes: [{{ forward: app }}]\n\
             upstreams:\n  app:\n    endpoints: [\"{}\"]\n    http: \"2\"\n    \
             tls: {{ ca: {}, server_name: row.test }}",
            self.addr("https"),
            self.authority.file().display()
        ))
    }
}

/// A client of HTTP/1.1, plain or within TLS.
trait Bytes {
    fn say(&mut self, bytes: &[u8]);
    fn hear(&mut self, count: usize) -> Vec<u8>;

    fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.hear(1));
        }
        String::from_utf8(head).expect("a head is text")
    }
}

impl Bytes for RawClient {
    fn say(&mut self, bytes: &[u8]) {
        self.send(bytes);
    }

    fn hear(&mut self, count: usize) -> Vec<u8> {
        self.exactly(count).expect("the gateway answers")
    }
}

impl Bytes for TlsClient {
    fn say(&mut self, bytes: &[u8]) {
        self.send(bytes);
    }

    fn hear(&mut self, count: usize) -> Vec<u8> {
        self.exactly(count)
    }
}

#[test]
fn requests_answers_and_long_bodies_are_the_same_over_each_pair() {
    let row = Row::start();
    row.each("hello", &[], |name, told| assert!(told.ends_with("\r\n\r\nhello"), "{name}: {told}"));
    let body: String = (0..1_u32 << 20).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, &body).unwrap();
    let data = format!("@{}", file.display());
    for framing in ["X-Framing: length", "Transfer-Encoding: chunked"] {
        let more = ["-H", "Expect:", "-H", framing, "--data-binary", &data];
        row.each("echo", &more, |name, told| assert!(told.ends_with(&body), "{name}: {} bytes", told.len()));
    }
}

#[test]
fn early_hints_and_trailers_of_answers_pass_over_each_pair() {
    let row = Row::start();
    row.each("hints", &[], |name, told| {
        let (first, rest) = told.split_once("\r\n\r\n").unwrap();
        assert!(first.contains(" 103") && first.contains("ink: </a.css>; rel=preload"), "{name}: {told}");
        assert!(rest.contains(" 200") && rest.ends_with("hinted"), "{name}: {told}");
    });
    row.each("trailers", &["-H", "TE: trailers"], |name, told| {
        assert!(told.contains("body") && told.contains("x-sum: none+1"), "{name}: {told}");
    });
}

#[test]
fn answers_are_compressed_and_pages_told_who_may_read_over_each_pair() {
    let row = Row::start();
    for coding in ["zstd", "br", "gzip"] {
        let accept = format!("Accept-Encoding: {coding}");
        let more = ["--compressed", "-H", &accept, "-H", "Origin: https://page.test"];
        row.each("page", &more, |name, told| {
            let (head, body) = told.split_once("\r\n\r\n").unwrap();
            let head = head.to_ascii_lowercase();
            assert!(body == PAGE.repeat(200), "{name}: {} bytes", body.len());
            assert_eq!(head.matches(&format!("content-encoding: {coding}")).count(), 1, "{name}: {head}");
            assert!(head.contains("etag: w/\"v1\""), "{name}: {head}");
            assert_eq!(
                head.matches("access-control-allow-origin: https://page.test").count(),
                1,
                "{name}: {head}"
            );
        });
    }
    let asked = row.origin.request_count();
    let more =
        ["-X", "OPTIONS", "-H", "Origin: https://page.test", "-H", "Access-Control-Request-Method: GET"];
    row.each("page", &more, |name, told| {
        assert!(told.contains(" 204") && told.contains("allow-origin: https://page.test"), "{name}: {told}");
    });
    assert_eq!(row.origin.request_count(), asked);
}

#[test]
fn trailers_of_requests_pass_over_each_pair() {
    let row = Row::start();
    let bridge = row.bridge();
    for back in BACKS {
        let request = format!(
            "POST /{back}/trailers HTTP/1.1\r\nHost: row.test\r\nTE: trailers\r\nConnection: TE\r\n\
             Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n"
        );
        let plain = RawClient::connect(row.addr("http"));
        let secure = TlsClient::connect(row.addr("https"), "row.test");
        for client in [&mut { plain } as &mut dyn Bytes, &mut { secure }] {
            client.say(request.as_bytes());
            assert!(client.head().starts_with("HTTP/1.1 200 "), "{back}");
            let mut body = String::new();
            while !body.ends_with("\r\n\r\n") {
                body.push(char::from(client.hear(1)[0]));
            }
            assert!(body.ends_with("\r\n0\r\nx-sum: 7+1\r\n\r\n"), "{back}: {body}");
        }
        for addr in [row.addr("http"), bridge.addr("web")] {
            let mut client = RawH2::connect(addr);
            let path = format!("/{back}/trailers");
            let fields = [
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", "row.test"),
                (":path", &path),
                ("te", "trailers"),
            ];
            let stream = client.headers(0, &fields);
            client.send(data(stream, 0, "body"));
            client.send(headers(stream, flag::END_STREAM, &[("x-sum", "7")]));
            let answer = client.answer(stream);
            assert_eq!((answer.status, answer.text().as_str()), (200, "body"), "{back}");
            assert_eq!(answer.trailers.get("x-sum"), Some("7+1"), "{back}");
        }
    }
}

#[test]
fn websockets_pass_over_each_pair() {
    let row = Row::start();
    let bridge = row.bridge();
    let frames = [b"\x81\x05hello".as_slice(), b"\0\r\n\xff", &[7; 100_000]];
    for back in BACKS {
        let path = format!("/{back}/ws");
        let plain = RawClient::connect(row.addr("http"));
        let secure = TlsClient::connect(row.addr("https"), "row.test");
        for client in [&mut { plain } as &mut dyn Bytes, &mut { secure }] {
            client.say(websocket::handshake("row.test", &path).as_bytes());
            let head = client.head();
            assert!(head.starts_with("HTTP/1.1 101 "), "{back}: {head}");
            assert!(head.contains(&websocket::accept_of(websocket::KEY)), "{back}: {head}");
            for bytes in frames {
                client.say(bytes);
                assert!(client.hear(bytes.len()) == bytes, "{back}");
            }
        }
        for addr in [row.addr("http"), bridge.addr("web")] {
            let mut client = RawH2::connect(addr);
            let fields = [
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "http"),
                (":authority", "row.test"),
                (":path", &path),
                ("sec-websocket-version", "13"),
            ];
            let stream = client.headers(0, &fields);
            assert_eq!(client.frame_of(stream).unwrap().fields.get(":status"), Some("200"), "{back}");
            for bytes in frames {
                let mut got = Vec::new();
                for piece in bytes.chunks(10_000) {
                    client.send(data(stream, 0, piece));
                    let wanted = got.len() + piece.len();
                    while got.len() < wanted {
                        let frame = client.frame_of(stream).unwrap();
                        if frame.kind == kind::DATA {
                            got.extend(frame.payload);
                        }
                    }
                }
                assert!(got == bytes, "{back}");
            }
        }
    }
}
