//! Sends an answer: its head, its body as it comes, and what becomes of both connections after it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use weir_base::ErrorCode;
use weir_wire::http1::{Body, Known, Method, Version};

use super::delivery::Delivery;
use super::head::{self, Framing};
use super::{Answer, Next, grpc, upgrade};
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::filter;
use crate::forward::Forwarded;
use crate::transfer::{Sink, Transfer};
use crate::wire::Wire;

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
    if body.source_finished() || connection.io.is_framed() {
        return false;
    }
    // A client that waits for a 100 may send the body or the next request: nobody can tell which.
    let waits = exchange.expects_continue && body.bytes == 0 && connection.io.is_empty();
    waits || body.left().is_some_and(|left| left > UNREAD_BYTES_MAX)
}

async fn local(
    connection: &mut Connection,
    exchange: &mut Exchange,
    body: &mut Transfer,
    bytes: &[u8],
    close: bool,
) -> Next {
    let passed;
    let bytes = match exchange.response_filter.take().map(|filter| filter::whole(filter, bytes)) {
        None => bytes,
        Some(Ok(out)) => {
            passed = out;
            &passed[..]
        }
        Some(Err(_)) => {
            // The head says what the body is no longer.
            exchange.record.error = Some(ErrorCode::Internal);
            return Next::Close;
        }
    };
    let bodiless = matches!(exchange.response.status, 204 | 304);
    let framing = if bodiless { Framing::None } else { Framing::Length(Some(bytes.len())) };
    let kept = !close && is_kept(connection, exchange, body, framing);
    exchange.response.fields.remove(Known::ContentLength);
    let bytes = if bodiless || exchange.request.method() == Method::Head { &[] } else { bytes };
    if !head::send(connection, exchange, framing, kept, bytes.is_empty()) {
        exchange.record.error.get_or_insert(ErrorCode::ClientGone);
        return Next::Close;
    }
    exchange.out.extend_from_slice(bytes);
    exchange.record.bytes_out = bytes.len() as u64;
    let mut written = 0;
    let mut waiting = false;
    let sent = poll_fn(|cx| {
        while written < exchange.out.len() {
            match connection.io.poll_write(cx, &exchange.out[written..], true) {
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
    if connection.io.is_framed() {
        // Of a stream nothing is left but what its client still sends, and that is refused.
        return Next::Close;
    }
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
fn client_framing(version: Version, body: Body) -> (Framing, Sink) {
    let (framing, sink) = match (body, version) {
        (Body::Empty, _) => (Framing::None, Sink::Raw),
        (Body::Length(_), _) => (Framing::Length(None), Sink::Raw),
        (Body::Chunked | Body::UntilClose, Version::Http10) => (Framing::UntilClose, Sink::Raw),
        (Body::Chunked | Body::UntilClose, Version::Http11) => (Framing::Chunked, Sink::Chunked),
        (Body::Chunked | Body::UntilClose, Version::Http2) => (Framing::Stream, Sink::Frames),
    };
    (framing, if version == Version::Http2 { Sink::Frames } else { sink })
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
    if forwarded.io.is_last() && forwarded.io.is_empty() && exchange.request.version() != Version::Http2 {
        // A stream that ended with its head: no chunk tells the end of a body that is none.
        forwarded.body = Body::Empty;
    }
    let passes = exchange.response_filter.take().filter(|_| may_have_body && forwarded.body != Body::Empty);
    // What comes out of a filter is as long as it is.
    let body_kind = if passes.is_some() { Body::Chunked } else { forwarded.body };
    let (mut framing, sink) = client_framing(exchange.request.version(), body_kind);
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
    } else if exchange.response.status == 204
        || matches!(framing, Framing::Chunked | Framing::UntilClose | Framing::Stream)
    {
        fields.remove(Known::ContentLength);
    }
    let kept = is_kept(connection, exchange, body, framing);
    let now = exchange.record.head_at;
    let mut response = if may_have_body {
        Transfer::new(forwarded.body, &forwarded.io, sink, now)
    } else {
        Transfer::none(now)
    };
    response.filter_by(passes);
    if !head::send(connection, exchange, framing, kept, response.is_finished()) {
        exchange.record.error = Some(ErrorCode::ClientGone);
        forwarded.io.drop_bytes(&connection.worker.base.spares.buffers);
        return Next::Close;
    }
    if let Some(route) = &exchange.record.route {
        response.guard_trailers(&route.response_trailers);
    }
    let small = response.raw_ready(forwarded.io.filled().len());
    if (1..=COPIED_BYTES_MAX).contains(&small) {
        // One plain write of one piece: cheaper than a gathering one by more than the copy costs.
        exchange.out.extend_from_slice(&forwarded.io.filled()[..small]);
        let is_end = response.ends_with(small, &forwarded.io);
        forwarded.io.consume(small);
        response.wrote_raw(small, is_end);
    }
    let mut delivery =
        Delivery { response, request: body, forwarded: &mut forwarded, written: 0, since: now };
    let result = poll_fn(|cx| delivery.poll(cx, connection, exchange)).await;
    let worker = Arc::clone(&connection.worker);
    exchange.record.bytes_out = delivery.response.bytes_passed();
    delivery.response.free(&worker.base.spares);
    match result {
        Ok(()) => {
            exchange.record.ended_at = Instant::now();
            // A head that was answered before it was written makes a mess of what would follow it.
            forwarded.persistent &= exchange.up.is_empty();
            release(connection, body, forwarded, exchange.record.ended_at);
            after(connection, body, kept).await
        }
        Err(code) => {
            exchange.record.error = Some(code);
            // What the client has must not look like the whole.
            let cuts = matches!(framing, Framing::UntilClose) || connection.io.is_framed();
            if cuts && !grpc::end(&mut connection.io, exchange, code) {
                connection.io.cut(h2::Reason::INTERNAL_ERROR);
            }
            forwarded.io.drop_bytes(&worker.base.spares.buffers);
            forwarded.io.abandon();
            Next::Close
        }
    }
}

/// Keeps the endpoint's connection for the next request, if it is at a message's end on both sides.
fn release(connection: &Connection, request: &Transfer, mut forwarded: Forwarded, now: Instant) {
    let worker = &connection.worker;
    let link = forwarded.lease.endpoint().link_id();
    let unasked = forwarded.persistent && !forwarded.io.is_empty();
    let clean = forwarded.persistent && forwarded.io.may_be_kept() && request.is_finished() && !unasked;
    forwarded.io.drop_bytes(&worker.base.spares.buffers);
    if unasked {
        worker.distrust(link, now);
    } else if clean
        && !worker.base.is_draining()
        && forwarded.lease.endpoint().keeps_connections()
        && worker.is_trusted(link, now)
    {
        let Wire::H1(io) = forwarded.io else { return };
        let _too_many = worker.pool().put(
            forwarded.lease.endpoint(),
            &forwarded.pool,
            io.socket,
            forwarded.opened_at,
            now,
        );
    }
}
