//! One attempt over a connection that other requests share: a stream of HTTP/2.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use h2::client::SendRequest;
use weir_net::Socket;
use weir_net::tls::TlsFaultReason;
use weir_upstream::{DialError, Endpoint, HttpVersions, Lease, Spoken, UpstreamPlan};

use super::attempt::{self, Answered, Failure, Request, Sending};
use super::{ForwardError, frames};
use crate::connection::Connection;
use crate::exchange::{Exchange, Upgrade};
use crate::shared::{OpenError, Opening, Place};
use crate::transfer::{Sink, Transfer};
use crate::wire::{H2Stream, Wire};
use crate::worker::HttpWorker;

/// What came of an attempt by HTTP/2.
pub(super) enum Tried {
    Answered(Answered),
    /// It speaks HTTP/1.1; the connection that told so, for one of those who waited for it.
    Http11(Option<(Socket, Instant)>),
}

/// Whether a request goes over a shared connection, as far as is known.
pub(super) fn is_called_for(
    worker: &HttpWorker,
    exchange: &Exchange,
    plan: &UpstreamPlan,
    endpoint: &Endpoint,
) -> bool {
    match plan.http {
        HttpVersions::Http11 => false,
        HttpVersions::Http2 => true,
        HttpVersions::Auto if !endpoint.is_secured() => false,
        HttpVersions::Auto => match &exchange.upgrade {
            None => endpoint.spoken() != Some(Spoken::Http11),
            Some(Upgrade::WebSocket) => {
                endpoint.spoken() == Some(Spoken::Http2)
                    && worker.shared_with(endpoint, &plan.pool).takes_websocket()
            }
            Some(Upgrade::Other(_)) => false,
        },
    }
}

/// How connections to the endpoint are opened.
pub(super) fn opening(lease: &Lease, plan: &UpstreamPlan, request: &Request<'_>) -> Opening {
    Opening {
        endpoint: Arc::clone(lease.endpoint()),
        pool: plan.pool,
        connect_timeout: plan.connect_timeout,
        header_bytes: request.limits.head.bytes,
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
) -> Result<Tried, Failure> {
    let fresh = |error| Failure { error, reused: false };
    if let Some(Upgrade::Other(_)) = exchange.upgrade {
        return Err(fresh(ForwardError::UpgradeNotTaken));
    }
    let (place, mut send) = match place(connection, exchange, lease, plan, request).await {
        Ok(Placed::At(place, send)) => (place, send),
        Ok(Placed::Http11(socket)) => return Ok(Tried::Http11(socket)),
        Err(error) => return Err(fresh(error)),
    };
    let worker = Arc::clone(&connection.worker);
    let reused = place.has_served();
    if reused {
        worker.shared.stats.reused(worker.base.shard);
    }
    let failure = |error| Failure { error, reused };
    exchange.up.clear();
    body.aim(Sink::Frames, &exchange.replay.bytes, &mut exchange.up, &worker.base.spares);
    let head = frames::request(exchange, plan, lease.endpoint()).map_err(fresh)?;
    if exchange.upgrade.is_some() {
        settle(connection, request, &place).await.map_err(fresh)?;
        if !send.is_extended_connect_protocol_enabled() {
            return Err(fresh(ForwardError::UpgradeNotTaken));
        }
    }
    let is_ended = body.is_finished() && exchange.up.is_empty() && exchange.upgrade.is_none();
    let sent = send.send_request(head, is_ended);
    drop(send);
    let (answer, stream) = sent.map_err(|error| failure(ForwardError::of_stream(error, &place)))?;
    let wire = Wire::H2(Box::new(H2Stream::requested(answer, stream, is_ended, place.ends())));
    let now = Instant::now();
    let sending = Sending { request, opened_at: now, now };
    let result = attempt::send(connection, exchange, body, wire, Some(place), &sending).await;
    if let Err(ForwardError::Refused { .. }) = result {
        worker.shared.stats.shared.refused(worker.base.shard);
    }
    if let Err(ForwardError::Tls(fault)) = &result {
        lease.endpoint().tls_failed(&worker.base, fault);
    }
    result.map(Tried::Answered).map_err(failure)
}

/// Waits for the peer's settings: what it takes stands there.
async fn settle(connection: &Connection, request: &Request<'_>, place: &Place) -> Result<(), ForwardError> {
    let (limits, now) = (request.limits, Instant::now());
    connection.deadline.set(now, limits.within(limits.connect, now));
    let mut settled = pin!(place.settled());
    poll_fn(|cx| match settled.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending if connection.worker.base.is_stopping() => Poll::Ready(Err(ForwardError::ShuttingDown)),
        Poll::Pending if connection.deadline.is_expired(cx) => {
            Poll::Ready(Err(limits.expired(ForwardError::ConnectTimeout)))
        }
        Poll::Pending => Poll::Pending,
    })
    .await
}

enum Placed {
    At(Place, SendRequest<Bytes>),
    Http11(Option<(Socket, Instant)>),
}

/// Waits for a place on a connection, which may have to be opened.
async fn place(
    connection: &mut Connection,
    exchange: &mut Exchange,
    lease: &Lease,
    plan: &UpstreamPlan,
    request: &Request<'_>,
) -> Result<Placed, ForwardError> {
    let worker = Arc::clone(&connection.worker);
    let limits = request.limits;
    let opening = opening(lease, plan, request);
    let shared = worker.shared_with(lease.endpoint(), &plan.pool);
    let mut waiting = shared.wait();
    let mut begun = None;
    let placed = poll_fn(|cx| {
        let now = begun.map_or(request.now, |_| Instant::now());
        if let Poll::Ready(result) = waiting.poll(cx, &opening, now) {
            return Poll::Ready(match result {
                Ok((place, send)) => Ok(Placed::At(place, send)),
                Err(error) => match &*error {
                    OpenError::Http11 => Ok(Placed::Http11(shared.take_other())),
                    error => Err(ForwardError::of_open(error)),
                },
            });
        }
        if begun.is_none() {
            let now = Instant::now();
            begun = Some(now);
            worker.shared.stats.shared.waited(worker.base.shard);
            connection.deadline.set(now, limits.within(limits.connect, now));
        }
        if worker.base.is_stopping() {
            Poll::Ready(Err(ForwardError::ShuttingDown))
        } else if connection.is_gone(cx) {
            Poll::Ready(Err(ForwardError::ClientGone))
        } else if connection.deadline.is_expired(cx) {
            Poll::Ready(Err(limits.expired(ForwardError::ConnectTimeout)))
        } else {
            Poll::Pending
        }
    })
    .await;
    if let Some(begun) = begun {
        exchange.record.connect_us = attempt::micros(begun);
    }
    placed
}

impl ForwardError {
    /// Why there is no connection; several requests may have waited for the same one.
    fn of_open(error: &OpenError) -> Self {
        let again = |error: &io::Error| {
            error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
        };
        match error {
            OpenError::Dial(DialError::Failed(error)) | OpenError::Handshake(error) => {
                Self::Connect(again(error))
            }
            OpenError::Dial(DialError::Tls(fault)) => Self::Tls(fault.clone()),
            OpenError::Dial(DialError::TimedOut) => Self::ConnectTimeout,
            OpenError::Http11 => Self::BadHead("it speaks HTTP/1.1"),
            OpenError::Dial(DialError::Tunnel(refusal)) => Self::Tunnel(*refusal),
            OpenError::Dial(DialError::OutOfDescriptors) => Self::OutOfDescriptors,
            OpenError::Dial(DialError::Stopping) => Self::ShuttingDown,
        }
    }

    /// What became of a stream before the head of its answer was read.
    pub(super) fn of_stream(error: h2::Error, place: &Place) -> Self {
        if error.is_remote() && error.is_go_away() {
            return Self::Refused { leaving: true };
        }
        if error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM) {
            return Self::Refused { leaving: false };
        }
        if let Some(fault) =
            place.tls_fault().filter(|fault| fault.reason() == TlsFaultReason::CertificateRefused)
        {
            return Self::Tls(fault);
        }
        if place.sent_nothing() {
            return Self::Refused { leaving: true };
        }
        match error.reason() {
            Some(reason) if error.is_remote() => Self::Reset(reason),
            // What came broke the rules of HTTP/2: those of this stream, or of the connection.
            Some(_) => Self::BadHead("it breaks the rules of HTTP/2"),
            None => Self::ClosedEarly,
        }
    }
}
