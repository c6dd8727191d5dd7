//! One worker thread: its runtime, and the accepting of connections.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot};
use weir_http::HttpWorker;
use weir_net::{ListenerSocket, ListenerState, Socket, Worker, is_out_of_descriptors};
use weir_stream::StreamWorker;
use weir_upstream::LinkId;

use super::bound::WorkerSocket;
use super::tunnel::Tunnel;

/// What the control side asks of a worker.
pub(super) enum Command {
    /// Serve what comes to this socket until the listener is retired; then say so.
    Serve { socket: WorkerSocket, state: Arc<ListenerState>, done: oneshot::Sender<()> },
    /// Look again at which listeners are retired, and keep connections that are made like these only.
    Review { links: Arc<HashSet<LinkId>> },
}

/// By which plane a listener's connections are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serves {
    Http,
    Tcp,
    Udp,
    Tunnel,
}

impl Serves {
    /// The key in the configuration.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Tunnel => "tunnel",
        }
    }
}

/// What one worker serves with.
#[derive(Clone)]
pub(super) struct Planes {
    pub(super) base: Arc<Worker>,
    pub(super) http: Arc<HttpWorker>,
    pub(super) stream: Arc<StreamWorker>,
    pub(super) tunnel: Arc<Tunnel>,
}

/// Commands that wait for a worker: some hundred reloads, each of which asks for one review and, of new listeners, for
/// one serving each.
const COMMANDS_QUEUED_MAX: usize = 1_024;

/// A worker as the control side sees it.
pub(super) struct WorkerThread {
    commands: mpsc::Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerThread {
    /// Starts the thread; `stop` ends it.
    pub(super) fn start(index: usize, planes: Planes, mut stop: weir_task::DrainSignal) -> io::Result<Self> {
        let (commands, receiver) = mpsc::channel(COMMANDS_QUEUED_MAX);
        let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("the descriptors of a runtime are among those that are reserved at start");
            runtime.block_on(async move {
                let base = Arc::clone(&planes.base);
                tokio::spawn(Arc::clone(&base).run());
                tokio::spawn(Arc::clone(&planes.http).run());
                tokio::spawn(Arc::clone(&planes.stream).run());
                tokio::spawn(obey(planes, receiver));
                stop.stopped().await;
                // What still runs ends by itself now, and is counted and logged.
                let last = tokio::time::Instant::now() + LAST_WORDS;
                while !base.is_deserted() && tokio::time::Instant::now() < last {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
            // Whatever still runs is dropped with the runtime.
        })?;
        Ok(Self { commands, thread: Some(thread) })
    }

    /// Asks for something; a worker that is gone has nothing to do. False where one has not taken up what it was asked
    /// for so long that its queue is full: it hangs.
    pub(super) fn send(&self, command: Command) -> bool {
        !matches!(self.commands.try_send(command), Err(mpsc::error::TrySendError::Full(_)))
    }

    /// Waits for the thread to end.
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has said so on standard error.
            let _panicked = thread.join();
        }
    }
}

async fn obey(planes: Planes, mut commands: mpsc::Receiver<Command>) {
    let retired = Arc::new(tokio::sync::Notify::new());
    while let Some(command) = commands.recv().await {
        match command {
            Command::Serve { socket, state, done } => {
                let serving = serve(socket, state, planes.clone(), Arc::clone(&retired));
                tokio::spawn(async move {
                    serving.await;
                    let _nobody_waits = done.send(());
                });
            }
            Command::Review { links } => {
                retired.notify_waiters();
                planes.http.review(&links);
                planes.stream.review();
                planes.base.wake_all();
            }
        }
    }
}

async fn serve(
    socket: WorkerSocket,
    state: Arc<ListenerState>,
    planes: Planes,
    retired: Arc<tokio::sync::Notify>,
) {
    match socket {
        WorkerSocket::Stream(socket) => accept(socket, state, planes, retired).await,
        WorkerSocket::Udp(socket) => {
            let serving =
                weir_stream::udp::serve(socket, Arc::clone(&state), Arc::clone(&planes.stream), retired);
            if let Err(error) = serving.await {
                planes.base.log_accept_failure(&state, &error);
            }
        }
    }
}

impl Planes {
    /// Serves one connection to its end, beside whatever else is served.
    ///
    /// By the configuration of this moment: a reload that makes an HTTP listener one of TCP, or the other way round,
    /// holds from then on, also for those who are accepted by a worker that has not heard of it yet.
    fn serve(&self, socket: Socket, peer: Option<SocketAddr>, state: &Arc<ListenerState>) {
        let state = Arc::clone(state);
        if self.tunnel.listens_as(state.id) {
            tokio::spawn(Arc::clone(&self.tunnel).serve(socket, peer, state, Arc::clone(&self.base)));
        } else if self.stream.takes_connections(state.id) {
            tokio::spawn(weir_stream::tcp::serve(socket, peer, state, Arc::clone(&self.stream)));
        } else {
            tokio::spawn(weir_http::serve(socket, peer, state, Arc::clone(&self.http)));
        }
    }
}

enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    fn new(socket: ListenerSocket) -> io::Result<Self> {
        match socket {
            ListenerSocket::Tcp(socket) => TcpListener::from_std(socket).map(Self::Tcp),
            ListenerSocket::Unix(socket) => UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Socket::Tcp(stream), Some(peer)))
            }
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| (Socket::Unix(stream), None)),
        }
    }
}

/// How long a worker waits after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// How long connections may still take to say how they ended once everything was told to end.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// How long a retired listener still waits for connections that had begun.
const LAST_ARRIVALS: Duration = Duration::from_millis(50);

/// How long a retired unix socket goes on accepting at most: the kernel greets whoever comes until it is closed.
const LAST_ARRIVALS_MAX: Duration = Duration::from_secs(1);

async fn accept(
    socket: ListenerSocket,
    state: Arc<ListenerState>,
    planes: Planes,
    wake: Arc<tokio::sync::Notify>,
) {
    let acceptor = match Acceptor::new(socket) {
        Ok(acceptor) => acceptor,
        Err(error) => return planes.base.log_accept_failure(&state, &error),
    };
    loop {
        let woken = wake.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        if state.is_retired() {
            break;
        }
        tokio::select! {
            accepted = acceptor.accept() => match accepted {
                Ok((socket, peer)) => planes.serve(socket, peer, &state),
                Err(error) => accept_failed(&planes.base, &state, &error).await,
            },
            () = &mut woken => {}
        }
    }
    accept_last(&acceptor, &state, &planes).await;
}

/// Serves whom the kernel has greeted in the name of a listener that is retired, those whose last packet is on its way
/// too. Whoever comes to an address that is handed over, at once or meanwhile, is the successor's.
async fn accept_last(acceptor: &Acceptor, state: &Arc<ListenerState>, planes: &Planes) {
    let now = tokio::time::Instant::now;
    let end = matches!(acceptor, Acceptor::Unix(_)).then(|| now() + LAST_ARRIVALS_MAX);
    while !state.is_handed_over() && end.is_none_or(|end| now() < end) {
        let Ok(accepted) = tokio::time::timeout(LAST_ARRIVALS, acceptor.accept()).await else { return };
        match accepted {
            Ok((socket, peer)) => planes.serve(socket, peer, state),
            Err(error) if is_broken(&error) => return,
            // One that left, or a shortage, must not leave those behind it to be reset.
            Err(error) => accept_failed(&planes.base, state, &error).await,
        }
    }
}

/// Whether an accept can never succeed again: the descriptor is not a listening socket (any more).
fn is_broken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP))
}

async fn accept_failed(worker: &Worker, state: &ListenerState, error: &io::Error) {
    if is_out_of_descriptors(error) {
        worker.descriptors_ran_out();
    } else if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
        // The client was gone before it was accepted.
        return;
    } else {
        worker.log_accept_failure(state, error);
        if is_broken(error) {
            worker.listener_failed();
        }
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_does_not_listen_is_broken_and_a_client_that_left_is_not() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let listener = std::net::TcpListener::from(std::os::fd::OwnedFd::from(socket));
        assert!(is_broken(&listener.accept().unwrap_err()));
        for passing in [libc::ECONNABORTED, libc::EMFILE, libc::ENOBUFS, libc::EPERM, libc::EAGAIN] {
            assert!(!is_broken(&io::Error::from_raw_os_error(passing)));
        }
    }
}
