//! The TLS handshake with a client, where it is not passed on as it is.

use weir_net::tls::{Incoming, Refused, ServerTls, TlsFailure, accept};

use super::connection::Connection;
use crate::end::End;

/// Shakes hands, after which what the client says is relayed as it was meant; or tells how the connection ended.
pub(super) async fn secure(
    mut connection: Box<Connection>,
    tls: &ServerTls,
) -> (Box<Connection>, Result<(), End>) {
    let handle = Some(&*connection.admitted.handle);
    let incoming = Incoming { socket: connection.client, ahead: connection.ahead.take(), handle };
    match accept(&connection.worker.base, &connection.deadline, incoming, tls).await {
        Ok(socket) => {
            connection.client = socket;
            (connection, Ok(()))
        }
        Err(Refused { failure, socket }) => {
            connection.client = socket;
            connection.worker.base.tls_failed(&connection.admitted.listener, connection.peer, &failure);
            let is_stopping = matches!(failure, TlsFailure::Stopping);
            (connection, Err(if is_stopping { End::ShuttingDown } else { End::TlsFailed }))
        }
    }
}
