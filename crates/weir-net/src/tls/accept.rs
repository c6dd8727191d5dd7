use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use weir_task::Deadline;
use weir_wire::client_hello::{self, Absent, HelloError, Parsed};

use super::facts::TlsFacts;
use super::handshake::{Handshake, Watch};
use super::session::Session;
use super::{ClientIdentity, Refused, ServerTls, TlsFailure};
use crate::{Buffer, ConnectionHandle, Socket, Worker};

/// A connection on which a client is about to begin a handshake.
#[derive(Debug)]
pub struct Incoming<'h> {
    /// The connection.
    pub socket: Socket,
    /// What was read of it already, as with a PROXY header.
    pub ahead: Option<Buffer>,
    /// Who may ask for its descriptor.
    pub handle: Option<&'h ConnectionHandle>,
}

impl From<Socket> for Incoming<'_> {
    fn from(socket: Socket) -> Self {
        Self { socket, ahead: None, handle: None }
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
/// [`Refused`], counted in [`TlsStats`](super::TlsStats).
pub async fn accept(
    worker: &Worker,
    deadline: &Deadline,
    incoming: impl Into<Incoming<'_>>,
    tls: &ServerTls,
) -> Result<Socket, Refused> {
    let limit = tls.handshake_timeout();
    Box::pin(accept_with(worker, deadline, incoming.into(), tls.config(), tls.asks_for_client(), limit)).await
}

pub(super) async fn accept_with(
    worker: &Worker,
    deadline: &Deadline,
    incoming: Incoming<'_>,
    config: Arc<ServerConfig>,
    asks_for_client: bool,
    limit: Duration,
) -> Result<Socket, Refused> {
    deadline.set(Instant::now(), limit);
    let stats = &worker.shared.stats.tls;
    let permit = Some(stats.handshakes.begin(deadline.waker()));
    let watch =
        Watch { worker, deadline, permit, handle: incoming.handle, is_hurried: AtomicBool::new(false) };
    let mut handshake = Handshake::new(incoming.socket, incoming.ahead, &worker.spares.buffers);
    match shake_hands(&mut handshake, &watch, config).await {
        Ok((session, mut facts)) => {
            facts.asks_for_client = asks_for_client;
            stats.shaken(worker.shard, &facts);
            Ok(handshake.into_socket(session, facts))
        }
        Err(failure) => {
            stats.failed(failure.reason());
            Err(Refused { failure, socket: handshake.socket })
        }
    }
}

async fn shake_hands(
    handshake: &mut Handshake,
    watch: &Watch<'_>,
    config: Arc<ServerConfig>,
) -> Result<(Session, TlsFacts), TlsFailure> {
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

/// Waits for the whole hello, and reads the server's name in it.
fn poll_hello(
    handshake: &mut Handshake,
    watch: &Watch<'_>,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Box<str>>, TlsFailure>> {
    let mut joined = Vec::new();
    loop {
        if handshake.received().is_empty() && watch.worker.is_draining() {
            watch.hurry();
        }
        match client_hello::parse(handshake.received(), &mut joined) {
            Ok(Parsed::Incomplete) => {}
            Ok(Parsed::Hello(hello)) => {
                let name = hello.server_name.map(|name| name.to_ascii_lowercase().into());
                return Poll::Ready(Ok(name));
            }
            Ok(Parsed::Absent(Absent::OtherProtocol)) => {
                return Poll::Ready(Err(other_protocol(handshake.received())));
            }
            Err(HelloError::TooLong) => return Poll::Ready(Err(TlsFailure::TooLong)),
            // rustls says with an alert what is wrong with it.
            Ok(Parsed::Absent(_)) | Err(_) => return Poll::Ready(Ok(None)),
        }
        match handshake.poll_receive(cx) {
            Poll::Ready(received) => received?,
            Poll::Pending => return watch.poll_over(cx).map(Err),
        }
    }
}

/// What somebody speaks who does not begin a handshake.
fn other_protocol(said: &[u8]) -> TlsFailure {
    let method = said.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    if (2..=16).contains(&method) && matches!(said.get(method), Some(b' ') | None) {
        TlsFailure::PlainHttp
    } else {
        TlsFailure::NotTls
    }
}
