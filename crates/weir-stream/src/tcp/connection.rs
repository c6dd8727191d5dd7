use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_base::ErrorCode;
use weir_net::{Admitted, Buffer, ListenerState, ProxyProtocol, Refusal, RelayTotals, Socket};
use weir_task::Deadline;
use weir_telemetry::{StreamRecord, Transport};

use super::opening::Opening;
use crate::StreamWorker;
use crate::end::End;
use crate::stats::ListenerStats;

/// One client connection, from accept to the log line.
pub(super) struct Connection {
    pub(super) client: Socket,
    /// Who connects: the socket's peer, or whom a PROXY header declares.
    pub(super) peer: Option<SocketAddr>,
    /// Where a PROXY header says that the client connected to, and the TLVs behind that.
    pub(super) declared: Option<Box<Declared>>,
    /// What was read before the two sides were joined.
    pub(super) ahead: Option<Buffer>,
    pub(super) admitted: Admitted,
    pub(super) worker: Arc<StreamWorker>,
    pub(super) deadline: Deadline,
    /// It was silent when a drain began, and was given a last while.
    pub(super) hurried: bool,
    pub(super) stats: Arc<ListenerStats>,
    pub(super) started: Instant,
    /// The name that the client asked for in its ClientHello.
    pub(super) sni: Option<Box<str>>,
    pub(super) upstream: Option<Arc<str>>,
    pub(super) endpoint: Option<Arc<str>>,
    pub(super) attempts: u32,
    /// How long the endpoint took that took it.
    pub(super) connect_time: Option<Duration>,
}

/// What a PROXY header says beside the client's address.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) destination: Option<SocketAddr>,
    /// The TLVs as they came.
    pub(super) tlvs: Box<[u8]>,
}

impl Connection {
    /// Counts a new connection, or gives the socket back with the limit that it ran into.
    pub(super) fn admit(
        client: Socket,
        peer: Option<SocketAddr>,
        listener: Arc<ListenerState>,
        worker: &Arc<StreamWorker>,
        opening: &Opening,
    ) -> Result<Box<Self>, (Socket, Refusal)> {
        let deadline = worker.base.deadlines.deadline();
        let limits = &opening.limits;
        let mut admitted = match Admitted::enter(&worker.base, listener, deadline.waker(), limits) {
            Ok(admitted) => admitted,
            Err(refusal) => return Err((client, refusal)),
        };
        // Counted once it is known for whom a proxy connects: the proxy itself has no such limit.
        if let (ProxyProtocol::Off, Some(peer)) = (opening.expects, peer)
            && let Err(refusal) = admitted.count_ip(peer.ip(), limits)
        {
            return Err((client, refusal));
        }
        Ok(Box::new(Self {
            client,
            peer,
            declared: None,
            ahead: None,
            admitted,
            worker: Arc::clone(worker),
            deadline,
            hurried: false,
            stats: Arc::clone(&opening.listener.stats),
            started: Instant::now(),
            sni: None,
            upstream: None,
            endpoint: None,
            attempts: 0,
            connect_time: None,
        }))
    }

    /// The name that the client asked for, of us or of whom its bytes go to.
    pub(super) fn sni(&self) -> &str {
        let ours = self.client.tls().and_then(|facts| facts.sni.as_deref());
        ours.or(self.sni.as_deref()).unwrap_or_default()
    }

    /// The client's address; none on unix sockets.
    pub(super) fn client_ip(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }

    /// The bytes that were read ahead, with room for more.
    pub(super) fn ahead(&mut self) -> &mut Buffer {
        self.ahead.get_or_insert_with(|| self.worker.base.spares.buffers.take())
    }

    /// Forgets what was read ahead.
    pub(super) fn put_ahead(&mut self) {
        if let Some(buffer) = self.ahead.take() {
            self.worker.base.spares.buffers.put(buffer);
        }
    }

    /// Counts and logs the connection, which is over.
    pub(super) fn record(&self, end: End, totals: RelayTotals) {
        let now = Instant::now();
        let duration = now - self.started;
        self.stats.ended(self.worker.base.shard, end, duration);
        let mut access = self.worker.access();
        if !access.is_on() {
            return;
        }
        let timestamp_us = access.micros_at(now);
        access.push_stream(&StreamRecord {
            timestamp_us,
            level: end.level(),
            transport: Transport::Tcp { sni: self.sni().as_bytes() },
            listener: &self.admitted.listener.name,
            upstream: self.upstream.as_deref().unwrap_or_default(),
            endpoint: self.endpoint.as_deref().unwrap_or_default(),
            attempts: self.attempts,
            client_ip: self.client_ip(),
            bytes_in: totals.to_upstream,
            bytes_out: totals.to_client,
            duration,
            connect_us: self.connect_time.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            end: end.as_str(),
            tls: self.client.tls().map(|facts| facts.record()),
            error: end.error().map_or("", ErrorCode::as_str),
        });
    }
}
