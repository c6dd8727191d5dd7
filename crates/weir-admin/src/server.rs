use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use weir_net::{BindAddress, BindError, Listener, ListenerSocket, Pending, Socket};

use crate::connection::{Service, serve};
use crate::{Gateway, Guard};

/// Most connections at a time; later ones wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 64;

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the admin address cannot be served.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("the admin address: {0}")]
    Bind(#[from] BindError),
    /// The listening socket cannot be given to the runtime.
    #[error("the admin address: {0}")]
    Socket(#[from] io::Error),
}

/// The running admin server. Dropping it cuts its connections.
#[derive(Debug)]
pub struct Server {
    /// Kept open, and removed from the file system at the end.
    listener: Listener,
    stopping: watch::Sender<bool>,
    /// None only once it has been waited for.
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds, listens and serves on the current runtime. `unix_mode` is the mode of a unix socket.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left behind then.
    pub fn start(
        address: &BindAddress,
        unix_mode: u32,
        guard: Guard,
        gateway: Arc<dyn Gateway>,
    ) -> Result<Self, StartError> {
        let listener = Pending::bind(address, 1, unix_mode)?.listen()?;
        let acceptor = match listener.socket(0)? {
            ListenerSocket::Tcp(socket) => Acceptor::Tcp(TcpListener::from_std(socket)?),
            ListenerSocket::Unix(socket) => Acceptor::Unix(UnixListener::from_std(socket)?),
        };
        let stopping = watch::Sender::new(false);
        let service = Arc::new(Service { gateway, guard });
        let accepting = tokio::spawn(accept(acceptor, service, stopping.subscribe()));
        Ok(Self { listener, stopping, accepting: Some(accepting) })
    }

    /// Where it listens, with the port that the kernel chose.
    pub fn address(&self) -> &BindAddress {
        self.listener.address()
    }

    /// Accepts no more, lets requests that run be answered, and cuts what is left after `limit`.
    pub async fn shut_down(mut self, limit: Duration) {
        self.stopping.send_replace(true);
        if let Some(accepting) = &mut self.accepting {
            let _cut = tokio::time::timeout(limit, accepting).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            // Its set of connections ends with it.
            accepting.abort();
        }
    }
}

enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                Ok((Socket::Tcp(stream), Some(local)))
            }
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| (Socket::Unix(stream), None)),
        }
    }
}

/// Accepts until it is told to stop, then waits for the connections.
async fn accept(acceptor: Acceptor, service: Arc<Service>, mut stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("nobody closes the semaphore");
            (acceptor.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            Some(_ended) = connections.join_next() => continue,
            _ = stopping.wait_for(|&stopping| stopping) => break,
        };
        match accepted {
            Ok((socket, local)) => {
                let (service, stopping) = (Arc::clone(&service), stopping.clone());
                connections.spawn(async move {
                    match socket {
                        Socket::Tcp(stream) => serve(stream, local, service, stopping).await,
                        Socket::Unix(stream) => serve(stream, local, service, stopping).await,
                    }
                    drop(place);
                });
            }
            // The client was gone before it was accepted, or something is short; neither ends the server.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    drop(acceptor);
    while connections.join_next().await.is_some() {}
}
