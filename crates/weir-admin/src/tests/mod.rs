//! The server as a whole, over sockets, with a gateway that is easy to know.

mod access;
mod bounds;
mod lockout;
mod openapi;
mod places;
mod resources;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_config::Secret;
use weir_net::BindAddress;

use crate::{
    EndpointOrder, Gateway, Guard, Readiness, ReloadAnswer, ReloadRejected, Server, TokenRefused,
    UnknownEndpoint,
};

/// Remembers what was ordered; its `config` panics and its reload fails on request.
#[derive(Default)]
struct Example {
    revision: AtomicU64,
    is_down: bool,
    is_broken: bool,
    orders: Mutex<Vec<(String, String, EndpointOrder)>>,
    refused: Mutex<Vec<TokenRefused>>,
}

impl Gateway for Example {
    fn readiness(&self) -> Readiness {
        Readiness { up: !self.is_down, dependencies: vec![("db".to_owned(), !self.is_down)] }
    }

    fn health(&self) -> Value {
        json!({ "status": "ok", "upstreams": ["db"] })
    }

    fn status(&self) -> Value {
        json!({ "revision": self.revision.load(Ordering::Relaxed) })
    }

    fn config(&self) -> Value {
        if self.is_broken {
            // A panic that prints nothing: what is tested is who survives it.
            std::panic::resume_unwind(Box::new("broken"));
        }
        json!({ "token": "***" })
    }

    fn routes(&self) -> Value {
        json!({ "routes": [] })
    }

    fn upstreams(&self) -> Value {
        json!({ "upstreams": [] })
    }

    fn certificates(&self) -> Value {
        json!({ "certificates": [] })
    }

    fn metrics(&self) -> String {
        "# TYPE weir_x gauge\nweir_x 1\n".to_owned()
    }

    fn reload(&self) -> ReloadAnswer {
        if self.is_broken {
            let text = "error[W0001]: `a` is bad\nerror[W0002]: `b` is bad".to_owned();
            let problems = json!([{ "code": "W0001" }, { "code": "W0002" }]);
            return Box::pin(async { Err(ReloadRejected { text, problems }) });
        }
        let revision = self.revision.fetch_add(1, Ordering::Relaxed) + 1;
        Box::pin(async move { Ok(revision) })
    }

    fn explain(&self, question: &Value) -> Result<Value, String> {
        let url = question.get("url").ok_or("`url` is missing")?;
        Ok(json!({ "url": url }))
    }

    fn set_endpoint(
        &self,
        upstream: &str,
        address: &str,
        order: EndpointOrder,
    ) -> Result<(), UnknownEndpoint> {
        if upstream != "app" {
            return Err(UnknownEndpoint);
        }
        self.orders.lock().unwrap().push((upstream.to_owned(), address.to_owned(), order));
        Ok(())
    }

    fn token_refused(&self, refused: &TokenRefused) {
        self.refused.lock().unwrap().push(refused.clone());
    }
}

const TOKEN: &str = "correct-horse-battery-staple";

struct Running {
    server: Server,
    gateway: Arc<Example>,
}

impl Running {
    fn start(gateway: Example, hosts: &[&str], token: Option<&str>) -> Self {
        let gateway = Arc::new(gateway);
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let guard = Guard::new(&hosts, token.map(Secret::new));
        let bind = "127.0.0.1:0".parse().unwrap();
        let server = Server::start(&bind, 0o600, guard, Arc::clone(&gateway) as Arc<dyn Gateway>).unwrap();
        Self { server, gateway }
    }

    fn example() -> Self {
        Self::start(Example::default(), &[], None)
    }

    fn addr(&self) -> SocketAddr {
        match self.server.address() {
            BindAddress::Tcp(address) => *address,
            BindAddress::Unix(path) => panic!("{path:?} is no TCP address"),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr()).await.unwrap()
    }

    /// One request on a connection of its own, with `Host: localhost` and these further lines.
    async fn ask(&self, line: &str, fields: &str) -> Reply {
        self.ask_raw(&format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await
    }

    async fn ask_raw(&self, request: &str) -> Reply {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let has_body = !request.starts_with("HEAD ");
        read_reply(&mut stream, &mut Vec::new(), has_body).await.expect("an answer")
    }
}

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn field(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map(str::trim)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Asserts that this is a problem of this status and code, whole and with no member more.
    fn expect_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.field("weir-error")), (status, Some(code)), "{self:?}");
        assert_eq!(self.field("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        let names: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["type", "title", "status", "detail", "instance"]);
        assert_eq!(
            (&body["type"], &body["status"]),
            (&json!(format!("urn:weir:error:{code}")), &json!(status))
        );
    }
}

/// Reads one answer; what follows it stays in `received`. None where the peer closed instead.
async fn read_reply(
    stream: &mut (impl AsyncRead + Unpin),
    received: &mut Vec<u8>,
    has_body: bool,
) -> Option<Reply> {
    let head_end = loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(received).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(received[..head_end].to_vec()).unwrap();
    let mut reply = Reply { status: head[9..12].parse().unwrap(), head, body: String::new() };
    let length: usize = match has_body {
        true => reply.field("content-length").map_or(0, |length| length.parse().unwrap()),
        false => 0,
    };
    while received.len() < head_end + length {
        assert!(stream.read_buf(received).await.unwrap() > 0, "the body was cut");
    }
    reply.body = String::from_utf8(received[head_end..head_end + length].to_vec()).unwrap();
    received.drain(..head_end + length);
    Some(reply)
}
