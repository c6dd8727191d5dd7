//! The TLS handshake at the beginning of a connection.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use weir_base::ErrorCode;
use weir_net::tls::{Incoming, Refused, ServerTls, TlsFailure, accept};

use super::h1::turn_away;
use crate::connection::Connection;
use crate::pipeline::problem;
use crate::reject::Reject;
use crate::wire::{Io, Wire};

/// Shakes hands, after which requests come within TLS; none where the connection is over.
pub(super) async fn secure(mut connection: Box<Connection>, tls: Arc<ServerTls>) -> Option<Box<Connection>> {
    connection.set_idle(Some(connection.now));
    let (client, worker) = (&connection.client, &connection.worker);
    let Wire::H1(mut io) = connection.io else { return None };
    let ahead = (!io.is_empty()).then(|| io.take_buffer(&worker.base.spares.buffers));
    io.drop_bytes(&worker.base.spares.buffers);
    let incoming = Incoming { socket: io.socket, ahead, handle: Some(&client.admitted.handle) };
    match accept(&worker.base, &connection.deadline, incoming, &tls).await {
        Ok(socket) => {
            connection.io = Wire::H1(Io::new(socket));
            connection.now = Instant::now();
            connection.settle_tls();
            Some(connection)
        }
        Err(Refused { failure, socket }) => {
            worker.base.tls_failed(&client.admitted.listener, client.peer, &failure);
            if matches!(failure, TlsFailure::PlainHttp) {
                worker.shared.stats.error(worker.base.shard, ErrorCode::PlainHttpOnTls);
                turn_away(socket, &PLAIN_HTTP, worker).await;
            }
            None
        }
    }
}

/// The whole answer to a request that came without TLS.
static PLAIN_HTTP: LazyLock<Vec<u8>> =
    LazyLock::new(|| problem::unread(&Reject::new(ErrorCode::PlainHttpOnTls)));
