use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use weir_net::tls::{self, TlsFailure, TlsFault};
use weir_net::{Socket, TunnelRefusal, Worker, is_out_of_descriptors};
use weir_task::Deadline;
use weir_telemetry::{Level, Value};

use crate::link::Secured;
use crate::{Address, Endpoint, Outcome};

/// Why there is no connection to an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// It was refused, or failed otherwise.
    #[error(transparent)]
    Failed(#[from] io::Error),
    /// There is a connection, and no TLS on it.
    #[error("there is no TLS on the connection: {0}")]
    Tls(TlsFault),
    /// It was not made in time, TLS included.
    #[error("it was not made in time")]
    TimedOut,
    /// There is no stream to the agent; nothing was tried.
    #[error(transparent)]
    Tunnel(TunnelRefusal),
    /// This process has no descriptor left; says nothing about the endpoint.
    #[error("no descriptor is left")]
    OutOfDescriptors,
    /// The process stops; says nothing about the endpoint.
    #[error("the gateway stops before it was made")]
    Stopping,
}

impl DialError {
    /// What it says about the endpoint.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Failed(_) => Outcome::ConnectFailed,
            Self::Tls(_) => Outcome::TlsFailed,
            Self::TimedOut => Outcome::ConnectTimeout,
            // Who is offline is known without being asked again: it needs no pause.
            Self::Tunnel(_) | Self::OutOfDescriptors | Self::Stopping => Outcome::Cancelled,
        }
    }
}

/// How a connection is made, beside where to.
#[derive(Debug, Clone, Copy)]
pub struct Dial<'a> {
    /// Longest wait for all of it.
    pub limit: Duration,
    /// What is written before TLS begins; nothing is written where there is no TLS.
    pub preface: &'a [u8],
    /// What is spoken.
    pub speaks: Speaks<'a>,
}

/// What is spoken on a connection, for ALPN to offer.
#[derive(Debug, Clone, Copy)]
pub enum Speaks<'a> {
    /// HTTP, in the versions that the upstream is configured with.
    Http,
    /// What the client has agreed on with us; none where it speaks no TLS, or has not said.
    Client(Option<&'a [u8]>),
}

/// Opens a connection to an endpoint, TLS included where the upstream has it; moves `deadline`.
///
/// Where no descriptor is left, idle connections are given up and it is tried once more in what is left of the time.
///
/// # Errors
///
/// [`DialError`]; nothing was sent but `preface`. Faults of TLS are counted, and told now and then.
pub async fn dial(
    worker: &Worker,
    deadline: &Deadline,
    endpoint: &Endpoint,
    dial: Dial<'_>,
) -> Result<Socket, DialError> {
    let begun = Instant::now();
    deadline.set(begun, dial.limit);
    let socket = match connect(worker, deadline, endpoint.address()).await {
        Err(DialError::OutOfDescriptors) => {
            worker.descriptors_ran_out();
            connect(worker, deadline, endpoint.address()).await?
        }
        result => result?,
    };
    let Some(secured) = endpoint.link.secured() else { return Ok(socket) };
    let shaken = secure(worker, deadline, socket, secured, &dial, begun).await;
    if let Err(DialError::Tls(fault)) = &shaken {
        endpoint.tls_failed(worker, fault);
    }
    shaken
}

async fn connect(worker: &Worker, deadline: &Deadline, address: &Address) -> Result<Socket, DialError> {
    let connecting = async {
        match address {
            Address::Tcp(address) => Socket::connect_tcp(*address).await.map_err(DialError::Failed),
            Address::Unix(path) => Socket::connect_unix(path).await.map_err(DialError::Failed),
            Address::Tunnel(agent) => open(worker, agent),
        }
    };
    let mut connecting = pin!(connecting);
    poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(Ok(socket)) => Poll::Ready(Ok(socket)),
        Poll::Ready(Err(DialError::Failed(error))) if is_out_of_descriptors(&error) => {
            Poll::Ready(Err(DialError::OutOfDescriptors))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending if worker.is_stopping() => Poll::Ready(Err(DialError::Stopping)),
        Poll::Pending if deadline.is_expired(cx) => Poll::Ready(Err(DialError::TimedOut)),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// A stream to an agent; there is nothing to wait for.
fn open(worker: &Worker, agent: &str) -> Result<Socket, DialError> {
    let tunnels = worker.shared.tunnels.get().ok_or(DialError::Tunnel(TunnelRefusal::Unknown))?;
    tunnels.open(agent).map(Socket::Stream).map_err(DialError::Tunnel)
}

/// Shakes hands on a connection, in what is left of the time.
async fn secure(
    worker: &Worker,
    deadline: &Deadline,
    mut socket: Socket,
    secured: &Secured,
    dial: &Dial<'_>,
    begun: Instant,
) -> Result<Socket, DialError> {
    write(worker, deadline, &mut socket, dial.preface).await?;
    let left = dial.limit.saturating_sub(begun.elapsed());
    let offering = match dial.speaks {
        Speaks::Http => None,
        Speaks::Client(protocol) => Some(secured.tls.offering(protocol.as_slice())),
    };
    let tls = offering.as_ref().unwrap_or(&secured.tls);
    let shaken = tls::connect(worker, deadline, left, socket, tls, secured.name.clone()).await;
    let socket = shaken.map_err(|failure| match failure {
        TlsFailure::TimedOut => DialError::TimedOut,
        TlsFailure::Stopping => DialError::Stopping,
        TlsFailure::Closed => DialError::Tls(TlsFault::closed()),
        TlsFailure::Io(error) => DialError::Tls(TlsFault::from(&error)),
        TlsFailure::Protocol(error) => DialError::Tls(TlsFault::from(&error)),
        TlsFailure::PlainHttp | TlsFailure::NotTls | TlsFailure::TooLong | TlsFailure::GivenUp => {
            DialError::Tls(TlsFault::not_tls())
        }
    })?;
    if matches!(dial.speaks, Speaks::Http) && !secured.speaks(socket.alpn()) {
        return Err(DialError::Tls(TlsFault::no_protocol()));
    }
    secured.tally.succeeded(socket.tls().is_some_and(|facts| facts.resumed));
    Ok(socket)
}

/// Writes what goes before TLS.
async fn write(
    worker: &Worker,
    deadline: &Deadline,
    socket: &mut Socket,
    mut bytes: &[u8],
) -> Result<(), DialError> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| match socket.poll_write(cx, bytes) {
            Poll::Ready(result) => Poll::Ready(result.map_err(DialError::Failed)),
            Poll::Pending if worker.is_stopping() => Poll::Ready(Err(DialError::Stopping)),
            Poll::Pending if deadline.is_expired(cx) => Poll::Ready(Err(DialError::TimedOut)),
            Poll::Pending => Poll::Pending,
        });
        bytes = &bytes[written.await?..];
    }
    Ok(())
}

impl Endpoint {
    /// Counts that TLS with it failed, and tells it where nothing was told for a while.
    pub fn tls_failed(&self, worker: &Worker, fault: &TlsFault) {
        let Some(secured) = self.link.secured() else { return };
        if !secured.tally.failed(fault, Instant::now()) {
            return;
        }
        let fields = [
            ("upstream", Value::Str(secured.tally.upstream())),
            ("endpoint", Value::Str(self.label())),
            ("reason", Value::Str(fault.reason().as_str())),
            ("error", Value::Str(&fault.to_string())),
        ];
        worker.shared.log.event(Level::Warn, "upstream_tls_failed", &fields);
    }
}
