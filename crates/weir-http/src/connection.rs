use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use weir_net::Socket;
use weir_task::Deadline;
use weir_wire::http1::HeadLimits;

use crate::io::Io;
use crate::plane::{ListenerState, Plane, ProxyProtocol};
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
    /// When the last exchange ended: close enough to now for what follows it at once.
    pub(crate) now: Instant,
    pub(crate) patience: Patience,
    /// Whether it has yet to begin with a PROXY header.
    pub(crate) expects: ProxyProtocol,
    id: u32,
    counts_per_ip: bool,
    peer_text: PeerText,
}

/// An address as it is written in fields: made once a connection, used by each request.
struct PeerText {
    bytes: [u8; PEER_TEXT_MAX],
    length: u8,
}

/// The longest: `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`.
const PEER_TEXT_MAX: usize = 45;

impl PeerText {
    fn new(peer: Option<IpAddr>) -> Self {
        let mut text = Self { bytes: [0; PEER_TEXT_MAX], length: 0 };
        if let Some(peer) = peer {
            let mut rest = &mut text.bytes[..];
            write!(rest, "{peer}").expect("no address is longer than the longest");
            text.length = (PEER_TEXT_MAX - rest.len()) as u8;
        }
        text
    }
}

/// What bounds the wait for a request, as of the last request: taken from the snapshot when there is one anyway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For the first byte of a new connection, and for the rest of a head once it has begun.
    pub(crate) first: Duration,
    /// For the next request.
    pub(crate) next: Duration,
    pub(crate) head: HeadLimits,
}

impl Patience {
    pub(crate) fn of(plane: &Plane) -> Self {
        Self {
            first: plane.timeouts.request_head,
            next: plane.timeouts.keep_alive,
            head: HeadLimits { bytes: plane.limits.header_bytes, fields: plane.limits.headers },
        }
    }
}

/// Which limit a connection ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `limits.connections`.
    Connections,
    /// `limits.connections_per_ip`.
    PerIp,
    /// The listener takes connections from trusted proxies alone, and this peer is none.
    NotAProxy,
}

impl Connection {
    /// Counts a new connection, or says which limit it ran into.
    pub(crate) fn admit(
        socket: Socket,
        peer: Option<SocketAddr>,
        listener: Arc<ListenerState>,
        worker: Arc<Worker>,
        plane: &Plane,
    ) -> Result<Box<Self>, (Socket, Refusal)> {
        let shared = &worker.shared;
        let limits = &plane.limits;
        let expects = match plane.listener(listener.id).map_or(ProxyProtocol::Off, |plan| plan.proxy_protocol)
        {
            ProxyProtocol::Off => ProxyProtocol::Off,
            expected if peer.is_some_and(|peer| plane.trusted.contains(peer.ip())) => expected,
            ProxyProtocol::Accepted => ProxyProtocol::Off,
            ProxyProtocol::Required => return Err((socket, Refusal::NotAProxy)),
        };
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
            // Counted once it is known for whom the proxy connects: the proxy itself has no such limit.
            _ if expects != ProxyProtocol::Off => false,
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
        let peer_text = PeerText::new(peer.map(|peer| peer.ip().to_canonical()));
        let io = Io::new(socket);
        let patience = Patience::of(plane);
        Ok(Box::new(Self {
            io,
            peer,
            listener,
            worker,
            deadline,
            handle,
            requests: 0,
            now: Instant::now(),
            patience,
            expects,
            id,
            counts_per_ip,
            peer_text,
        }))
    }

    /// Settles who the client is: from here on `declared` is the peer. False where it is at its limit.
    pub(crate) fn settle_peer(&mut self, declared: Option<SocketAddr>) -> bool {
        self.expects = ProxyProtocol::Off;
        if declared.is_some() {
            self.peer = declared;
            self.peer_text = PeerText::new(self.peer_ip());
        }
        if let (Some(limit), Some(peer)) = (self.worker.plane().limits.connections_per_ip, self.peer) {
            self.counts_per_ip = self.worker.count_ip(peer.ip(), limit);
            return self.counts_per_ip;
        }
        true
    }

    /// The peer's address; none on unix sockets.
    pub(crate) fn peer_ip(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }

    /// The peer's address as text; empty on unix sockets.
    pub(crate) fn peer_text(&self) -> &[u8] {
        &self.peer_text.bytes[..usize::from(self.peer_text.length)]
    }

    /// Whether the connection should end after what it serves.
    pub(crate) fn is_ending(&self) -> bool {
        self.worker.is_draining() || self.listener.is_retired() || self.handle.should_close()
    }

    /// Whether the client has gone; otherwise the task is woken when it goes.
    ///
    /// The end of its stream is seen only behind what it has sent, so requests sent ahead are read into the buffer.
    /// When that is full there is nothing to learn.
    pub(crate) fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        while self.io.has_room() {
            match self.io.poll_fill(cx, &self.worker.spares.buffers) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(Ok(_) | Err(_)) => return true,
                Poll::Pending => return false,
            }
        }
        false
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
