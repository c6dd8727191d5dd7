//! Ready-made handlers for [`Origin`](crate::Origin).

use std::time::Duration;

use crate::origin::{After, Connection, Request};
use crate::{Gate, websocket};

/// Answers 200 with the request's head, byte for byte, as the body.
pub fn echo_head(request: &Request, connection: &mut Connection) -> After {
    connection.respond(200, &[("Content-Type", "text/plain")], &request.head.raw);
    After::KeepOpen
}

/// Answers 200 with the request's body as the body.
pub fn echo_body(request: &Request, connection: &mut Connection) -> After {
    connection.respond(200, &[], &request.body);
    After::KeepOpen
}

/// Always answers with this status and body.
pub fn fixed(status: u16, body: &'static str) -> impl Fn(&Request, &mut Connection) -> After + Send + Sync {
    move |_, connection| {
        connection.respond(status, &[], body);
        After::KeepOpen
    }
}

/// Writes exactly these bytes for each request and does `after`.
pub fn raw(
    bytes: impl Into<Vec<u8>>,
    after: After,
) -> impl Fn(&Request, &mut Connection) -> After + Send + Sync {
    let bytes = bytes.into();
    move |_, connection| {
        let _ = connection.write(&bytes);
        after
    }
}

/// Answers 200 with `body` once the gate is open.
pub fn gated(
    gate: &Gate,
    body: &'static str,
) -> impl Fn(&Request, &mut Connection) -> After + Send + Sync + use<> {
    let gate = gate.clone();
    move |_, connection| {
        gate.wait();
        connection.respond(200, &[], body);
        After::KeepOpen
    }
}

/// Announces 1,000 bytes, sends `sent` of them and closes.
pub fn dies_mid_body(sent: usize, after: After) -> impl Fn(&Request, &mut Connection) -> After + Send + Sync {
    move |_, connection| {
        let _ = connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        let _ = connection.write(vec![b'x'; sent]);
        after
    }
}

/// Sends one chunk at once, a second one when the gate opens, then the trailer `x-sum: 42`.
pub fn chunked_with_trailer(
    gate: &Gate,
) -> impl Fn(&Request, &mut Connection) -> After + Send + Sync + use<> {
    let gate = gate.clone();
    move |_, connection| {
        let _ = connection
            .write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n5\r\nfirst\r\n");
        gate.wait();
        let _ = connection.write("6\r\nsecond\r\n0\r\nx-sum: 42\r\n\r\n");
        After::KeepOpen
    }
}

/// Never answers; returns when the gateway closes.
pub fn silent(_: &Request, connection: &mut Connection) -> After {
    connection.wait_for_close();
    After::Close
}

/// Accepts a WebSocket handshake correctly, then sends every byte back; a FIN is answered by a FIN after the
/// last byte. Other requests get 200.
pub fn websocket_echo(request: &Request, connection: &mut Connection) -> After {
    let Some(key) = request.field("sec-websocket-key") else {
        connection.respond(200, &[], "no upgrade asked for");
        return After::KeepOpen;
    };
    let _ = connection.write(websocket::accepted(key));
    connection.patience(Duration::from_secs(120));
    while let Ok(bytes) = connection.read_some() {
        if bytes.is_empty() || connection.write(&bytes).is_err() {
            break;
        }
    }
    After::Close
}
