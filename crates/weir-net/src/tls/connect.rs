use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use weir_task::Deadline;

use super::facts::TlsFacts;
use super::handshake::{Handshake, Watch};
use super::session::Session;
use super::{ClientTls, TlsFailure};
use crate::{Socket, Worker};

/// Shakes hands with a server within `limit`, as one that must be `name`; moves `deadline`.
///
/// # Errors
///
/// [`TlsFailure`]; nothing but the handshake was sent, and the connection is closed.
pub async fn connect(
    worker: &Worker,
    deadline: &Deadline,
    limit: Duration,
    socket: Socket,
    tls: &ClientTls,
    name: ServerName<'static>,
) -> Result<Socket, TlsFailure> {
    deadline.set(Instant::now(), limit);
    let session =
        UnbufferedClientConnection::new(Arc::clone(&tls.config), name).map_err(TlsFailure::Protocol)?;
    let mut session = Session::Client(session);
    let mut handshake = Handshake::new(socket, None, &worker.spares.buffers);
    let watch = Watch { worker, deadline, permit: None, handle: None, is_hurried: AtomicBool::new(false) };
    handshake.run(&mut session, &watch).await?;
    let facts = TlsFacts::of(session.state());
    Ok(handshake.into_socket(session, facts))
}
