//! The two sides joined, until both have ended or something ends them.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use weir_net::{Relay, RelayEnd, RelayEnds, RelayTotals};
use weir_upstream::{Endpoint, EndpointState};

use super::connect::{Joined, Terms};
use super::connection::Connection;
use crate::end::End;
use crate::{OnDown, OnRemove};

/// Counters are told of bytes in steps of this size, and at the end.
const TOLD_BYTES: u64 = 1 << 20;

/// Relays until the end, and records it.
pub(super) async fn relay(mut connection: Box<Connection>, joined: Joined) {
    let Joined { mut upstream, lease, first, terms } = joined;
    let now = Instant::now();
    let spare = connection.worker.base.spares.buffers.take();
    let mut relay = Relay::new(first, spare).limited(terms.upload, terms.download, now);
    let mut progress = Progress::default();
    connection.deadline.set(now, terms.idle);
    let end = poll_fn(|cx| {
        let worker = &connection.worker;
        if let Poll::Ready(end) = relay.poll(cx, &mut connection.client, &mut upstream, &worker.base.spares) {
            return Poll::Ready(progress.judge(&end));
        }
        if progress.moved(&relay) {
            let limit = if progress.first_end.is_some() { terms.half_closed } else { terms.idle };
            connection.deadline.set(Instant::now(), limit);
            if progress.untold(&relay) >= TOLD_BYTES {
                progress.tell(&connection, lease.endpoint(), &relay);
            }
        }
        if let Some(end) = told_to_end(&connection, lease.endpoint(), &terms) {
            return Poll::Ready(end);
        }
        if connection.deadline.is_expired(cx) {
            return Poll::Ready(match progress.first_end {
                Some(_) => End::HalfCloseTimeout,
                None => End::IdleTimeout,
            });
        }
        Poll::Pending
    })
    .await;
    progress.tell(&connection, lease.endpoint(), &relay);
    relay.free(&connection.worker.base.spares);
    if !matches!(end, End::ClientClosed | End::UpstreamClosed) {
        // What each side has must not look like the whole.
        connection.client.reset_on_close();
        upstream.reset_on_close();
    }
    let totals = relay.totals();
    connection.record(end, totals);
}

/// Whether something beside the two peers ends the connection.
fn told_to_end(connection: &Connection, endpoint: &Endpoint, terms: &Terms) -> Option<End> {
    if connection.worker.base.is_stopping() {
        Some(End::ShuttingDown)
    } else if terms.on_remove == OnRemove::Close && endpoint.is_retired() {
        Some(End::EndpointRemoved)
    } else if terms.on_down == OnDown::Close
        && matches!(
            endpoint.state(),
            EndpointState::CheckFailed | EndpointState::Ejected | EndpointState::SwitchedOff
        )
    {
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

    fn untold(&self, relay: &Relay) -> u64 {
        let totals = relay.totals();
        totals.to_client - self.told.to_client + totals.to_upstream - self.told.to_upstream
    }

    fn tell(&mut self, connection: &Connection, endpoint: &Endpoint, relay: &Relay) {
        let totals = relay.totals();
        let bytes_in = totals.to_upstream - self.told.to_upstream;
        let bytes_out = totals.to_client - self.told.to_client;
        connection.stats.passed(connection.worker.base.shard, bytes_in, bytes_out);
        endpoint.passed(bytes_in, bytes_out);
        self.told = totals;
    }
}
