use std::sync::Arc;

use crate::Endpoint;

/// An endpoint chosen for one attempt; one request in flight until dropped.
///
/// It holds the endpoint, not the upstream, so that a long stream does not keep old configurations alive.
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    panic: bool,
}

impl Lease {
    /// Takes a slot of the endpoint; `None` if it is at its cap.
    pub(crate) fn take(endpoint: &Arc<Endpoint>, panic: bool) -> Option<Self> {
        endpoint.enter().then(|| Self { endpoint: Arc::clone(endpoint), panic })
    }

    /// The endpoint.
    pub const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Whether it was chosen among all endpoints because too few are available.
    pub const fn is_panic(&self) -> bool {
        self.panic
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.leave();
        self.endpoint.queue.slot_freed();
    }
}
