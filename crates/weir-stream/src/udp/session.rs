use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::AbortHandle;
use weir_upstream::{Lease, Tried};

/// A client's datagrams, and the endpoint that answers them.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) started: Instant,
    /// Datagrams of the client that were taken.
    pub(super) requests: u64,
    /// Datagrams of the endpoint that came.
    pub(super) responses: u64,
    /// Whether the last datagram was the client's.
    pub(super) spoke_last: bool,
    /// Endpoints that were tried.
    pub(super) attempts: u32,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// The name of the upstream that its endpoint is of: after a reload the listener may forward to another, which judges
    /// other endpoints.
    pub(super) upstream: Arc<str>,
    pub(super) way: Way,
    /// Gone with the first answer of an endpoint.
    pub(super) unanswered: Option<Box<Unanswered>>,
}

/// How a session's datagrams reach an endpoint.
#[derive(Debug)]
pub(super) enum Way {
    /// They wait, as every endpoint is at its cap.
    Waiting,
    /// They are sent.
    Open(Open),
}

/// A socket to an endpoint, and the endpoint's slot.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) socket: OwnedFd,
    pub(super) lease: Lease,
    /// Whether its next datagram is its first and begins with a header.
    pub(super) needs_header: bool,
}

/// What is remembered of a session until its first answer.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    /// While it waits: all its datagrams. Then the first, for another endpoint if this one refuses it.
    pub(super) held: Vec<Box<[u8]>>,
    pub(super) held_bytes: usize,
    /// The endpoints that refused.
    pub(super) tried: Tried,
    /// Who waits for an endpoint.
    pub(super) waiter: Option<AbortHandle>,
}

impl Session {
    pub(super) fn new(upstream: Arc<str>, now: Instant) -> Self {
        Self {
            started: now,
            requests: 0,
            responses: 0,
            spoke_last: false,
            attempts: 0,
            bytes_in: 0,
            bytes_out: 0,
            upstream,
            way: Way::Waiting,
            unanswered: None,
        }
    }

    pub(super) const fn open(&self) -> Option<&Open> {
        match &self.way {
            Way::Open(open) => Some(open),
            Way::Waiting => None,
        }
    }

    pub(super) fn unanswered(&mut self) -> &mut Unanswered {
        self.unanswered.get_or_insert_default()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.unanswered.as_ref().map_or(0, |unanswered| unanswered.held_bytes)
    }
}

impl Unanswered {
    /// Holds one more datagram.
    pub(super) fn hold(&mut self, bytes: &[u8]) {
        self.held.push(bytes.into());
        self.held_bytes += bytes.len();
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(waiter) = &self.waiter {
            waiter.abort();
        }
    }
}
