use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use rustls::server::UnbufferedServerConnection;
use weir_task::Deadline;
use weir_wire::client_hello::{self, Absent, HelloError, Parsed};

use super::facts::{ClientIdentity, TlsFacts};
use super::failure::Plaintext;
use super::handshake::{Handshake, Watch};
use super::session::Session;
use super::{ServerTls, TlsFailure};
use crate::{Buffer, Socket, Worker};

/// A connection on which a client is about to begin a handshake.
#[derive(Debug)]
pub struct Incoming {
    /// The connection.
    pub socket: Socket,
    /// What was read of it already, as with a PROXY header.
    pub ahead: Option<Buffer>,
}

impl From<Socket> for Incoming {
    fn from(socket: Socket) -> Self {
        Self { socket, ahead: None }
    }
}

/// Shakes hands with a client within [`ServerTls::handshake_timeout`]; moves `deadline`.
///
/// While the client says nothing there is neither a session nor a buffer. A hello is handed to rustls once it is whole:
/// so one that never ends costs its bytes and nothing else, and what is no TLS is told from it. Where too many handshakes are
/// under way, the oldest gives way.
///
/// # Errors
///
/// [`TlsFailure`], counted as [`TlsStats`](super::TlsStats); the client was told with an alert where there is one to tell. The connection is closed, but for
/// [`TlsFailure::NotTls`], which gives it back.
pub async fn accept(
    worker: &Worker,
    deadline: &Deadline,
    incoming: impl Into<Incoming>,
    tls: &ServerTls,
) -> Result<Socket, TlsFailure> {
    let incoming = incoming.into();
    deadline.set(Instant::now(), tls.handshake_timeout);
    let handshake = Handshake::new(incoming.socket, incoming.ahead, &worker.spares.buffers);
    let result = Box::pin(shake_hands(worker, deadline, handshake, tls)).await;
    match &result {
        Ok(socket) => {
            socket.tls().into_iter().for_each(|facts| worker.shared.stats.tls.shaken(worker.shard, facts));
        }
        Err(failure) => worker.shared.stats.tls.failed(failure.reason()),
    }
    result
}

async fn shake_hands(
    worker: &Worker,
    deadline: &Deadline,
    mut handshake: Handshake,
    tls: &ServerTls,
) -> Result<Socket, TlsFailure> {
    let watch =
        Watch { worker, deadline, permit: Some(worker.shared.stats.tls.handshakes.begin(deadline.waker())) };
    let sni = match poll_fn(|cx| poll_hello(&mut handshake, &watch, cx)).await {
        Ok(sni) => sni,
        Err(NoHello::OtherProtocol) => return Err(other_protocol(handshake)),
        Err(NoHello::Failed(failure)) => {
            handshake.free();
            return Err(failure);
        }
    };
    let session = UnbufferedServerConnection::new(Arc::clone(&tls.config)).map_err(TlsFailure::Protocol)?;
    let mut session = Session::Server(session);
    if let Err(failure) = handshake.run(&mut session, &watch).await {
        handshake.free();
        return Err(failure);
    }
    let client = session.state().peer_certificates().and_then(|chain| chain.first());
    let client = client.and_then(|certificate| ClientIdentity::of(certificate)).map(Arc::new);
    let certificate = handshake.certificate.take();
    let facts = TlsFacts { sni, certificate, client, ..TlsFacts::of(session.state()) };
    Ok(handshake.into_socket(session, facts))
}

enum NoHello {
    OtherProtocol,
    Failed(TlsFailure),
}

/// Waits for the whole hello, and reads the server's name in it.
fn poll_hello(
    handshake: &mut Handshake,
    watch: &Watch<'_>,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Box<str>>, NoHello>> {
    let mut joined = Vec::new();
    loop {
        match client_hello::parse(handshake.received(), &mut joined) {
            Ok(Parsed::Incomplete) => {}
            Ok(Parsed::Hello(hello)) => {
                let name = hello.server_name.map(|name| name.to_ascii_lowercase().into());
                return Poll::Ready(Ok(name));
            }
            Ok(Parsed::Absent(Absent::OtherProtocol)) => return Poll::Ready(Err(NoHello::OtherProtocol)),
            Err(HelloError::TooLong) => return Poll::Ready(Err(NoHello::Failed(TlsFailure::TooLong))),
            // rustls says with an alert what is wrong with it.
            Ok(Parsed::Absent(_)) | Err(_) => return Poll::Ready(Ok(None)),
        }
        match handshake.poll_receive(cx) {
            Poll::Ready(received) => received.map_err(NoHello::Failed)?,
            Poll::Pending => return watch.poll_over(cx).map(|failure| Err(NoHello::Failed(failure))),
        }
    }
}

fn other_protocol(mut handshake: Handshake) -> TlsFailure {
    match handshake.bytes.received.take() {
        Some(said) => TlsFailure::NotTls(Box::new(Plaintext { socket: handshake.socket, said })),
        None => TlsFailure::Closed,
    }
}
