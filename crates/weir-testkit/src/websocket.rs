//! The two heads of a WebSocket handshake, as RFC 6455 section 4 has them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The key that [`handshake`] sends: the base64 text of 16 fixed bytes.
pub const KEY: &str = "AQIDBAUGBwgJCgsMDQ4PEA==";

/// The value of `Sec-WebSocket-Accept` that answers `key`.
pub fn accept_of(key: &str) -> String {
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    STANDARD.encode(digest)
}

/// A correct client handshake for `path` on `host`.
pub fn handshake(host: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

/// A correct 101 that answers `key`.
pub fn accepted(key: &str) -> String {
    let accept = accept_of(key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_the_one_of_the_rfcs_example() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
