use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use weir_net::Socket;
use weir_task::Deadline;

use crate::io::Io;
use crate::plane::{Limits, ListenerState};
use crate::worker::{ConnectionHandle, Worker};

/// One client connection: what it is made of while it serves requests, and all that it costs while idle.
pub(crate) struct Connection {
    pub(crate) io: Io,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) listener: Arc<ListenerState>,
    pub(crate) worker: Arc<Worker>,
    pub(crate) deadline: Deadline,
    pub(crate) handle: Arc<ConnectionHandle>,
    pub(crate) requests: u64,
    id: u32,
    counts_per_ip: bool,
}

/// Which limit a connection ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `limits.connections`.
    Connections,
    /// `limits.connections_per_ip`.
    PerIp,
}

impl Connection {
    /// Counts a new connection, or says which limit it ran into.
    pub(crate) fn admit(
        socket: Socket,
        peer: Option<SocketAddr>,
        listener: Arc<ListenerState>,
        worker: Arc<Worker>,
        limits: &Limits,
    ) -> Result<Self, (Socket, Refusal)> {
        let shared = &worker.shared;
        if shared.open.fetch_add(1, Ordering::Relaxed) >= limits.connections {
            // What is idle makes room for what has something to say.
            let shed = worker.close_oldest_idle(1);
            shared.stats.shed_idle_clients.add(shed as u64);
            if shed == 0 {
                shared.open.fetch_sub(1, Ordering::Relaxed);
                return Err((socket, Refusal::Connections));
            }
        }
        let counts_per_ip = match (limits.connections_per_ip, peer) {
            (Some(limit), Some(peer)) => {
                if !worker.count_ip(peer.ip(), limit) {
                    shared.open.fetch_sub(1, Ordering::Relaxed);
                    return Err((socket, Refusal::PerIp));
                }
                true
            }
            _ => false,
        };
        shared.stats.connections.add(1);
        listener.connections.add(1);
        let deadline = worker.deadlines.deadline();
        let (id, handle) = worker.register(deadline.waker());
        Ok(Self { io: Io::new(socket), peer, listener, worker, deadline, handle, requests: 0, id, counts_per_ip })
    }

    /// The peer's address; none on unix sockets.
    pub(crate) fn peer_ip(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }

    /// Whether the connection should end after what it serves.
    pub(crate) fn is_ending(&self) -> bool {
        self.worker.is_draining() || self.listener.is_retired() || self.handle.should_close()
    }

    /// Marks the connection idle or busy, for the choice of what to give up first.
    pub(crate) fn set_idle(&self, since: Option<Instant>) {
        self.handle.set_idle(since.map(|at| self.worker.age_ms(at)));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.worker.unregister(self.id);
        self.worker.shared.open.fetch_sub(1, Ordering::Relaxed);
        self.worker.shared.stats.connections.add(-1);
        self.listener.connections.add(-1);
        if let (true, Some(peer)) = (self.counts_per_ip, self.peer) {
            self.worker.uncount_ip(peer.ip());
        }
    }
}
