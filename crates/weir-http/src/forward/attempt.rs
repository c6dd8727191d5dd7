//! One attempt: a connection, the request, and the head of the answer.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use weir_net::Socket;
use weir_net::tls::Alpn;
use weir_upstream::{
    Dial, Endpoint, HttpVersions, Lease, PoolPlan, Speaks, Spoken, Upstream, UpstreamPlan, dial,
};
use weir_wire::http1::{Body, Known, response_body};

use super::exchanging::Exchanging;
use super::limits::Limits;
use super::stream::{self, Tried};
use super::{ForwardError, Forwarded, IdleLimits, head};
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::pipeline::grpc;
use crate::shared::Place;
use crate::transfer::{Sink, Transfer};
use crate::wire::{Io, Wire};
use crate::worker::HttpWorker;

/// What one attempt is given beside the exchange.
pub(super) struct Request<'a> {
    /// Takes no connection that has served before.
    pub(super) only_fresh: bool,
    /// Where another endpoint may be asked instead of passing a configured status on.
    pub(super) elsewhere: Option<&'a Upstream>,
    pub(super) limits: &'a Limits,
    /// When the attempt began.
    pub(super) now: Instant,
}

/// Why an attempt failed, and whether over a connection that had served before.
pub(super) struct Failure {
    pub(super) error: ForwardError,
    pub(super) reused: bool,
}

impl Failure {
    /// Whether the endpoint closed an idle connection while the request was on its way: no fault of its own.
    pub(super) fn is_race(&self) -> bool {
        self.reused && matches!(self.error, ForwardError::ClosedEarly)
    }
}

/// The head of an answer stands in the exchange.
pub(super) struct Answered {
    io: Wire,
    place: Option<Place>,
    opened_at: Instant,
    body: Body,
    persistent: bool,
    upgraded: bool,
    is_stream: bool,
}

impl Answered {
    pub(super) fn into_forwarded(self, lease: Lease, pool: PoolPlan, limits: &Limits) -> Forwarded {
        let (client, up) = if self.is_stream {
            (limits.stream_idle, limits.stream_idle)
        } else {
            (limits.body_idle, limits.upstream_idle)
        };
        Forwarded {
            io: self.io,
            place: self.place,
            body: self.body,
            upgraded: self.upgraded,
            persistent: self.persistent,
            opened_at: self.opened_at,
            lease,
            pool,
            idle: IdleLimits { client, upstream: up, upgrade: limits.upgrade_idle },
            total: limits.total,
        }
    }
}

/// Sends the request to the leased endpoint and reads the head of its answer.
pub(super) async fn attempt(
    connection: &mut Connection,
    exchange: &mut Exchange,
    body: &mut Transfer,
    lease: &Lease,
    plan: &UpstreamPlan,
    request: &Request<'_>,
) -> Result<Answered, Failure> {
    let limits = request.limits;
    if let Some(total) = limits.total {
        grpc::shorten(exchange, total.saturating_duration_since(request.now));
    }
    let worker = Arc::clone(&connection.worker);
    let endpoint = lease.endpoint();
    let mut opened = None;
    if stream::is_called_for(&worker, exchange, plan, endpoint) {
        match Box::pin(stream::attempt(connection, exchange, body, lease, plan, request)).await? {
            Tried::Answered(answered) => return Ok(answered),
            Tried::Http11(socket) => opened = socket,
        }
    }
    let is_idempotent = exchange.request.method().is_idempotent();
    if opened.is_none()
        && !request.only_fresh
        && let Some((io, opened_at)) = reuse(&worker, endpoint, is_idempotent, request.now)
    {
        worker.shared.stats.reused(worker.base.shard);
        let sending = Sending { request, opened_at, now: request.now };
        write_head(connection, exchange, body, lease, plan);
        match send(connection, exchange, body, Wire::H1(io), None, &sending).await {
            // Closed while it lay idle: nothing was sent, and a fresh connection is the first real try.
            Err(ForwardError::ClosedBeforeSend(_)) => {}
            result => return result.map_err(|error| Failure { error, reused: true }),
        }
    }
    let fresh = |error| Failure { error, reused: false };
    let (socket, opened_at) = match opened {
        Some(opened) => opened,
        // Boxed, as its state would be room in every exchange and connections are mostly kept.
        None => Box::pin(open(connection, exchange, lease, plan, limits)).await.map_err(fresh)?,
    };
    if plan.http == HttpVersions::Auto && socket.alpn() == Some(Alpn::H2) {
        // It speaks another version than it did.
        worker.shared_with(endpoint, &plan.pool).adopt(socket, stream::opening(lease, plan, request));
        return match Box::pin(stream::attempt(connection, exchange, body, lease, plan, request)).await? {
            Tried::Answered(answered) => Ok(answered),
            Tried::Http11(_) => Err(fresh(ForwardError::Refused { leaving: true })),
        };
    }
    endpoint.set_spoken(Spoken::Http11);
    let sending = Sending { request, opened_at, now: Instant::now() };
    write_head(connection, exchange, body, lease, plan);
    let sent = send(connection, exchange, body, Wire::H1(Io::new(socket)), None, &sending).await;
    if let Err(ForwardError::Tls(fault)) = &sent {
        endpoint.tls_failed(&worker.base, fault);
    }
    sent.map_err(fresh)
}

/// Opens a connection for one request at a time, or so it seems before ALPN has decided.
async fn open(
    connection: &Connection,
    exchange: &mut Exchange,
    lease: &Lease,
    plan: &UpstreamPlan,
    limits: &Limits,
) -> Result<(Socket, Instant), ForwardError> {
    let worker = &connection.worker;
    let begun = Instant::now();
    let limit = limits.within(limits.connect, begun);
    // What is to become another protocol has to be HTTP/1.1 before.
    let speaks = match plan.http {
        HttpVersions::Auto if exchange.upgrade.is_some() => Speaks::Client(Some(b"http/1.1")),
        _ => Speaks::Http,
    };
    let how = Dial { limit, preface: &[], speaks };
    let dialled = dial(&worker.base, &connection.deadline, lease.endpoint(), how).await;
    exchange.record.connect_us = micros(begun);
    let socket = dialled.map_err(|error| match ForwardError::from(error) {
        error @ ForwardError::ConnectTimeout => limits.expired(error),
        error => error,
    })?;
    worker.shared.stats.connected(worker.base.shard);
    let now = Instant::now();
    lease.endpoint().connected(now - begun);
    Ok((socket, now))
}

pub(super) fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}

/// A kept connection that is still silent.
///
/// For a request that may be sent again, what the runtime has heard decides, which costs nothing; for others
/// the kernel is asked, because a connection that was closed a moment ago cannot be told from a lost answer.
fn reuse(
    worker: &HttpWorker,
    endpoint: &Endpoint,
    is_idempotent: bool,
    now: Instant,
) -> Option<(Io, Instant)> {
    loop {
        let (mut socket, opened_at) = worker.pool().take(endpoint.link_id(), now)?;
        let mut byte = [0];
        let silent = match socket.try_read(&mut byte) {
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            Ok(0) => false,
            Ok(_) => {
                worker.distrust(endpoint.link_id(), now);
                return None;
            }
        };
        if silent && (is_idempotent || socket.is_silent()) {
            return Some((Io::new(socket), opened_at));
        }
    }
}

/// Has the head written, and what of the body was taken before, chunks re-made.
fn write_head(
    connection: &Connection,
    exchange: &mut Exchange,
    body: &mut Transfer,
    lease: &Lease,
    plan: &UpstreamPlan,
) {
    head::write(exchange, plan, lease.endpoint());
    let sink = if exchange.framing == Body::Chunked { Sink::Chunked } else { Sink::Raw };
    body.aim(sink, &exchange.replay.bytes, &mut exchange.up, &connection.worker.base.spares);
}

/// One request over one connection.
pub(super) struct Sending<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) opened_at: Instant,
    pub(super) now: Instant,
}

/// Writes what stands in `exchange.up` and the rest of the body; on a stream its head is written.
pub(super) async fn send(
    connection: &mut Connection,
    exchange: &mut Exchange,
    body: &mut Transfer,
    mut io: Wire,
    place: Option<Place>,
    sending: &Sending<'_>,
) -> Result<Answered, ForwardError> {
    let Sending { request, now, .. } = *sending;
    let limits = request.limits;
    connection.deadline.set(now, limits.within(limits.response, now));
    let worker = Arc::clone(&connection.worker);
    let mut exchanging = Exchanging::new(connection, exchange, body, &mut io, place.as_ref(), limits, now);
    let answered = poll_fn(|cx| exchanging.poll(cx)).await;
    let written = exchanging.written();
    // The rest is written while the answer is delivered.
    exchange.up.drain(..written);
    let head_at = Instant::now();
    exchange.record.head_at = head_at;
    exchange.record.head_us = u32::try_from((head_at - now).as_micros()).unwrap_or(u32::MAX);
    if let Err(error) = answered {
        io.drop_bytes(&worker.base.spares.buffers);
        io.abandon();
        return Err(error);
    }
    let response = &exchange.response;
    let upgraded = match &place {
        None => response.status == 101,
        Some(_) => exchange.upgrade.is_some() && matches!(response.status, 200..=299),
    };
    let framing = if upgraded { Ok(Body::Empty) } else { response_body(response, exchange.request.method()) };
    let framing = match framing {
        Ok(_) if request.elsewhere.is_some_and(|upstream| gives_up(upstream, exchange, limits)) => {
            Err(ForwardError::Status(response.status))
        }
        framing => framing.map_err(ForwardError::from),
    };
    let framing = match framing {
        Ok(framing) => framing,
        Err(error) => {
            io.drop_bytes(&worker.base.spares.buffers);
            io.abandon();
            return Err(error);
        }
    };
    let is_events =
        response.fields.get(Known::ContentType).is_some_and(|value| value.starts_with(b"text/event-stream"));
    Ok(Answered {
        // One that is shared is nobody's to keep.
        persistent: place.is_none() && response.is_persistent() && framing != Body::UntilClose && !upgraded,
        io,
        place,
        opened_at: sending.opened_at,
        body: framing,
        upgraded,
        is_stream: is_events,
    })
}

/// Whether this answer is given up for another endpoint's: its status is listed, and one more try is granted.
fn gives_up(upstream: &Upstream, exchange: &Exchange, limits: &Limits) -> bool {
    upstream.plan().retry.statuses.contains(&exchange.response.status)
        && !exchange.replay.overflowed
        && limits.total.is_none_or(|total| Instant::now() < total)
        && upstream.retry_budget().try_withdraw()
}
