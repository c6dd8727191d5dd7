//! What the origin answers, computed before the first request.

use std::fs::File;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Bytes of the large body.
pub(super) const LARGE_BYTES: u64 = 1 << 20;

/// The fixed text that RFC 6455 section 1.3 appends to a key before hashing.
const WEBSOCKET_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// One answer.
pub(super) enum Reply {
    /// Head and body together.
    Whole(&'static [u8]),
    /// A head, then the large body.
    Large(&'static [u8]),
    /// A 101; everything after it is echoed.
    Switch(Vec<u8>),
}

/// The answers that do not depend on the request.
pub(super) struct Replies {
    small: &'static [u8],
    large_head: &'static [u8],
    not_found: &'static [u8],
}

impl Replies {
    /// Builds every answer; the bytes live as long as the process.
    pub(super) fn new() -> Self {
        let body = "x".repeat(128);
        Self {
            small: Self::keep(format!("{}{body}", head("200 OK", 128))),
            large_head: Self::keep(head("200 OK", LARGE_BYTES)),
            not_found: Self::keep(head("404 Not Found", 0)),
        }
    }

    /// Chooses the answer to a request head.
    pub(super) fn choose(&self, request: &[u8]) -> Reply {
        if request.starts_with(b"GET /128 ") {
            return Reply::Whole(self.small);
        }
        if request.starts_with(b"GET /1m ") {
            return Reply::Large(self.large_head);
        }
        if request.starts_with(b"GET /upgrade ")
            && let Some(key) = header(request, "sec-websocket-key")
        {
            return Reply::Switch(switch(key));
        }
        Reply::Whole(self.not_found)
    }

    fn keep(text: String) -> &'static [u8] {
        Box::leak(text.into_bytes().into_boxed_slice())
    }
}

/// The large body as a memory file, so that `sendfile` hands its pages to the socket without copying.
pub(super) fn large_body() -> anyhow::Result<File> {
    let descriptor = rustix::fs::memfd_create("large", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(descriptor);
    file.write_all(&vec![b'x'; usize::try_from(LARGE_BYTES)?])?;
    Ok(file)
}

/// The proof that a WebSocket server read `key` (RFC 6455 section 4.2.2).
fn websocket_accept(key: &str) -> String {
    STANDARD.encode(Sha1::digest(format!("{key}{WEBSOCKET_GUID}")))
}

fn head(status: &str, length: u64) -> String {
    format!(
        "HTTP/1.1 {status}\r\nServer: origin\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    )
}

fn switch(key: &str) -> Vec<u8> {
    let accept = websocket_accept(key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

fn header<'a>(request: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = std::str::from_utf8(request).ok()?.split("\r\n").skip(1);
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, v)| v.trim())
}
