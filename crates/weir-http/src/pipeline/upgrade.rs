use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use weir_base::ErrorCode;
use weir_net::{Relay, RelayEnd};
use weir_wire::http1::Known;

use super::Next;
use crate::connection::Connection;
use crate::exchange::{Exchange, Upgrade};
use crate::forward::Forwarded;

/// Answers an upgrade and joins the two connections until both directions have ended.
pub(super) async fn relay(
    connection: &mut Connection,
    exchange: &mut Exchange,
    forwarded: Forwarded,
) -> Next {
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
    let mut relay = Relay::new(connection.io.io().take_buffer(&worker.base.spares.buffers), for_client);
    worker.shared.stats.upgraded.add(1);
    let mut seen = relay.totals();
    connection.deadline.set(Instant::now(), idle.upgrade);
    let mut drain = worker.base.drain.clone();
    let mut stopped = std::pin::pin!(drain.stopped());
    let end = poll_fn(|cx| {
        if let Poll::Ready(end) =
            relay.poll(cx, &mut connection.io.io().socket, &mut io.io().socket, &worker.base.spares)
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
            io.cut(h2::Reason::CANCEL);
            connection.io.cut(h2::Reason::CONNECT_ERROR);
            exchange.record.error = Some(ErrorCode::ClientGone);
        }
        Some(RelayEnd::UpstreamFailed(_)) => {
            io.cut(h2::Reason::CANCEL);
            connection.io.cut(h2::Reason::CONNECT_ERROR);
            exchange.record.error = Some(ErrorCode::UpstreamCut);
        }
    }
    drop(lease);
    Next::Close
}
