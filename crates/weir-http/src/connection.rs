use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use weir_net::{Admitted, ListenerState, ProxyProtocol, Refusal, Socket};
use weir_task::Deadline;
use weir_wire::http1::HeadLimits;

use crate::io::Io;
use crate::plane::Plane;
use crate::worker::HttpWorker;

/// One client connection: what it is made of while it serves requests, and all that it costs while idle.
pub(crate) struct Connection {
    pub(crate) io: Io,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) admitted: Admitted,
    pub(crate) worker: Arc<HttpWorker>,
    pub(crate) deadline: Deadline,
    pub(crate) requests: u64,
    /// When the last exchange ended: close enough to now for what follows it at once.
    pub(crate) now: Instant,
    pub(crate) patience: Patience,
    /// Whether it has yet to begin with a PROXY header.
    pub(crate) expects: ProxyProtocol,
    peer_text: PeerText,
}

/// An address as it is written in fields: made once a connection, used by each request.
struct PeerText {
    bytes: [u8; PEER_TEXT_MAX],
    length: u8,
}

/// The longest: eight groups of four digits.
const PEER_TEXT_MAX: usize = 39;

impl PeerText {
    /// Without the port, and without the scope of a link-local address: that is of this machine alone.
    fn new(peer: Option<SocketAddr>) -> Self {
        let mut text = Self { bytes: [0; PEER_TEXT_MAX], length: 0 };
        if let Some(peer) = peer.map(|peer| peer.ip().to_canonical()) {
            let mut rest = &mut text.bytes[..];
            write!(rest, "{peer}").expect("no address without a scope is longer");
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

impl Connection {
    /// Counts a new connection, or says which limit it ran into; whom only proxies may connect to sees to that before.
    pub(crate) fn admit(
        socket: Socket,
        peer: Option<SocketAddr>,
        listener: Arc<ListenerState>,
        worker: Arc<HttpWorker>,
        expects: ProxyProtocol,
        plane: &Plane,
    ) -> Result<Box<Self>, (Socket, Refusal)> {
        let limits = plane.limits.connections();
        let deadline = worker.base.deadlines.deadline();
        let mut admitted = match Admitted::enter(&worker.base, listener, deadline.waker(), &limits) {
            Ok(admitted) => admitted,
            Err(refusal) => return Err((socket, refusal)),
        };
        // Counted once it is known for whom a proxy connects: the proxy itself has no such limit.
        if let (ProxyProtocol::Off, Some(peer)) = (expects, peer)
            && let Err(refusal) = admitted.count_ip(peer.ip(), &limits)
        {
            return Err((socket, refusal));
        }
        let peer_text = PeerText::new(peer);
        Ok(Box::new(Self {
            io: Io::new(socket),
            peer,
            admitted,
            worker,
            deadline,
            requests: 0,
            now: Instant::now(),
            patience: Patience::of(plane),
            expects,
            peer_text,
        }))
    }

    /// Settles who the client is: from here on `declared` is the peer. False where it is at its limit.
    pub(crate) fn settle_peer(&mut self, declared: Option<SocketAddr>) -> bool {
        self.expects = ProxyProtocol::Off;
        if declared.is_some() {
            self.peer = declared;
            self.peer_text = PeerText::new(declared);
        }
        let limits = self.worker.plane().limits.connections();
        self.peer.is_none_or(|peer| self.admitted.count_ip(peer.ip(), &limits).is_ok())
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
        self.worker.base.is_draining()
            || self.admitted.listener.is_retired()
            || self.admitted.handle.should_close()
    }

    /// Whether the client has gone; otherwise the task is woken when it goes.
    ///
    /// The end of its stream is seen only behind what it has sent, so requests sent ahead are read into the buffer.
    /// When that is full there is nothing to learn.
    pub(crate) fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        while self.io.has_room() {
            match self.io.poll_fill(cx, &self.worker.base.spares.buffers) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(Ok(_) | Err(_)) => return true,
                Poll::Pending => return false,
            }
        }
        false
    }

    /// Marks the connection idle or busy, for the choice of what to give up first.
    pub(crate) fn set_idle(&self, since: Option<Instant>) {
        self.admitted.set_idle(since.map(|at| self.worker.base.age_ms(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::PeerText;

    #[test]
    fn every_address_has_a_text_without_port_and_scope() {
        for (peer, text) in [
            ("1.2.3.4:5", "1.2.3.4"),
            ("[::ffff:255.255.255.255]:1", "255.255.255.255"),
            ("[fe80::1%4294967295]:65535", "fe80::1"),
            (
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            ),
            ("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            let written = PeerText::new(Some(peer.parse().unwrap()));
            assert_eq!(&written.bytes[..usize::from(written.length)], text.as_bytes());
        }
        assert_eq!(PeerText::new(None).length, 0);
    }
}
