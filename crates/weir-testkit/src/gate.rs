use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::wait::PATIENCE;

/// A gate that starts shut: whoever waits goes on when it is opened.
///
/// Clones are the same gate. Used to hold an origin's answer until the test has seen what it wants to see.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A shut gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits for [`Gate::open`], at most twice [`PATIENCE`], so that a failed test leaves no thread behind.
    pub fn wait(&self) {
        let shut = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.0.1.wait_timeout_while(shut, PATIENCE * 2, |open| !*open);
    }
}
