//! Sends an answer: its head, its body as it comes, and what becomes of both connections after it.

use std::future::poll_fn;
use std::io::Write;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use weir_base::ErrorCode;
use weir_wire::http1::{Body, Known, Method, Version};

use super::delivery::Delivery;
use super::{Answer, Next, upgrade};
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::forward::Forwarded;
use crate::transfer::{Sink, Transfer};

/// Most bytes of an unwanted request body that are read so that the connection can go on.
const UNREAD_BYTES_MAX: u64 = 64 << 10;

/// Longest part of a body that is copied behind the head and written with it.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// Sends the answer and says what becomes of the connection.
pub(super) async fn deliver(
    connection: &mut Connection,
    exchange: &mut Exchange,
    body: &mut Transfer,
    answer: Answer,
) -> Next {
    match answer {
        Answer::Gone => Next::Close,
        Answer::Local { body: bytes, close } => local(connection, exchange, body, &bytes, close).await,
        Answer::Forwarded(forwarded) if forwarded.upgraded => {
            Box::pin(upgrade::relay(connection, exchange, forwarded)).await
        }
        Answer::Forwarded(forwarded) => stream(connection, exchange, body, forwarded).await,
    }
}

/// How the body of an answer is framed for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// No body, and no word about one but what the fields already say.
    None,
    /// The length stands in the fields, or is written.
    Length(Option<usize>),
    Chunked,
    UntilClose,
}

/// Whether the connection can serve another request after this answer.
fn is_kept(connection: &Connection, exchange: &Exchange, body: &Transfer, framing: Framing) -> bool {
    let max = exchange.requests_max;
    exchange.persistent
        && framing != Framing::UntilClose
        && !connection.is_ending()
        && max.is_none_or(|max| connection.requests < max)
        && !leaves_body(connection, exchange, body)
}

/// Whether so much of the request's body is unread that nobody will read it.
fn leaves_body(connection: &Connection, exchange: &Exchange, body: &Transfer) -> bool {
    if body.source_finished() {
        return false;
    }
    // A client that waits for a 100 may send the body or the next request: nobody can tell which.
    let waits = exchange.expects_continue && body.bytes == 0 && connection.io.is_empty();
    waits || body.left().is_some_and(|left| left > UNREAD_BYTES_MAX)
}

/// Writes the head of the answer behind interim responses that the client has not taken yet.
fn write_head(connection: &Connection, exchange: &mut Exchange, framing: Framing, kept: bool) {
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
        Framing::None | Framing::Length(None) | Framing::UntilClose => {}
    }
    if !kept {
        out.extend_from_slice(b"connection: close\r\n");
    } else if exchange.request.version() == Version::Http10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
    exchange.out = out;
    exchange.record.status = response.status;
}

async fn local(
    connection: &mut Connection,
    exchange: &mut Exchange,
    body: &mut Transfer,
    bytes: &[u8],
    close: bool,
) -> Next {
    let bodiless = matches!(exchange.response.status, 204 | 304);
    let framing = if bodiless { Framing::None } else { Framing::Length(Some(bytes.len())) };
    let kept = !close && is_kept(connection, exchange, body, framing);
    exchange.response.fields.remove(Known::ContentLength);
    write_head(connection, exchange, framing, kept);
    if !bodiless && exchange.request.method() != Method::Head {
        exchange.out.extend_from_slice(bytes);
        exchange.record.bytes_out = bytes.len() as u64;
    }
    let mut written = 0;
    let mut waiting = false;
    let sent = poll_fn(|cx| {
        while written < exchange.out.len() {
            match connection.io.socket.poll_write(cx, &exchange.out[written..]) {
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending if !waiting => {
                    waiting = true;
                    let patience = connection.worker.plane().timeouts.body_idle;
                    connection.deadline.set(Instant::now(), patience);
                    let _registered = connection.deadline.is_expired(cx);
                    return Poll::Pending;
                }
                Poll::Pending if connection.deadline.is_expired(cx) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(true)
    })
    .await;
    if !sent {
        exchange.record.error.get_or_insert(ErrorCode::ClientGone);
        return Next::Close;
    }
    after(connection, body, kept).await
}

/// What becomes of the connection once the answer is sent: the rest of the request is read, or it ends.
async fn after(connection: &mut Connection, body: &mut Transfer, kept: bool) -> Next {
    if !kept {
        return if body.source_finished() && connection.io.is_empty() { Next::Close } else { Next::Linger };
    }
    if body.source_finished() || read_unwanted(connection, body).await {
        Next::KeepAlive
    } else {
        Next::Linger
    }
}

/// Reads the rest of an unwanted body; false where it is too long, too slow or malformed.
async fn read_unwanted(connection: &mut Connection, body: &mut Transfer) -> bool {
    let worker = Arc::clone(&connection.worker);
    body.discard(&worker.base.spares);
    body.set_limit(body.bytes + UNREAD_BYTES_MAX);
    connection.deadline.set(Instant::now(), worker.plane().timeouts.request_head);
    poll_fn(|cx| match body.poll_discard(cx, &mut connection.io, &worker.base.spares.buffers) {
        Poll::Ready(result) => Poll::Ready(result.is_ok()),
        Poll::Pending if connection.deadline.is_expired(cx) => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// How a forwarded body is framed for this client.
fn client_framing(exchange: &Exchange, body: Body) -> (Framing, Sink) {
    let version = exchange.request.version();
    match body {
        Body::Empty => (Framing::None, Sink::Raw),
        Body::Length(_) => (Framing::Length(None), Sink::Raw),
        Body::Chunked | Body::UntilClose if version == Version::Http11 => (Framing::Chunked, Sink::Chunked),
        Body::Chunked | Body::UntilClose => (Framing::UntilClose, Sink::Raw),
    }
}

async fn stream(
    connection: &mut Connection,
    exchange: &mut Exchange,
    body: &mut Transfer,
    mut forwarded: Forwarded,
) -> Next {
    let may_have_body =
        exchange.request.method() != Method::Head && !matches!(exchange.response.status, 204 | 304);
    if !may_have_body && forwarded.body != Body::Empty {
        // A policy gave it a status without a body: what the endpoint sends would be read as the next answer.
        forwarded.body = Body::Empty;
        forwarded.persistent = false;
    }
    let (mut framing, sink) = client_framing(exchange, forwarded.body);
    let fields = &mut exchange.response.fields;
    fields.strip_hop_by_hop();
    // An alternative to this address is for the gateway to offer, not for what stands behind it.
    fields.remove(Known::AltSvc);
    // What stands behind the gateway cannot speak in its name.
    fields.remove(Known::WeirError);
    if framing == Framing::None && may_have_body {
        // A length of zero may have been written in a way that clients read differently; it is ours to write.
        fields.remove(Known::ContentLength);
        framing = Framing::Length(Some(0));
    } else if exchange.response.status == 204 || matches!(framing, Framing::Chunked | Framing::UntilClose) {
        fields.remove(Known::ContentLength);
    }
    let kept = is_kept(connection, exchange, body, framing);
    write_head(connection, exchange, framing, kept);
    let now = exchange.record.head_at;
    let mut response = Transfer::new(forwarded.body, sink, u64::MAX, now);
    if let Some(route) = &exchange.record.route {
        response.guard_trailers(&route.response_trailers);
    }
    let small = response.raw_ready(forwarded.io.filled().len());
    if (1..=COPIED_BYTES_MAX).contains(&small) {
        // One plain write of one piece: cheaper than a gathering one by more than the copy costs.
        exchange.out.extend_from_slice(&forwarded.io.filled()[..small]);
        forwarded.io.consume(small);
        response.wrote_raw(small);
    }
    let mut delivery =
        Delivery { response, request: body, forwarded: &mut forwarded, written: 0, since: now };
    let result = poll_fn(|cx| delivery.poll(cx, connection, exchange)).await;
    let worker = Arc::clone(&connection.worker);
    exchange.record.bytes_out = delivery.response.bytes;
    delivery.response.free(&worker.base.spares);
    match result {
        Ok(()) => {
            exchange.record.ended_at = Instant::now();
            release(connection, body, forwarded, exchange.record.ended_at);
            after(connection, body, kept).await
        }
        Err(code) => {
            exchange.record.error = Some(code);
            // What the client has must not look like the whole.
            if framing == Framing::UntilClose {
                connection.io.socket.reset_on_close();
            }
            forwarded.io.drop_bytes(&worker.base.spares.buffers);
            Next::Close
        }
    }
}

/// Keeps the endpoint's connection for the next request, if it is at a message's end on both sides.
fn release(connection: &Connection, request: &Transfer, mut forwarded: Forwarded, now: Instant) {
    let worker = &connection.worker;
    let link = forwarded.lease.endpoint().link_id();
    let unasked = forwarded.persistent && !forwarded.io.is_empty();
    let clean = forwarded.persistent && request.is_finished() && !unasked;
    forwarded.io.drop_bytes(&worker.base.spares.buffers);
    if unasked {
        worker.distrust(link, now);
    } else if clean
        && !worker.base.is_draining()
        && forwarded.lease.endpoint().keeps_connections()
        && worker.is_trusted(link, now)
    {
        let _too_many = worker.pool().put(
            forwarded.lease.endpoint(),
            &forwarded.pool,
            forwarded.io.socket,
            forwarded.opened_at,
            now,
        );
    }
}
