//! Answers an upgrade and joins the two ends until both directions have ended.

mod joined;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use weir_base::ErrorCode;
use weir_net::{Relay, RelayEnd};
use weir_wire::http1::Known;
use weir_wire::websocket::accept_of;

use super::Next;
use crate::connection::Connection;
use crate::exchange::{Exchange, Upgrade};
use crate::forward::{Forwarded, IdleLimits};
use crate::wire::{self, Io, Wire};
use joined::Joined;

/// Answers an upgrade and passes on what either side says.
pub(super) async fn relay(
    connection: &mut Connection,
    exchange: &mut Exchange,
    forwarded: Forwarded,
) -> Next {
    let worker = Arc::clone(&connection.worker);
    if !answer(connection, exchange, &forwarded.io) {
        exchange.record.error = Some(ErrorCode::ClientGone);
        return Next::Close;
    }
    let Forwarded { mut io, lease, idle, .. } = forwarded;
    worker.shared.stats.upgraded.add(1);
    let end = match (&mut connection.io, &mut io) {
        (Wire::H1(_), Wire::H1(upstream)) if exchange.upgrade != Some(Upgrade::WebSocket) => {
            join(connection, exchange, upstream, idle).await
        }
        _ => Joined::new(connection, exchange, &mut io, idle).run().await,
    };
    worker.shared.stats.upgraded.add(-1);
    if let Some(code) = end {
        io.cut(h2::Reason::CANCEL);
        connection.io.cut(h2::Reason::CONNECT_ERROR);
        exchange.record.error = Some(code);
    }
    drop(lease);
    // A goodbye on the way must not be lost to a reset.
    if end.is_none() && worker.base.is_stopping() { Next::Linger } else { Next::Close }
}

/// Makes the answer: what is left to write of it stands in `exchange.out`. False where the client has gone.
fn answer(connection: &mut Connection, exchange: &mut Exchange, upstream: &Wire) -> bool {
    let fields = &mut exchange.response.fields;
    fields.strip_hop_by_hop();
    fields.remove(Known::ContentLength);
    if let Wire::H2(stream) = &mut connection.io {
        // The handshake of HTTP/1.1 has no part in it (RFC 8441 section 5).
        fields.remove(Known::SecWebSocketAccept);
        exchange.record.status = 200;
        return stream.send_head(wire::response(200, wire::written(fields)), false).is_ok();
    }
    if exchange.upgrade == Some(Upgrade::WebSocket) && upstream.is_framed() {
        let key = exchange.request.fields.get(Known::SecWebSocketKey).unwrap_or_default();
        fields.remove(Known::SecWebSocketAccept);
        fields.append(b"Sec-WebSocket-Accept", accept_of(key).as_bytes());
    }
    let token: &[u8] = match &exchange.upgrade {
        Some(Upgrade::Other(token)) => token,
        Some(Upgrade::WebSocket) | None => b"websocket",
    };
    fields.append(b"Connection", b"Upgrade");
    fields.append(b"Upgrade", token);
    exchange.response.set_status(101);
    exchange.response.write_status_line(&mut exchange.out);
    exchange.response.fields.write_fields(&mut exchange.out);
    exchange.out.extend_from_slice(b"\r\n");
    exchange.record.status = 101;
    true
}

/// Joins two connections; the code of why it was cut, if it was.
async fn join(
    connection: &mut Connection,
    exchange: &mut Exchange,
    upstream: &mut Io,
    idle: IdleLimits,
) -> Option<ErrorCode> {
    let worker = Arc::clone(&connection.worker);
    let spares = &worker.base.spares;
    let mut for_client = spares.buffers.take();
    for_client.extend(&exchange.out);
    for_client.extend(upstream.filled());
    upstream.drop_bytes(&spares.buffers);
    let client = connection.io.io();
    let mut relay = Relay::new(client.take_buffer(&spares.buffers), for_client);
    let mut seen = relay.totals();
    connection.deadline.set(Instant::now(), idle.upgrade);
    let mut drain = worker.base.drain.clone();
    let mut stopped = std::pin::pin!(drain.stopped());
    let end = poll_fn(|cx| {
        if let Poll::Ready(end) = relay.poll(cx, &mut client.socket, &mut upstream.socket, spares) {
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
    relay.free(spares);
    let totals = relay.totals();
    // What the relay said first was the head.
    exchange.record.bytes_out = totals.to_client.saturating_sub(exchange.out.len() as u64);
    exchange.record.bytes_in = totals.to_upstream;
    match end {
        Some(RelayEnd::Finished) | None => None,
        Some(RelayEnd::ClientFailed(_)) => Some(ErrorCode::ClientGone),
        Some(RelayEnd::UpstreamFailed(_)) => Some(ErrorCode::UpstreamCut),
    }
}
