//! The head of an answer, as each version writes it.

use std::io::Write;

use http::{HeaderValue, Response, header};
use weir_wire::http1::{Known, ResponseHead, Version};

use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::wire::{self, Wire};
use crate::worker::HttpWorker;

/// How the body of an answer is framed for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// No body, and no word about one but what the fields already say.
    None,
    /// The length stands in the fields, or is written.
    Length(Option<usize>),
    Chunked,
    UntilClose,
    /// By the end of the stream.
    Stream,
}

/// Writes the head of the answer; `is_last` where no body follows it. False where the client has gone.
pub(super) fn send(
    connection: &mut Connection,
    exchange: &mut Exchange,
    framing: Framing,
    kept: bool,
    is_last: bool,
) -> bool {
    exchange.record.status = exchange.response.status;
    if let Wire::H2(stream) = &mut connection.io {
        let head = frame(&connection.worker, &exchange.response, framing);
        return stream.send_head(head, is_last).is_ok();
    }
    write(connection, exchange, framing, kept);
    true
}

/// Writes the head of the answer behind interim responses that the client has not taken yet.
fn write(connection: &Connection, exchange: &mut Exchange, framing: Framing, kept: bool) {
    let mut out = std::mem::take(&mut exchange.out);
    let response = &exchange.response;
    response.write_status_line(&mut out);
    response.fields.write_fields(&mut out);
    if response.fields.get(Known::Date).is_none() {
        out.extend_from_slice(b"date: ");
        connection.worker.write_date(&mut out);
        out.extend_from_slice(b"\r\n");
    }
    match framing {
        Framing::Length(Some(length)) => {
            write!(out, "content-length: {length}\r\n").expect("writing to memory does not fail");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::None | Framing::Length(None) | Framing::UntilClose | Framing::Stream => {}
    }
    if !kept {
        out.extend_from_slice(b"connection: close\r\n");
    } else if exchange.request.version() == Version::Http10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
    exchange.out = out;
}

/// The head of the answer as a frame.
fn frame(worker: &HttpWorker, response: &ResponseHead, framing: Framing) -> Response<()> {
    let mut fields = wire::written(&response.fields);
    if response.fields.get(Known::Date).is_none() {
        fields.insert(header::DATE, worker.date());
    }
    if let Framing::Length(Some(length)) = framing {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    wire::response(response.status, fields)
}
