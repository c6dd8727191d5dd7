//! Waiting for a condition with a deadline.

use std::time::{Duration, Instant};

/// How long a test waits for something that should happen soon: generous, since machines can be busy.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `look` answers something.
///
/// # Panics
///
/// When `look` has answered nothing for [`PATIENCE`]; the message names `what`.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, look).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {what}"))
}

/// Waits until `holds` is true.
///
/// # Panics
///
/// When it has not become true for [`PATIENCE`]; the message names `what`.
pub fn until_true(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || holds().then_some(()));
}

/// Waits at most `limit` until `look` answers something; `None` when it never did.
pub fn until_within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
