use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use weir_task::Deadline;
use weir_wire::client_hello::{self, Absent, HelloError, Parsed};

use super::facts::TlsFacts;
use super::failure::Plaintext;
use super::handshake::{Handshake, Watch};
use super::session::Session;
use super::{ClientIdentity, ServerTls, TlsFailure};
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

/// Shakes hands with a client within `handshake_timeout`; moves `deadline`.
///
/// While the client says nothing there is neither a session nor a buffer. A hello is handed to rustls once it is whole:
/// so one that never ends costs its bytes and nothing else, and what is no TLS is told from it. Where too many
/// handshakes are under way, the oldest gives way.
///
/// # Errors
///
/// [`TlsFailure`], counted in [`TlsStats`](super::TlsStats); the client was told with an alert where there is one to
/// tell. The connection is closed, but for [`TlsFailure::NotTls`], which gives it back.
pub async fn accept(
    worker: &Worker,
    deadline: &Deadline,
    incoming: impl Into<Incoming>,
    tls: &ServerTls,
) -> Result<Socket, TlsFailure> {
    accept_with(worker, deadline, incoming.into(), tls.config(), tls.handshake_timeout()).await
}

pub(super) async fn accept_with(
    worker: &Worker,
    deadline: &Deadline,
    incoming: Incoming,
    config: Arc<ServerConfig>,
    limit: Duration,
) -> Result<Socket, TlsFailure> {
    deadline.set(Instant::now(), limit);
    let stats = &worker.shared.stats.tls;
    let watch = Watch { worker, deadline, permit: Some(stats.handshakes.begin(deadline.waker())) };
    let mut handshake = Handshake::new(incoming.socket, incoming.ahead, &worker.spares.buffers);
    match shake_hands(&mut handshake, &watch, config).await {
        Ok((session, facts)) => {
            stats.shaken(worker.shard, &facts);
            Ok(handshake.into_socket(session, facts))
        }
        Err(failure) => {
            let failure = match failure {
                NoHello::Failed(failure) => failure,
                NoHello::OtherProtocol => match handshake.bytes.received.take() {
                    Some(said) => TlsFailure::NotTls(Box::new(Plaintext { socket: handshake.socket, said })),
                    None => TlsFailure::Closed,
                },
            };
            stats.failed(failure.reason());
            Err(failure)
        }
    }
}

async fn shake_hands(
    handshake: &mut Handshake,
    watch: &Watch<'_>,
    config: Arc<ServerConfig>,
) -> Result<(Session, TlsFacts), NoHello> {
    let sni = poll_fn(|cx| poll_hello(handshake, watch, cx)).await?;
    let session = UnbufferedServerConnection::new(config).map_err(TlsFailure::Protocol)?;
    let mut session = Session::Server(session);
    handshake.run(&mut session, watch).await?;
    let client = session.state().peer_certificates().and_then(|chain| chain.first());
    let client = client.and_then(|certificate| ClientIdentity::of(certificate)).map(Arc::new);
    let certificate = handshake.certificate.take();
    let facts = TlsFacts { sni, certificate, client, ..TlsFacts::of(session.state()) };
    Ok((session, facts))
}

enum NoHello {
    OtherProtocol,
    Failed(TlsFailure),
}

impl From<TlsFailure> for NoHello {
    fn from(failure: TlsFailure) -> Self {
        Self::Failed(failure)
    }
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
