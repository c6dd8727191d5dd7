use std::net::IpAddr;
use std::time::Instant;

/// What a balancer may look at besides the endpoints.
#[derive(Debug, Clone, Copy)]
pub struct PickRequest {
    /// The time, read once per request or event loop turn.
    pub now: Instant,
    /// The client's address; none for unix sockets and unknown clients.
    pub client: Option<IpAddr>,
    /// [`hash_bytes`](crate::hash_bytes) of what [`Upstream::hash_key`](crate::Upstream::hash_key) names; none when
    /// the request does not have it.
    pub hash: Option<u64>,
    /// A fresh draw of the worker's random generator.
    pub random: u64,
}

/// The endpoints that one request has already been sent to.
///
/// Up to eight are kept in place; more (a try that sent nothing may visit every endpoint) allocate.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    first: [u32; 8],
    count: u8,
    more: Vec<u32>,
}

impl Tried {
    /// Nothing tried yet.
    pub const fn new() -> Self {
        Self { first: [0; 8], count: 0, more: Vec::new() }
    }

    /// Adds an endpoint's id; once is enough.
    pub fn insert(&mut self, id: u32) {
        if self.contains(id) {
            return;
        }
        match self.first.get_mut(usize::from(self.count)) {
            Some(place) => {
                *place = id;
                self.count += 1;
            }
            None => self.more.push(id),
        }
    }

    /// Whether this endpoint has been tried.
    pub fn contains(&self, id: u32) -> bool {
        self.first[..usize::from(self.count)].contains(&id) || self.more.contains(&id)
    }

    /// Whether nothing has been tried.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many endpoints have been tried.
    pub fn len(&self) -> usize {
        usize::from(self.count) + self.more.len()
    }

    /// Forgets all, so that a second round may begin.
    pub fn clear(&mut self) {
        self.count = 0;
        self.more.clear();
    }
}

/// Why no endpoint could be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    /// None is available.
    #[error("no endpoint is available ({blocked} blocked, {total} known)")]
    NoEndpoint {
        /// How many are known but down, ejected or switched off.
        blocked: u16,
        /// How many are known.
        total: u16,
    },
    /// Every available endpoint has been tried.
    #[error("every available endpoint has been tried")]
    AllTried,
    /// Every endpoint that is left is at its cap; only [`Upstream::pick`](crate::Upstream::pick) says so,
    /// [`Upstream::acquire`](crate::Upstream::acquire) waits instead.
    #[error("every endpoint is at its cap")]
    Busy,
    /// Every endpoint is at its cap and the queue is full.
    #[error("every endpoint is at its cap and the queue is full")]
    QueueFull,
    /// No endpoint fell below its cap in time.
    #[error("every endpoint stayed at its cap for the queue's whole timeout")]
    QueueTimeout,
}

/// How one attempt at an endpoint ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A response head came that does not count as a failure.
    Success {
        /// From the first byte sent to the head.
        head_after: std::time::Duration,
    },
    /// The connection was refused or reset while being made.
    ConnectFailed,
    /// There was no TLS on the connection.
    TlsFailed,
    /// The connection was not made in time.
    ConnectTimeout,
    /// The head did not come in time.
    ResponseTimeout,
    /// The connection ended before the head.
    ClosedEarly,
    /// The answer was not one unambiguous HTTP message.
    Malformed,
    /// A status that the passive check lists.
    Status(u16),
    /// The client went away or the request was given up for reasons that are not the endpoint's.
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tried_endpoints_are_remembered_beyond_the_inline_places() {
        let mut tried = Tried::new();
        for id in 0..20 {
            assert!(!tried.contains(id));
            tried.insert(id);
            tried.insert(id);
            assert!(tried.contains(id));
        }
        assert_eq!(tried.len(), 20);
        tried.clear();
        assert!(tried.is_empty() && !tried.contains(3) && !tried.contains(15));
    }
}
