//! One attempt: a connection, the request, and the head of the answer.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use weir_upstream::{Endpoint, Lease, PoolPlan, Upstream, UpstreamPlan, dial};
use weir_wire::http1::{Body, HeadLimits, HeadScanner, Known, Version, response_body};

use super::{ForwardError, Forwarded, IdleLimits, head, upgrade};
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::io::Io;
use crate::pipeline::earlier;
use crate::plane::Plane;
use crate::transfer::{Side, Transfer};
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

/// The clocks of an attempt.
pub(crate) struct Limits {
    connect: Duration,
    response: Duration,
    body_idle: Duration,
    upstream_idle: Duration,
    stream_idle: Duration,
    upgrade_idle: Duration,
    total: Option<Instant>,
    head: HeadLimits,
}

impl Limits {
    pub(crate) fn new(plan: &UpstreamPlan, plane: &Plane, total: Option<Instant>) -> Self {
        Self {
            connect: plan.connect_timeout,
            response: plan.response_timeout,
            body_idle: plane.timeouts.body_idle,
            upstream_idle: plan.idle_timeout,
            stream_idle: plane.timeouts.stream_idle,
            upgrade_idle: plane.timeouts.upgrade_idle,
            total,
            head: HeadLimits { bytes: plane.limits.header_bytes, fields: plane.limits.headers },
        }
    }

    /// How long the next step may take within the whole.
    fn within(&self, limit: Duration, now: Instant) -> Duration {
        earlier(now + limit, self.total).saturating_duration_since(now)
    }

    /// Which timeout it was: the step's own, or the whole request's.
    fn expired(&self, step: ForwardError) -> ForwardError {
        if self.total.is_some_and(|total| Instant::now() >= total) {
            ForwardError::TotalTimeout
        } else {
            step
        }
    }
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
    io: Io,
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
    let worker = Arc::clone(&connection.worker);
    let endpoint = lease.endpoint();
    head::write(exchange, plan, endpoint);
    exchange.up.extend_from_slice(&exchange.replay.bytes);
    let is_idempotent = exchange.request.method().is_idempotent();
    if !request.only_fresh
        && let Some((io, opened_at)) = reuse(&worker, endpoint, is_idempotent, request.now)
    {
        worker.shared.stats.reused(worker.base.shard);
        match send(connection, exchange, body, io, opened_at, request, request.now).await {
            // Closed while it lay idle: nothing was sent, and a fresh connection is the first real try.
            Err(ForwardError::ClosedBeforeSend(_)) => {}
            result => return result.map_err(|error| Failure { error, reused: true }),
        }
    }
    let fresh = |error| Failure { error, reused: false };
    let begun = Instant::now();
    let limit = limits.within(limits.connect, begun);
    let dialled = dial(&worker.base, &connection.deadline, endpoint.address(), limit).await;
    exchange.record.connect_us = micros(begun);
    let socket = dialled.map_err(|error| {
        fresh(match ForwardError::from(error) {
            error @ ForwardError::ConnectTimeout => limits.expired(error),
            error => error,
        })
    })?;
    worker.shared.stats.connected(worker.base.shard);
    let now = Instant::now();
    send(connection, exchange, body, Io::new(socket), now, request, now).await.map_err(fresh)
}

fn micros(since: Instant) -> u32 {
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
        let (socket, opened_at) = worker.pool().take(endpoint.id(), now)?;
        let mut byte = [0];
        let silent = match socket.try_read(&mut byte) {
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            Ok(0) => false,
            Ok(_) => {
                worker.distrust(endpoint.id(), now);
                return None;
            }
        };
        if silent && (is_idempotent || socket.is_silent()) {
            return Some((Io::new(socket), opened_at));
        }
    }
}

/// The state of one attempt while its request is sent and its answer awaited.
struct Exchanging<'a> {
    connection: &'a mut Connection,
    exchange: &'a mut Exchange,
    body: &'a mut Transfer,
    io: &'a mut Io,
    limits: &'a Limits,
    /// Bytes of `exchange.up` that were written.
    written: usize,
    /// The endpoint takes no more of the request; its answer may still come.
    sink_gone: bool,
    scanner: HeadScanner,
    interim: u32,
    /// When the request was last moved on: the response's clock starts there.
    moved_at: Instant,
}

/// Most interim responses before one final.
const INTERIM_MAX: u32 = 16;

async fn send(
    connection: &mut Connection,
    exchange: &mut Exchange,
    body: &mut Transfer,
    mut io: Io,
    opened_at: Instant,
    request: &Request<'_>,
    now: Instant,
) -> Result<Answered, ForwardError> {
    let limits = request.limits;
    connection.deadline.set(now, limits.within(limits.response, now));
    let worker = Arc::clone(&connection.worker);
    let mut state = Exchanging {
        connection,
        exchange,
        body,
        io: &mut io,
        limits,
        written: 0,
        sink_gone: false,
        scanner: HeadScanner::default(),
        interim: 0,
        moved_at: now,
    };
    let answered = poll_fn(|cx| state.poll(cx)).await;
    let head_at = Instant::now();
    state.exchange.record.head_at = head_at;
    state.exchange.record.head_us = u32::try_from((head_at - now).as_micros()).unwrap_or(u32::MAX);
    if let Err(error) = answered {
        io.drop_bytes(&worker.base.spares.buffers);
        return Err(error);
    }
    let response = &exchange.response;
    let upgraded = response.status == 101;
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
            return Err(error);
        }
    };
    let is_grpc =
        exchange.request.fields.get(Known::ContentType).is_some_and(|v| v.starts_with(b"application/grpc"));
    let is_events =
        response.fields.get(Known::ContentType).is_some_and(|value| value.starts_with(b"text/event-stream"));
    Ok(Answered {
        persistent: response.is_persistent() && framing != Body::UntilClose && !upgraded,
        io,
        opened_at,
        body: framing,
        upgraded,
        is_stream: is_grpc || is_events,
    })
}

/// Whether this answer is given up for another endpoint's: its status is listed, and one more try is granted.
fn gives_up(upstream: &Upstream, exchange: &Exchange, limits: &Limits) -> bool {
    upstream.plan().retry.statuses.contains(&exchange.response.status)
        && !exchange.replay.overflowed
        && limits.total.is_none_or(|total| Instant::now() < total)
        && upstream.retry_budget().try_withdraw()
}

impl Exchanging<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ForwardError>> {
        loop {
            self.poll_request(cx)?;
            self.poll_interim(cx);
            match self.poll_response(cx) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                // An interim response was read: there may be more.
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.watch_client(cx)?;
                    return self.poll_clock(cx);
                }
            }
        }
    }

    /// Writes the head, then whatever of the body the client has sent.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), ForwardError> {
        while self.written < self.exchange.up.len() {
            match self.io.socket.poll_write(cx, &self.exchange.up[self.written..]) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(error)) if self.written == 0 => {
                    return Err(ForwardError::ClosedBeforeSend(error));
                }
                Poll::Ready(Err(_)) => {
                    self.written = self.exchange.up.len();
                    self.give_up_sending();
                }
            }
        }
        if self.sink_gone || self.body.is_finished() {
            return Ok(());
        }
        let spares = &self.connection.worker.base.spares;
        match self.body.poll(
            cx,
            &mut self.connection.io,
            &mut self.io.socket,
            spares,
            &mut self.exchange.replay,
        ) {
            Poll::Ready(Ok(())) => self.await_head(),
            Poll::Pending => {}
            Poll::Ready(Err(error)) => match ForwardError::of_request_body(error) {
                Some(error) => return Err(error),
                None => self.give_up_sending(),
            },
        }
        Ok(())
    }

    /// The endpoint takes no more of the request, but it may have answered before it stopped reading.
    fn give_up_sending(&mut self) {
        self.sink_gone = true;
        self.await_head();
    }

    /// From now on the head alone is waited for: the body's clock may have been the longer one.
    fn await_head(&mut self) {
        self.moved_at = Instant::now();
        let limit = self.limits.within(self.limits.response, self.moved_at);
        self.connection.deadline.set(self.moved_at, limit);
    }

    /// Passes interim responses on; what the client does not take at once goes before the final head.
    fn poll_interim(&mut self, cx: &mut Context<'_>) {
        while !self.exchange.out.is_empty() {
            match self.connection.io.socket.poll_write(cx, &self.exchange.out) {
                Poll::Ready(Ok(count)) => drop(self.exchange.out.drain(..count)),
                // A client that is gone is found out by reading from it.
                Poll::Ready(Err(_)) | Poll::Pending => return,
            }
        }
    }

    /// Reads one head: true for the final one, false for an interim one.
    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, ForwardError>> {
        loop {
            if !self.io.is_empty() {
                let scanned = self.scanner.scan(self.io.filled(), self.limits.head.bytes);
                match scanned.map_err(|_| ForwardError::BadHead("it is too long or not HTTP"))? {
                    Some(length) => return Poll::Ready(self.read_head(length)),
                    None if !self.io.make_room(self.limits.head.bytes + weir_net::BUFFER_BYTES) => {
                        return Poll::Ready(Err(ForwardError::BadHead("it is too long")));
                    }
                    None => {}
                }
            }
            match self.io.poll_fill(cx, &self.connection.worker.base.spares.buffers) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(Ok(_) | Err(_)) if !self.io.is_empty() => {
                    return Poll::Ready(Err(ForwardError::BadHead("it ends in the middle")));
                }
                Poll::Ready(Ok(_) | Err(_)) => return Poll::Ready(Err(ForwardError::ClosedEarly)),
            }
        }
    }

    fn read_head(&mut self, length: usize) -> Result<bool, ForwardError> {
        let response = &mut self.exchange.response;
        response.parse(&self.io.filled()[..length], &self.limits.head)?;
        self.io.consume(length);
        self.scanner = HeadScanner::default();
        match response.status {
            101 => {
                upgrade::check(self.exchange)?;
                Ok(true)
            }
            100..=199 => {
                self.interim += 1;
                if self.interim > INTERIM_MAX {
                    return Err(ForwardError::BadHead("there are too many interim responses"));
                }
                self.moved_at = Instant::now();
                self.queue_interim();
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    fn queue_interim(&mut self) {
        let exchange = &mut *self.exchange;
        // HTTP/1.0 has no interim responses; a 100 that nobody waits for would only confuse.
        let wanted = exchange.request.version() == Version::Http11
            && (exchange.response.status != 100 || exchange.expects_continue);
        if wanted {
            exchange.response.fields.strip_hop_by_hop();
            // An interim response has no body, whatever it says.
            exchange.response.fields.remove(Known::ContentLength);
            exchange.response.write_status_line(&mut exchange.out);
            exchange.response.fields.write_fields(&mut exchange.out);
            exchange.out.extend_from_slice(b"\r\n");
        }
    }

    /// Notices that the client has gone, once there is nothing of the request to wait for.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Result<(), ForwardError> {
        if !self.body.source_finished() {
            return Ok(());
        }
        if self.connection.is_gone(cx) { Err(ForwardError::ClientGone) } else { Ok(()) }
    }

    /// Judges the clocks: the client's while its body is awaited, else the endpoint's.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ForwardError>> {
        if self.connection.worker.base.is_stopping() {
            return Poll::Ready(Err(ForwardError::ShuttingDown));
        }
        let writing = self.written < self.exchange.up.len();
        let streaming = !writing && !self.sink_gone && !self.body.is_finished();
        if !streaming {
            // Nothing moved since the clock was set, unless the last of the body has just been written.
            if !self.connection.deadline.is_expired(cx) {
                return Poll::Pending;
            }
            let now = Instant::now();
            let due = self.moved_at + self.limits.response;
            if now < due && self.limits.total.is_none_or(|total| now < total) {
                self.connection.deadline.set(now, self.limits.within(due - now, now));
                return if self.connection.deadline.is_expired(cx) {
                    self.poll_clock(cx)
                } else {
                    Poll::Pending
                };
            }
            return Poll::Ready(Err(self.limits.expired(ForwardError::ResponseTimeout)));
        }
        let now = Instant::now();
        let due = self.body.due(now, self.limits.body_idle, self.limits.upstream_idle);
        self.moved_at = now;
        if now >= earlier(due, self.limits.total) {
            let error = match self.body.waiting(now).0 {
                Side::Source => ForwardError::ClientTimeout,
                Side::Sink => ForwardError::WriteTimeout,
            };
            return Poll::Ready(Err(self.limits.expired(error)));
        }
        self.connection.deadline.set(now, earlier(due, self.limits.total) - now);
        let _registered = self.connection.deadline.is_expired(cx);
        Poll::Pending
    }
}
