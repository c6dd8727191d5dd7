use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use weir_net::tls::{ServerTls, TlsFacts};
use weir_net::{Admitted, ListenerState, ProxyProtocol, Refusal, Socket};
use weir_task::Deadline;
use weir_wire::http1::HeadLimits;

use crate::plane::Plane;
use crate::wire::{Io, Wire};
use crate::worker::HttpWorker;

/// One conversation with a client, request by request: a connection of HTTP/1.1, and all that it costs while idle, or
/// one stream of an HTTP/2 connection.
pub(crate) struct Connection {
    pub(crate) io: Wire,
    pub(crate) client: Arc<Client>,
    pub(crate) worker: Arc<HttpWorker>,
    pub(crate) deadline: Deadline,
    pub(crate) requests: u64,
    /// When the last exchange ended: close enough to now for what follows it at once.
    pub(crate) now: Instant,
    pub(crate) patience: Patience,
    /// Whether it has yet to begin with a PROXY header.
    pub(crate) expects: ProxyProtocol,
    /// What it is to shake hands by before its first request.
    pub(crate) shakes: Option<Arc<ServerTls>>,
}

/// Who is at the other end of a client connection: the same for all conversations over it.
pub(crate) struct Client {
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) admitted: Admitted,
    /// What the TLS handshake has settled.
    pub(crate) tls: Option<Arc<TlsFacts>>,
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
        let shakes = plane.listener(listener.id).and_then(|plan| plan.tls.clone());
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
            io: Wire::H1(Io::new(socket)),
            client: Arc::new(Client { peer, admitted, tls: None, peer_text }),
            worker,
            deadline,
            requests: 0,
            now: Instant::now(),
            patience: Patience::of(plane),
            expects,
            shakes,
        }))
    }

    /// Settles what a TLS handshake has told of the client.
    pub(crate) fn settle_tls(&mut self) {
        let client =
            Arc::get_mut(&mut self.client).expect("nobody else knows of it before its first request");
        client.tls = self.io.io().socket.tls().cloned();
    }

    /// Settles who the client is: from here on `declared` is the peer. False where it is at its limit.
    pub(crate) fn settle_peer(&mut self, declared: Option<SocketAddr>) -> bool {
        self.expects = ProxyProtocol::Off;
        let limits = self.worker.plane().limits.connections();
        let client =
            Arc::get_mut(&mut self.client).expect("nobody else knows of it before its first request");
        if declared.is_some() {
            client.peer = declared;
            client.peer_text = PeerText::new(declared);
        }
        client.peer.is_none_or(|peer| client.admitted.count_ip(peer.ip(), &limits).is_ok())
    }

    /// Whether the connection should end after what it serves.
    pub(crate) fn is_ending(&self) -> bool {
        self.worker.base.is_draining()
            || self.client.admitted.listener.is_retired()
            || self.client.admitted.handle.should_close()
    }

    /// Whether the client has gone; otherwise the task is woken when it goes.
    ///
    /// The end of its stream is seen only behind what it has sent, so requests sent ahead are read into the buffer.
    /// When that is full there is nothing to learn.
    pub(crate) fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        let io = match &mut self.io {
            Wire::H1(io) => io,
            Wire::H2(stream) => return stream.is_gone(cx),
        };
        while io.has_room() {
            match io.poll_fill(cx, &self.worker.base.spares.buffers) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(Ok(_) | Err(_)) => return true,
                Poll::Pending => return false,
            }
        }
        false
    }

    /// Marks the connection idle or busy, for the choice of what to give up first.
    pub(crate) fn set_idle(&self, since: Option<Instant>) {
        self.client.admitted.set_idle(since.map(|at| self.worker.base.age_ms(at)));
    }
}

impl Client {
    /// How the client has connected: `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Whether its listener serves HTTP/2.
    pub(crate) fn speaks_http2(&self, worker: &HttpWorker) -> bool {
        let listener = &self.admitted.listener;
        worker.plane_for(listener).listener(listener.id).is_some_and(|plan| plan.versions.http2)
    }

    /// The peer's address; none on unix sockets.
    pub(crate) fn peer_ip(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }

    /// The peer's address as text; empty on unix sockets.
    pub(crate) fn peer_text(&self) -> &[u8] {
        &self.peer_text.bytes[..usize::from(self.peer_text.length)]
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
