//! The story of a request, from its head to the log line.

mod admit;
mod deliver;
mod delivery;
mod gateway_fields;
pub(crate) mod grpc;
mod head;
pub(crate) mod problem;
mod record;
mod upgrade;

use std::sync::Arc;
use std::time::Instant;

use weir_base::ErrorCode;
use weir_wire::http1::{Body, Known, Method};

use crate::action::Action;
use crate::connection::{Connection, Patience};
use crate::exchange::Exchange;
use crate::forward::{self, Forwarded};
use crate::https::HttpsRedirect;
use crate::plane::{Plane, Route};
use crate::policy::Flow;
use crate::reject::Reject;
use crate::transfer::{Sink, Transfer};

/// What becomes of the connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It waits for the next request.
    KeepAlive,
    /// It is closed.
    Close,
    /// It is closed once the client has read what was sent.
    Linger,
}

/// What the client will be sent.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and lives for one call")]
pub(crate) enum Answer {
    /// A body of the gateway's own.
    Local { body: Vec<u8>, close: bool },
    /// What an endpoint answers.
    Forwarded(Forwarded),
    /// Nothing: there is nobody to send it to.
    Gone,
}

impl Answer {
    /// How long its body is, or would be for a request that is not `HEAD`, where that is known.
    fn length(&self, exchange: &Exchange) -> Option<u64> {
        let forwarded = match self {
            Self::Local { body, .. } => return Some(body.len() as u64),
            Self::Forwarded(forwarded) => forwarded,
            Self::Gone => return None,
        };
        match forwarded.body {
            Body::Length(length) => Some(length),
            _ if exchange.request.method() == Method::Head => {
                exchange.response.fields.get(Known::ContentLength).and_then(weir_wire::http1::decimal)
            }
            Body::Empty => Some(0),
            // A stream that ended with its head.
            _ if forwarded.io.is_last() && forwarded.io.is_empty() => Some(0),
            Body::Chunked | Body::UntilClose => None,
        }
    }
}

/// Serves one request whose head was read, or answers why it cannot be.
pub(crate) async fn handle(
    connection: &mut Connection,
    exchange: &mut Exchange,
    head: Result<(), Reject>,
) -> Next {
    let mut body = Transfer::none(exchange.record.started);
    let answer = {
        // The snapshot is let go before the body streams: a long answer must not hold an old configuration.
        let plane = connection.worker.plane_for(&connection.client.admitted.listener);
        connection.patience = Patience::of(&plane);
        let answer = decide(connection, exchange, &mut body, &plane, head).await;
        if let Some(listener) = plane.listener(connection.client.admitted.listener.id) {
            listener.https.mark(exchange);
        }
        answer
    };
    let next = deliver::deliver(connection, exchange, &mut body, answer).await;
    exchange.record.bytes_in += body.bytes;
    body.free(&connection.worker.base.spares);
    if exchange.record.ended_at == exchange.record.started {
        exchange.record.ended_at = Instant::now();
    }
    record::record(connection, exchange);
    connection.now = exchange.record.ended_at;
    next
}

/// Finds the route, runs the policies, acts: everything up to the head of the answer.
async fn decide(
    connection: &mut Connection,
    exchange: &mut Exchange,
    body: &mut Transfer,
    plane: &Plane,
    head: Result<(), Reject>,
) -> Answer {
    exchange.record.route = Some(Arc::clone(&plane.unmatched));
    exchange.requests_max = plane.limits.requests_per_connection;
    gateway_fields::begin(connection, exchange, plane);
    let admitted = head.and_then(|()| admit::admit(connection, exchange, plane));
    // Where it goes is settled with each endpoint.
    *body = match exchange.upgrade {
        // What follows belongs to the other protocol.
        Some(_) => Transfer::none(exchange.record.started),
        None => Transfer::new(exchange.framing, &connection.io, Sink::Discard, exchange.record.started),
    };
    let route = match admitted {
        Ok(admit::Admitted::Route(route)) => route,
        Ok(admit::Admitted::ServerOptions) => {
            exchange.response.reset(204);
            exchange.response.fields.append(b"Allow", admit::METHODS);
            return Answer::Local { body: Vec::new(), close: false };
        }
        Ok(admit::Admitted::Https(redirect)) => return to_https(exchange, redirect),
        Err(reject) => return refuse(exchange, reject),
    };
    exchange.record.route = Some(Arc::clone(&route.info));
    let mut passed = 0;
    let answer = match pass(exchange, route, &mut passed) {
        Err(reject) => refuse(exchange, reject),
        Ok(Flow::Answer(body)) => Answer::Local { body, close: false },
        Ok(Flow::Continue) => act(connection, exchange, body, plane, route).await,
    };
    if !matches!(answer, Answer::Gone) {
        exchange.body_length = answer.length(exchange);
        for policy in route.policies[..passed].iter().rev() {
            policy.on_response(exchange);
        }
    }
    answer
}

fn to_https(exchange: &mut Exchange, redirect: HttpsRedirect) -> Answer {
    match redirect.location(exchange) {
        Ok(location) => Answer::Local { body: redirect.answer(exchange, &location), close: false },
        Err(reject) => refuse(exchange, reject),
    }
}

/// Runs the request phases, until one answers; `passed` counts those that will see the answer.
fn pass(exchange: &mut Exchange, route: &Route, passed: &mut usize) -> Result<Flow, Reject> {
    for policy in &route.policies {
        *passed += 1;
        let flow = policy.on_request(exchange)?;
        if flow != Flow::Continue {
            return Ok(flow);
        }
    }
    Ok(Flow::Continue)
}

async fn act(
    connection: &mut Connection,
    exchange: &mut Exchange,
    body: &mut Transfer,
    plane: &Plane,
    route: &Route,
) -> Answer {
    match &route.action {
        Action::Redirect(redirect) => Answer::Local { body: redirect.answer(exchange), close: false },
        Action::Respond(respond) => Answer::Local { body: respond.answer(exchange), close: false },
        Action::Forward(split) => {
            let total = deadline(exchange, route);
            body.set_limit(exchange.body_bytes_max);
            body.guard_trailers(&route.info.request_trailers);
            body.filter_by(exchange.request_filter.take());
            match forward::forward(connection, exchange, body, plane, split, total).await {
                Ok(forwarded) => Answer::Forwarded(forwarded),
                Err(error) if error.code() == ErrorCode::ClientGone => {
                    exchange.record.error = Some(ErrorCode::ClientGone);
                    exchange.record.status = ErrorCode::ClientGone.status();
                    Answer::Gone
                }
                Err(error) => refuse(exchange, error.into()),
            }
        }
    }
}

/// When the whole must be over: by the route, and by the caller where it is a gRPC call that says so.
fn deadline(exchange: &Exchange, route: &Route) -> Option<Instant> {
    let fields = &exchange.request.fields;
    let asked = grpc::is_call(fields).then(|| grpc::timeout(fields)).flatten();
    let shorter = route.timeout.into_iter().chain(asked).min();
    // A time beyond all clocks is none.
    shorter.and_then(|timeout| exchange.record.started.checked_add(timeout))
}

fn refuse(exchange: &mut Exchange, reject: Reject) -> Answer {
    exchange.record.error = Some(reject.code);
    Answer::Local { body: problem::write(exchange, &reject), close: reject.close }
}

/// The moment up to which `now` may wait, given a deadline for the whole.
pub(crate) fn earlier(due: Instant, total: Option<Instant>) -> Instant {
    total.map_or(due, |total| due.min(total))
}
