//! Sends an answer: its head, its body as it comes, and what becomes of both connections after it.

use std::future::poll_fn;
use std::io::{IoSlice, Write};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use weir_base::ErrorCode;
use weir_net::{Relay, RelayEnd};
use weir_wire::http1::{Body, Known, Method, Version};

use super::{Answer, Next, earlier};
use crate::connection::Connection;
use crate::exchange::{Exchange, Upgrade};
use crate::forward::Forwarded;
use crate::transfer::{Side, Sink, Transfer, TransferError};

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
            Box::pin(relay(connection, exchange, forwarded)).await
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
    let endpoint = forwarded.lease.endpoint().id();
    let unasked = forwarded.persistent && !forwarded.io.is_empty();
    let clean = forwarded.persistent && request.is_finished() && !unasked;
    forwarded.io.drop_bytes(&worker.base.spares.buffers);
    if unasked {
        worker.distrust(endpoint, now);
    } else if clean
        && !worker.base.is_draining()
        && !forwarded.lease.endpoint().is_retired()
        && worker.is_trusted(endpoint, now)
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

/// An answer on its way: the head, then the body, while the rest of the request may still be coming.
struct Delivery<'a> {
    response: Transfer,
    request: &'a mut Transfer,
    forwarded: &'a mut Forwarded,
    /// Bytes of the head that were written.
    written: usize,
    since: Instant,
}

impl Delivery<'_> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        exchange: &mut Exchange,
    ) -> Poll<Result<(), ErrorCode>> {
        if let Poll::Ready(result) = self.poll_response(cx, connection, exchange) {
            return Poll::Ready(result);
        }
        if let Err(code) = self.poll_request(cx, connection, exchange) {
            return Poll::Ready(Err(code));
        }
        self.poll_clock(cx, connection, exchange)
    }

    fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        exchange: &mut Exchange,
    ) -> Poll<Result<(), ErrorCode>> {
        while self.written < exchange.out.len() {
            let head = &exchange.out[self.written..];
            let from = &mut self.forwarded.io;
            let raw = self.response.raw_ready(from.filled().len());
            let result = if raw > 0 {
                let pieces = [IoSlice::new(head), IoSlice::new(&from.filled()[..raw])];
                ready!(connection.io.socket.poll_write_vectored(cx, &pieces))
            } else {
                ready!(connection.io.socket.poll_write(cx, head))
            };
            let Ok(count) = result else { return Poll::Ready(Err(ErrorCode::ClientGone)) };
            let of_head = count.min(head.len());
            self.written += of_head;
            if count > of_head {
                from.consume(count - of_head);
                self.response.wrote_raw(count - of_head);
            }
        }
        let spares = &connection.worker.base.spares;
        let result = ready!(self.response.poll(
            cx,
            &mut self.forwarded.io,
            &mut connection.io.socket,
            spares,
            &mut ()
        ));
        Poll::Ready(result.map_err(|error| match error {
            TransferError::SinkFailed(_) => ErrorCode::ClientGone,
            TransferError::SourceEnded
            | TransferError::SourceFailed(_)
            | TransferError::SourceMalformed(_) => ErrorCode::UpstreamCut,
            // Answers have no limit, and none of their trailers is denied.
            TransferError::TooLarge | TransferError::TrailerDenied => ErrorCode::Internal,
        }))
    }

    /// Goes on sending the request to an endpoint that answers early; notices a client that has gone.
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        exchange: &mut Exchange,
    ) -> Result<(), ErrorCode> {
        if self.request.source_finished() && connection.is_gone(cx) {
            return Err(ErrorCode::ClientGone);
        }
        if self.request.is_finished() {
            return Ok(());
        }
        let spares = &connection.worker.base.spares;
        let to = &mut self.forwarded.io.socket;
        match self.request.poll(cx, &mut connection.io, to, spares, &mut exchange.replay) {
            Poll::Ready(Err(TransferError::SinkFailed(_))) => {
                // It has answered and reads no more: the rest is nobody's.
                self.request.discard(spares);
                self.forwarded.persistent = false;
                Ok(())
            }
            Poll::Ready(Err(TransferError::SourceEnded | TransferError::SourceFailed(_))) => {
                Err(ErrorCode::ClientGone)
            }
            Poll::Ready(Err(TransferError::SourceMalformed(_))) => Err(ErrorCode::BadRequest),
            Poll::Ready(Err(TransferError::TooLarge)) => Err(ErrorCode::BodyTooLarge),
            Poll::Ready(Err(TransferError::TrailerDenied)) => Err(ErrorCode::HeaderDenied),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_clock(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        exchange: &Exchange,
    ) -> Poll<Result<(), ErrorCode>> {
        if connection.worker.base.is_stopping() {
            return Poll::Ready(Err(ErrorCode::ShuttingDown));
        }
        let now = Instant::now();
        let idle = self.forwarded.idle;
        let head_pending = self.written < exchange.out.len();
        if !head_pending {
            self.since = now;
        }
        let (due, code) = if head_pending {
            (self.since + idle.client, ErrorCode::ClientGone)
        } else {
            let due = self.response.due(now, idle.upstream, idle.client);
            match self.response.waiting(now).0 {
                Side::Source => (due, ErrorCode::UpstreamCut),
                Side::Sink => (due, ErrorCode::ClientGone),
            }
        };
        // While the rest of the request still moves, the endpoint may wait for it before it goes on.
        let due =
            if self.request.is_finished() { due } else { due.max(self.request.waiting(now).1 + idle.client) };
        let until = earlier(due, self.forwarded.total);
        if now >= until {
            return Poll::Ready(Err(if until < due { ErrorCode::TotalTimeout } else { code }));
        }
        connection.deadline.set(now, until - now);
        let _registered = connection.deadline.is_expired(cx);
        Poll::Pending
    }
}

/// Answers an upgrade and joins the two connections until both directions have ended.
async fn relay(connection: &mut Connection, exchange: &mut Exchange, forwarded: Forwarded) -> Next {
    let fields = &mut exchange.response.fields;
    fields.strip_hop_by_hop();
    fields.remove(Known::ContentLength);
    let token: &[u8] = match &exchange.upgrade {
        Some(Upgrade::Other(token)) => token,
        Some(Upgrade::WebSocket) | None => b"websocket",
    };
    fields.append(b"Connection", b"Upgrade");
    fields.append(b"Upgrade", token);
    exchange.response.write_status_line(&mut exchange.out);
    exchange.response.fields.write_fields(&mut exchange.out);
    exchange.out.extend_from_slice(b"\r\n");
    exchange.record.status = 101;

    let worker = Arc::clone(&connection.worker);
    let Forwarded { mut io, lease, idle, .. } = forwarded;
    let mut for_client = worker.base.spares.buffers.take();
    for_client.extend(&exchange.out);
    for_client.extend(io.filled());
    io.drop_bytes(&worker.base.spares.buffers);
    let mut relay = Relay::new(connection.io.take_buffer(&worker.base.spares.buffers), for_client);
    worker.shared.stats.upgraded.add(1);
    let mut seen = relay.totals();
    connection.deadline.set(Instant::now(), idle.upgrade);
    let mut drain = worker.base.drain.clone();
    let mut stopped = std::pin::pin!(drain.stopped());
    let end = poll_fn(|cx| {
        if let Poll::Ready(end) =
            relay.poll(cx, &mut connection.io.socket, &mut io.socket, &worker.base.spares)
        {
            return Poll::Ready(Some(end));
        }
        let totals = relay.totals();
        if totals != seen {
            seen = totals;
            connection.deadline.set(Instant::now(), idle.upgrade);
        }
        let over = connection.deadline.is_expired(cx) || stopped.as_mut().poll(cx).is_ready();
        if over { Poll::Ready(None) } else { Poll::Pending }
    })
    .await;
    relay.free(&worker.base.spares);
    worker.shared.stats.upgraded.add(-1);
    let totals = relay.totals();
    // What the relay said first was the head.
    exchange.record.bytes_out = totals.to_client.saturating_sub(exchange.out.len() as u64);
    exchange.record.bytes_in = totals.to_upstream;
    match end {
        Some(RelayEnd::Finished) | None => {}
        Some(RelayEnd::ClientFailed(_)) => {
            io.socket.reset_on_close();
            connection.io.socket.reset_on_close();
            exchange.record.error = Some(ErrorCode::ClientGone);
        }
        Some(RelayEnd::UpstreamFailed(_)) => {
            io.socket.reset_on_close();
            connection.io.socket.reset_on_close();
            exchange.record.error = Some(ErrorCode::UpstreamCut);
        }
    }
    drop(lease);
    Next::Close
}
