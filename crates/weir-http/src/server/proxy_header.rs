use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Instant;

use weir_base::ErrorCode;
use weir_net::{ProxyHeaderFailure, ProxyProtocol};
use weir_wire::proxy_protocol::{HEADER_BYTES_MAX, Parsed, parse};

use super::h1::FRESH_WHILE_ENDING;
use crate::connection::Connection;

/// How a connection from a trusted proxy begins.
enum Begin {
    /// With a header, which is gone from the buffer; the address that it declares, if any.
    Header(Option<SocketAddr>),
    /// With something else, which is still in the buffer.
    Absent,
    /// With what looked like a header.
    Malformed,
    /// With part of what may be a header and then the end, or nothing more in time.
    Unfinished,
    /// With nothing: it was closed, or nothing came in time, as when a proxy only looks whether we listen.
    Silent,
}

/// Reads the PROXY header and settles who the client is; false when the connection is to be closed.
///
/// The header has `timeouts.request_head` to arrive, as a request head has.
pub(super) async fn read(connection: &mut Connection) -> bool {
    let required = connection.expects == ProxyProtocol::Required;
    let (declared, failure) = match begin(connection).await {
        Begin::Header(declared) => (declared, None),
        Begin::Absent if !required => (None, None),
        Begin::Absent => (None, Some(ProxyHeaderFailure::Missing)),
        Begin::Malformed => (None, Some(ProxyHeaderFailure::Malformed)),
        Begin::Unfinished => (None, Some(ProxyHeaderFailure::Unfinished)),
        Begin::Silent => return false,
    };
    if let Some(failure) = failure {
        connection.worker.base.proxy_header_failed(
            &connection.client.admitted.listener,
            connection.client.peer,
            failure,
        );
    } else if connection.settle_peer(declared) {
        connection.now = Instant::now();
        connection.io.io().release(&connection.worker.base.spares.buffers);
        return true;
    } else {
        connection.worker.base.shared.stats.refused();
        connection.worker.shared.stats.error(connection.worker.base.shard, ErrorCode::Overloaded);
    }
    connection.io.drop_bytes(&connection.worker.base.spares.buffers);
    false
}

async fn begin(connection: &mut Connection) -> Begin {
    connection.deadline.set(connection.now, connection.patience.first);
    connection.set_idle(Some(connection.now));
    let mut hurried = false;
    poll_fn(|cx| {
        loop {
            match parse(connection.io.filled()) {
                Ok(Parsed::Incomplete) => {}
                Ok(Parsed::Absent) => return Poll::Ready(Begin::Absent),
                Ok(Parsed::Header(header)) => {
                    connection.io.consume(header.length);
                    return Poll::Ready(Begin::Header(header.source));
                }
                Err(_) => return Poll::Ready(Begin::Malformed),
            }
            // Always so: a buffer is larger than the longest header.
            if !connection.io.io().make_room(HEADER_BYTES_MAX) {
                return Poll::Ready(Begin::Malformed);
            }
            match connection.io.poll_fill(cx, &connection.worker.base.spares.buffers) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(ended(connection)),
                Poll::Ready(Ok(_)) => continue,
                Poll::Pending => {}
            }
            if connection.client.admitted.handle.should_close() {
                return Poll::Ready(ended(connection));
            }
            if connection.is_ending() && !std::mem::replace(&mut hurried, true) {
                // As for the first request: what has just connected is on the way.
                connection.deadline.set(Instant::now(), FRESH_WHILE_ENDING);
            }
            return if connection.deadline.is_expired(cx) {
                Poll::Ready(ended(connection))
            } else {
                Poll::Pending
            };
        }
    })
    .await
}

fn ended(connection: &Connection) -> Begin {
    if connection.io.is_empty() { Begin::Silent } else { Begin::Unfinished }
}
