//! Which certificate a handshake serves. rustls asks a resolver for one and does not tell which it got; what is asked
//! and what is told happens within one call on one thread, so a cell of the thread carries the name across.

use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    static SERVED: Cell<Option<Arc<str>>> = const { Cell::new(None) };
}

/// Says what the certificate is called that a resolver has just chosen: its name goes into the facts of the handshake.
pub(super) fn put(name: Arc<str>) {
    SERVED.set(Some(name));
}

/// The name of the certificate that was chosen since the last call, on this thread.
pub(super) fn take() -> Option<Arc<str>> {
    SERVED.take()
}
