//! The connection to an endpoint: to the one that is picked, or to the next where it cannot be reached.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use weir_base::ByteSize;
use weir_net::tls::TlsFacts;
use weir_net::{Relay, Socket};
use weir_upstream::{
    Dial, DialError, Endpoint, Lease, Outcome, PickError, PickRequest, Speaks, Tried, Upstream, dial,
};
use weir_wire::proxy_protocol::{TlsTold, Tlv, Tlvs, write_v1, write_v2};

use super::connection::Connection;
use super::opening::{Silence, poll_more};
use super::relay::{Joined, Terms};
use crate::SendProxyProtocol;
use crate::end::End;
use crate::plane::TcpListener;

/// Connects to one endpoint of the upstream after the other until one takes the connection.
pub(super) async fn connect(
    connection: &mut Connection,
    listener: &TcpListener,
    upstream: &Arc<Upstream>,
) -> Result<Box<Joined>, End> {
    let introduction = introduction(connection, listener.plan.send_proxy_protocol);
    let spoken = spoken(connection);
    let mut first_try = None;
    let mut tried = Tried::new();
    let mut last = End::NoEndpoint;
    loop {
        let lease = match pick(connection, upstream, &tried).await? {
            Ok(lease) => lease,
            Err(PickError::QueueFull) => return Err(End::QueueFull),
            Err(PickError::QueueTimeout) => return Err(End::QueueTimeout),
            // That nobody else is left says less than why the last one failed.
            Err(PickError::NoEndpoint { .. } | PickError::AllTried | PickError::Busy) => return Err(last),
        };
        connection.attempts += 1;
        connection.endpoint = Some(Arc::clone(lease.endpoint().label()));
        let dial = Dial {
            limit: upstream.plan().connect_timeout,
            preface: &introduction,
            speaks: Speaks::Client(spoken.as_deref()),
        };
        let started = Instant::now();
        let begun = *first_try.get_or_insert(started);
        let dialled = reach(connection, lease.endpoint(), dial).await?;
        let now = Instant::now();
        let outcome = match &dialled {
            Ok(_) => Outcome::Success { head_after: now - started },
            Err(error) => error.outcome(),
        };
        if let Some(change) = upstream.record(lease.endpoint(), outcome, now) {
            change.tell(&connection.worker.base.shared);
        }
        match dialled {
            Ok(socket) => {
                lease.endpoint().connected(now - started);
                connection.connect_time = Some(now - started);
                connection.stats.connected(connection.worker.base.shard, now - begun);
                // To one who speaks TLS it went before that.
                let rest = if lease.endpoint().is_secured() { &[][..] } else { &introduction[..] };
                return Ok(join(connection, listener, socket, lease, rest));
            }
            Err(error) => {
                last = match error {
                    DialError::Failed(_) | DialError::Tunnel(_) => End::ConnectFailed,
                    DialError::Tls(_) => End::UpstreamTlsFailed,
                    DialError::TimedOut => End::ConnectTimeout,
                    DialError::OutOfDescriptors => return Err(End::Overloaded),
                    DialError::Stopping => return Err(End::ShuttingDown),
                };
                tried.insert(lease.endpoint().id());
            }
        }
    }
}

/// Dials an endpoint, unless the client leaves before.
async fn reach(
    connection: &mut Connection,
    endpoint: &Endpoint,
    how: Dial<'_>,
) -> Result<Result<Socket, DialError>, End> {
    let (worker, deadline) = (Arc::clone(&connection.worker), connection.deadline.clone());
    let mut dialling = std::pin::pin!(dial(&worker.base, &deadline, endpoint, how));
    // One that has ended its direction, even without a word, may be waiting for a greeting.
    let mut departure = Departure { has_ended: false, by_silence: false };
    poll_fn(|cx| match dialling.as_mut().poll(cx) {
        Poll::Ready(dialled) => Poll::Ready(Ok(dialled)),
        Poll::Pending => departure.poll(connection, cx).map(Err),
    })
    .await
}

/// An endpoint that has not been tried; waits in the upstream's queue where every one is at its cap.
async fn pick(
    connection: &mut Connection,
    upstream: &Arc<Upstream>,
    tried: &Tried,
) -> Result<Result<Lease, PickError>, End> {
    let now = Instant::now();
    let random = connection.worker.base.random();
    let request = PickRequest { now, client: connection.client_ip(), hash: None, random };
    match upstream.pick(&request, tried) {
        Err(PickError::Busy) => {}
        answer => return Ok(answer),
    }
    let patience = upstream.plan().queue.timeout;
    connection.deadline.set(now, patience);
    let mut waiting = std::pin::pin!(upstream.acquire(&request, tried, now + patience));
    // A client that leaves the queue gives its turn up, and one that came to say nothing has no turn.
    let mut departure = Departure { has_ended: false, by_silence: true };
    poll_fn(|cx| match waiting.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Ok(answer)),
        Poll::Pending => departure.poll(connection, cx).map(Err),
    })
    .await
}

/// Looks whether the client leaves while it waits.
struct Departure {
    /// It has ended its direction.
    has_ended: bool,
    /// Whether one that ends its direction without a word has left.
    by_silence: bool,
}

impl Departure {
    /// How the connection ended; reads ahead what one buffer holds.
    fn poll(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if connection.worker.base.is_stopping() {
                return Poll::Ready(End::ShuttingDown);
            }
            // One that has ended its direction still waits for an answer.
            if self.has_ended || connection.ahead.as_mut().is_some_and(|ahead| ahead.room().is_empty()) {
                // So that the end of the process wakes it.
                let _registered = connection.deadline.is_expired(cx);
                return Poll::Pending;
            }
            match ready!(poll_more(connection, cx)) {
                Ok(()) => {}
                Err(Silence::Ended) if self.by_silence && connection.ahead.is_none() => {
                    return Poll::Ready(End::ClientGone);
                }
                Err(Silence::Ended) => self.has_ended = true,
                Err(Silence::Failed) => return Poll::Ready(End::ClientReset),
                Err(Silence::Unwanted) => return Poll::Ready(End::Overloaded),
                // Whoever is waited for has the same limit, and says more.
                Err(Silence::Late) => return Poll::Pending,
            }
        }
    }
}

/// The protocol that the client has agreed on with us by ALPN, to be offered to the endpoint; none where it speaks no TLS.
fn spoken(connection: &Connection) -> Option<Box<[u8]>> {
    connection.client.tls()?.alpn_name.clone()
}

/// Joins the two sides; `introduction` goes to the endpoint before what the client has said.
fn join(
    connection: &mut Connection,
    listener: &TcpListener,
    upstream: Socket,
    lease: Lease,
    introduction: &[u8],
) -> Box<Joined> {
    let plan = &listener.plan;
    connection.client.set_options(plan.options.keepalive, plan.options.user_timeout);
    upstream.set_options(plan.options.keepalive, plan.options.user_timeout);
    let mut first = connection.worker.base.spares.buffers.take();
    first.extend(introduction);
    match connection.ahead.take() {
        Some(ahead) if first.is_empty() => {
            connection.worker.base.spares.buffers.put(first);
            first = ahead;
        }
        Some(ahead) => {
            first.extend(ahead.filled());
            connection.worker.base.spares.buffers.put(ahead);
        }
        None => {}
    }
    connection.declared = None;
    let rates = [plan.upload_rate, plan.download_rate].map(|rate| rate.map(ByteSize::bytes));
    let spare = connection.worker.base.spares.buffers.take();
    let relay = Relay::new(first, spare).limited(rates[0], rates[1], Instant::now());
    let terms = Terms {
        idle: plan.idle_timeout,
        half_closed: plan.half_close_timeout,
        on_remove: plan.on_remove,
        on_down: plan.on_down,
    };
    Box::new(Joined::new(upstream, lease, relay, terms))
}

/// The TLV that holds a checksum of the header it came in, which is not the one that is written.
const CHECKSUM: u8 = 0x03;

/// The PROXY header that tells the endpoint who the client is; empty where none is sent.
fn introduction(connection: &Connection, version: SendProxyProtocol) -> Vec<u8> {
    let mut header = Vec::new();
    if version == SendProxyProtocol::Off {
        return header;
    }
    let declared = connection.declared.as_deref();
    let destination =
        declared.and_then(|declared| declared.destination).or_else(|| connection.client.local_addr());
    let endpoints = connection.peer.zip(destination);
    if version == SendProxyProtocol::V1 {
        write_v1(endpoints, &mut header);
    } else {
        let tlvs = declared.map_or(&[][..], |declared| &declared.tlvs);
        let tlvs = Tlvs::new(tlvs).map_while(Result::ok);
        let told = connection.client.tls().map(|facts| told(facts));
        let ssl = told.as_ref().map(TlsTold::ssl).unwrap_or_default();
        // What the client has settled with us stands in the place of what it has settled with somebody before.
        let ours: Vec<Tlv> = told.iter().flat_map(|told| told.tlvs(&ssl)).collect();
        let is_kept =
            |tlv: &Tlv<'_>| tlv.kind != CHECKSUM && (told.is_none() || !TlsTold::KINDS.contains(&tlv.kind));
        let tlvs: Vec<Tlv> = tlvs.filter(is_kept).chain(ours).collect();
        // What came in a header without addresses may not fit beside them: the addresses matter more.
        if write_v2(endpoints, &tlvs, &mut header).is_err() {
            write_v2(endpoints, &[], &mut header).expect("a header without TLVs is short");
        }
    }
    header
}

fn told(facts: &TlsFacts) -> TlsTold<'_> {
    TlsTold {
        version: facts.version,
        cipher: facts.cipher,
        server_name: facts.sni.as_deref().unwrap_or_default(),
        alpn: facts.alpn_name.as_deref().unwrap_or_default(),
        client: facts.client.as_deref().map(|client| &*client.common_name),
    }
}
