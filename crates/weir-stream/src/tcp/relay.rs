//! The two sides joined, until both have ended or something ends them.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use weir_net::{Relay, RelayEnd, RelayEnds, RelayTotals, Socket};
use weir_upstream::{Endpoint, Lease};

use super::connection::Connection;
use crate::end::End;
use crate::{OnDown, OnRemove};

/// Counters are told of bytes in steps of this size, and at the end.
const TOLD_BYTES: u64 = 1 << 20;

/// Two sides that are joined: all that there is of a connection while it is relayed, beside its [`Connection`].
pub(super) struct Joined {
    upstream: Socket,
    lease: Lease,
    relay: Relay,
    terms: Terms,
    progress: Progress,
}

/// What bounds a relay; copied, so that a long one keeps no old configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) idle: Duration,
    pub(super) half_closed: Duration,
    pub(super) on_remove: OnRemove,
    pub(super) on_down: OnDown,
}

impl Joined {
    pub(super) fn new(upstream: Socket, lease: Lease, relay: Relay, terms: Terms) -> Self {
        Self { upstream, lease, relay, terms, progress: Progress::default() }
    }
}

/// Relays until the end, and records it.
pub(super) async fn relay(mut connection: Box<Connection>, mut joined: Box<Joined>) {
    connection.deadline.set(Instant::now(), joined.terms.idle);
    let end = poll_fn(|cx| joined.poll(cx, &mut connection)).await;
    joined.tell(&connection);
    joined.relay.free(&connection.worker.base.spares);
    if !matches!(end, End::ClientClosed | End::UpstreamClosed) {
        // What each side has must not look like the whole.
        connection.client.reset_on_close();
        joined.upstream.reset_on_close();
    }
    connection.record(end, joined.relay.totals());
}

impl Joined {
    fn poll(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Poll<End> {
        let spares = &connection.worker.base.spares;
        if let Poll::Ready(end) = self.relay.poll(cx, &mut connection.client, &mut self.upstream, spares) {
            return Poll::Ready(self.progress.judge(&end));
        }
        if self.progress.moved(&self.relay) {
            let is_half_closed = self.progress.first_end.is_some();
            let limit = if is_half_closed { self.terms.half_closed } else { self.terms.idle };
            connection.deadline.set(Instant::now(), limit);
            if self.progress.untold() >= TOLD_BYTES {
                self.tell(connection);
            }
        }
        if let Some(end) = told_to_end(connection, self.lease.endpoint(), &self.terms) {
            return Poll::Ready(end);
        }
        if connection.deadline.is_expired(cx) {
            return Poll::Ready(match self.progress.first_end {
                Some(_) => End::HalfCloseTimeout,
                None => End::IdleTimeout,
            });
        }
        Poll::Pending
    }

    /// Counts what was passed on since the last time.
    fn tell(&mut self, connection: &Connection) {
        let totals = self.relay.totals();
        let told = std::mem::replace(&mut self.progress.told, totals);
        let bytes_in = totals.to_upstream - told.to_upstream;
        let bytes_out = totals.to_client - told.to_client;
        connection.stats.passed(connection.worker.base.shard, bytes_in, bytes_out);
        self.lease.endpoint().passed(bytes_in, bytes_out);
    }
}

/// Whether something beside the two peers ends the connection.
fn told_to_end(connection: &Connection, endpoint: &Endpoint, terms: &Terms) -> Option<End> {
    if connection.worker.base.is_stopping() {
        Some(End::ShuttingDown)
    } else if terms.on_remove == OnRemove::Close && endpoint.is_retired() {
        Some(End::EndpointRemoved)
    } else if terms.on_down == OnDown::Close && endpoint.state().is_down() {
        Some(End::EndpointDown)
    } else {
        None
    }
}

/// What a relay had done when it was last looked at.
#[derive(Default)]
struct Progress {
    seen: RelayTotals,
    ends: RelayEnds,
    told: RelayTotals,
    /// How it will have ended if the rest goes in order.
    first_end: Option<End>,
}

impl Progress {
    /// Whether anything has moved since the last look.
    fn moved(&mut self, relay: &Relay) -> bool {
        let (totals, ends) = (relay.totals(), relay.ends());
        let moved = totals != self.seen || ends != self.ends;
        self.seen = totals;
        self.ends = ends;
        if self.first_end.is_none() {
            self.first_end = match ends {
                RelayEnds { client: true, .. } => Some(End::ClientClosed),
                RelayEnds { upstream: true, .. } => Some(End::UpstreamClosed),
                RelayEnds { .. } => None,
            };
        }
        moved
    }

    fn judge(&self, end: &RelayEnd) -> End {
        match end {
            RelayEnd::Finished => self.first_end.unwrap_or(End::ClientClosed),
            RelayEnd::ClientFailed(_) => End::ClientReset,
            RelayEnd::UpstreamFailed(_) => End::UpstreamReset,
        }
    }

    /// Bytes that were passed on and not counted yet.
    fn untold(&self) -> u64 {
        self.seen.to_client - self.told.to_client + self.seen.to_upstream - self.told.to_upstream
    }
}
