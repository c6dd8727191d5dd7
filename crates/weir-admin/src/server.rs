use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use weir_net::{BindAddress, BindError, Listener, ListenerSocket, Pending, Socket};

use crate::connection::{Service, serve};
use crate::places::{CONNECTIONS_MAX, Places};
use crate::source::Ends;
use crate::{Gateway, Guard, Stats};

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
    stats: Arc<Stats>,
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
        let service = Service::new(gateway, guard);
        let stats = Arc::clone(&service.stats);
        let accepting = tokio::spawn(accept(acceptor, Arc::new(service), stopping.subscribe()));
        Ok(Self { listener, stopping, stats, accepting: Some(accepting) })
    }

    /// What it counts of itself, to be shown among the metrics.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
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
    /// # Errors
    ///
    /// Those of the listening socket; a connection that broke before it was served is passed over.
    async fn accept(&self) -> io::Result<(Socket, Ends)> {
        loop {
            match self {
                Self::Tcp(listener) => {
                    let (stream, peer) = match listener.accept().await {
                        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                        accepted => accepted?,
                    };
                    if stream.set_nodelay(true).is_ok()
                        && let Ok(local) = stream.local_addr()
                    {
                        return Ok((Socket::Tcp(stream), Ends::new(peer.ip(), local.ip())));
                    }
                }
                Self::Unix(listener) => {
                    let (stream, _) = listener.accept().await?;
                    return Ok((Socket::Unix(stream), Ends::default()));
                }
            }
        }
    }
}

/// Accepts until it is told to stop, then waits for the connections.
async fn accept(acceptor: Acceptor, service: Arc<Service>, mut stopping: watch::Receiver<bool>) {
    let places = Places::new(Arc::clone(&service.stats));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let (socket, ends) = acceptor.accept().await?;
            Ok::<_, io::Error>(places.place(ends.source()).await.map(|place| (socket, ends, place)))
        };
        let next = tokio::select! {
            next = next => next,
            _ = stopping.wait_for(|&stopping| stopping) => break,
        };
        match next {
            Ok(Some((socket, ends, place))) => {
                let (service, stopping) = (Arc::clone(&service), stopping.clone());
                connections.spawn(async move {
                    match socket {
                        Socket::Tcp(stream) => serve(stream, ends, place, service, stopping).await,
                        Socket::Unix(stream) => serve(stream, ends, place, service, stopping).await,
                        Socket::Tls(_) | Socket::Stream(_) => {
                            unreachable!("the admin address accepts sockets as they are")
                        }
                    }
                });
            }
            // Its source has as many requests under work as it may have connections.
            Ok(None) => {}
            // Descriptors or memory are short, which does not end the server.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
        // Who was cut is gone before another is accepted: sockets do not outnumber places.
        while connections.len() > CONNECTIONS_MAX {
            connections.join_next().await;
        }
    }
    drop(acceptor);
    while connections.join_next().await.is_some() {}
}
