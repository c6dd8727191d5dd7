//! Forwarding: picking an endpoint, one attempt or several, and what an attempt leaves for the answer.

mod attempt;
mod error;
mod exchanging;
mod frames;
mod head;
mod limits;
mod stream;
mod tries;
mod upgrade;

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use weir_upstream::{
    HashKey, Lease, Outcome, PickError, PickRequest, PoolPlan, Tried, Upstream, UpstreamPlan, hash_bytes,
};
use weir_wire::http1::{Body, Known};

pub(crate) use error::ForwardError;

use crate::action::Split;
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::pipeline::grpc;
use crate::plane::Plane;
use crate::shared::Place;
use crate::transfer::Transfer;
use crate::wire::Wire;
use limits::Limits;
use tries::{Left, Tries};

/// An endpoint's answer whose head stands in the exchange; its body is still to come.
pub(crate) struct Forwarded {
    pub(crate) io: Wire,
    /// The stream's place on a connection that others share.
    #[expect(dead_code, reason = "given back when the answer is delivered")]
    pub(crate) place: Option<Place>,
    pub(crate) body: Body,
    /// The connection was upgraded: what follows is no longer HTTP.
    pub(crate) upgraded: bool,
    /// Whether the endpoint keeps the connection.
    pub(crate) persistent: bool,
    pub(crate) opened_at: Instant,
    /// Keeps the endpoint's place until the answer is delivered.
    pub(crate) lease: Lease,
    pub(crate) pool: PoolPlan,
    pub(crate) idle: IdleLimits,
    pub(crate) total: Option<Instant>,
}

/// How long each side may stall while bodies stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdleLimits {
    pub(crate) client: Duration,
    pub(crate) upstream: Duration,
    pub(crate) upgrade: Duration,
}

/// Forwards one exchange: `attempt` sends, the upstream judges endpoints, [`Tries`] whether there is another try.
pub(crate) async fn forward(
    connection: &mut Connection,
    exchange: &mut Exchange,
    body: &mut Transfer,
    plane: &Plane,
    split: &Split,
    total: Option<Instant>,
) -> Result<Forwarded, ForwardError> {
    let worker = Arc::clone(&connection.worker);
    let upstream = split.draw(worker.base.random());
    let plan = upstream.plan();
    exchange.record.upstream = Some(Arc::clone(upstream.name()));
    exchange.replay.bytes_max = plan.retry.body_bytes_max;
    let is_grpc = grpc::is_call(&exchange.request.fields);
    let limits = Limits::new(plan, plane, total, is_grpc);
    let mut tries = Tries::new(exchange.request.method().is_idempotent(), &plan.retry);
    // Neither a slow request head nor the queue is taken from the endpoint's time.
    let mut now = exchange.record.read_at;
    loop {
        let lease = match acquire(connection, exchange, upstream, tries.tried(), total, now).await {
            Ok(lease) => lease,
            Err(error) => return Err(tries.without_endpoint(error)),
        };
        if exchange.record.queue_us > 0 {
            now = Instant::now();
        }
        let id = lease.endpoint().id();
        exchange.record.attempts += 1;
        exchange.record.endpoint = Some(Arc::clone(lease.endpoint().label()));
        let elsewhere = tries.may_give_up_status() && has_other(upstream, id, tries.tried());
        let request = attempt::Request {
            only_fresh: tries.only_fresh(),
            elsewhere: elsewhere.then_some(&**upstream),
            limits: &limits,
            now,
        };
        let failure = match attempt::attempt(connection, exchange, body, &lease, plan, &request).await {
            Ok(answer) => {
                note(connection, upstream, &lease, answered(exchange, plan), exchange.record.head_at);
                return Ok(answer.into_forwarded(lease, plan.pool, &limits));
            }
            Err(failure) => failure,
        };
        now = Instant::now();
        if !failure.is_race() {
            note(connection, upstream, &lease, failed(&failure.error, exchange, plan), now);
        }
        drop(lease);
        let left = Left {
            endpoint: has_other(upstream, id, tries.tried()),
            request: !exchange.replay.overflowed && total.is_none_or(|total| now < total),
        };
        tries.judge(failure, id, left, || upstream.retry_budget().try_withdraw())?;
        worker.shared.stats.retried(worker.base.shard);
    }
}

/// What an answer says of the endpoint.
fn answered(exchange: &Exchange, plan: &UpstreamPlan) -> Outcome {
    let status = exchange.response.status;
    match &plan.health.passive {
        Some(passive) if passive.statuses.contains(&status) => Outcome::Status(status),
        _ => Outcome::Success { head_after: Duration::from_micros(u64::from(exchange.record.head_us)) },
    }
}

/// What a failed attempt says of the endpoint.
fn failed(error: &ForwardError, exchange: &Exchange, plan: &UpstreamPlan) -> Outcome {
    match error {
        // An answer all the same: whether it speaks against the endpoint, the passive check says.
        ForwardError::Status(_) => answered(exchange, plan),
        error => error.outcome(),
    }
}

/// Whether an endpoint is left that has not been tried, beside this one.
fn has_other(upstream: &Upstream, id: u32, tried: &Tried) -> bool {
    upstream.endpoints().iter().any(|other| other.id() != id && !tried.contains(other.id()))
}

/// Tells the upstream what became of an attempt, and the log where that changed the endpoint's state.
fn note(connection: &Connection, upstream: &Upstream, lease: &Lease, outcome: Outcome, now: Instant) {
    if let Some(change) = upstream.record(lease.endpoint(), outcome, now) {
        change.tell(&connection.worker.base.shared);
    }
}

/// Picks an endpoint, waiting in the upstream's queue where every one is at its cap.
async fn acquire(
    connection: &mut Connection,
    exchange: &mut Exchange,
    upstream: &Arc<Upstream>,
    tried: &Tried,
    total: Option<Instant>,
    now: Instant,
) -> Result<Lease, ForwardError> {
    let hash = upstream.hash_key().and_then(|key| hash(exchange, key));
    let request = PickRequest { now, client: exchange.client, hash, random: connection.worker.base.random() };
    let result = match upstream.pick(&request, tried) {
        Err(PickError::Busy) => {
            let until = crate::pipeline::earlier(now + upstream.plan().queue.timeout, total);
            connection.deadline.set(now, until.saturating_duration_since(now));
            let mut waiting = std::pin::pin!(upstream.acquire(&request, tried, until));
            // A client that leaves the queue gives its turn up.
            let waited = std::future::poll_fn(|cx| match waiting.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Ok(result)),
                Poll::Pending if connection.is_gone(cx) => Poll::Ready(Err(ForwardError::ClientGone)),
                Poll::Pending if connection.worker.base.is_stopping() => {
                    Poll::Ready(Err(ForwardError::ShuttingDown))
                }
                Poll::Pending => {
                    // So that the end of the process wakes it.
                    let _registered = connection.deadline.is_expired(cx);
                    Poll::Pending
                }
            });
            let waited = waited.await?;
            let micros = u32::try_from(now.elapsed().as_micros()).unwrap_or(u32::MAX);
            exchange.record.queue_us = exchange.record.queue_us.saturating_add(micros);
            waited
        }
        result => result,
    };
    result.map_err(|error| ForwardError::Pick { upstream: Arc::clone(upstream.name()), error })
}

/// The hash of the part of the request that decides the endpoint; `None` where it has none.
fn hash(exchange: &Exchange, key: &HashKey) -> Option<u64> {
    let fields = &exchange.request.fields;
    match key {
        HashKey::ClientIp => None,
        HashKey::Path => Some(hash_bytes(&exchange.path)),
        HashKey::Header(name) => fields.named(name.as_bytes()).next().map(hash_bytes),
        HashKey::Cookie(name) => fields
            .all(Known::Cookie)
            .flat_map(|value| value.split(|&b| b == b';'))
            .find_map(|pair| pair_value(weir_wire::http1::trim_ows(pair), name))
            .map(hash_bytes),
        HashKey::Query(name) => {
            exchange.query.split(|&b| b == b'&').find_map(|pair| pair_value(pair, name)).map(hash_bytes)
        }
    }
}

fn pair_value<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}
