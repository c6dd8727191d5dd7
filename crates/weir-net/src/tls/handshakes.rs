use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use weir_task::DeadlineWaker;

use crate::worker::locked;

/// Most TLS handshakes with clients that are under way at a time, of all workers: each may hold 16 KiB and more, and a
/// client pays next to nothing to begin one.
pub const HANDSHAKES_MAX_DEFAULT: u32 = 1024;

/// The handshakes with clients that are under way. Where there are too many the oldest gives way: an honest one is over
/// within a round trip or two, so what is oldest is what somebody has left lying.
#[derive(Debug)]
pub struct Handshakes {
    open: Mutex<Open>,
    max: AtomicU32,
}

#[derive(Debug, Default)]
struct Open {
    /// By their age.
    by_age: BTreeMap<u64, Arc<Slot>>,
    begun: u64,
}

#[derive(Debug)]
struct Slot {
    is_given_up: AtomicBool,
    waker: DeadlineWaker,
}

/// A handshake that is under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit<'h> {
    all: &'h Handshakes,
    age: u64,
    slot: Arc<Slot>,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self { open: Mutex::default(), max: AtomicU32::new(HANDSHAKES_MAX_DEFAULT) }
    }
}

impl Handshakes {
    /// Sets how many there may be; those that are too many give way to the next.
    pub fn set_max(&self, max: u32) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        locked(&self.open).by_age.len()
    }

    /// Counts one more; `waker` wakes its task where it is to give way.
    pub(super) fn begin(&self, waker: DeadlineWaker) -> Permit<'_> {
        let slot = Arc::new(Slot { is_given_up: AtomicBool::new(false), waker });
        let max = self.max.load(Ordering::Relaxed).max(1) as usize;
        let mut open = locked(&self.open);
        let mut given_up = Vec::new();
        while open.by_age.len() >= max
            && let Some((_, oldest)) = open.by_age.pop_first()
        {
            given_up.push(oldest);
        }
        let age = open.begun;
        open.begun += 1;
        open.by_age.insert(age, Arc::clone(&slot));
        drop(open);
        for slot in given_up {
            slot.is_given_up.store(true, Ordering::Relaxed);
            slot.waker.wake();
        }
        Permit { all: self, age, slot }
    }
}

impl Permit<'_> {
    /// Whether it is to give way.
    pub(super) fn is_given_up(&self) -> bool {
        self.slot.is_given_up.load(Ordering::Relaxed)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        locked(&self.all.open).by_age.remove(&self.age);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use weir_task::Deadlines;

    #[test]
    fn the_oldest_handshake_gives_way_to_the_newest() {
        let deadlines = Deadlines::new(Instant::now());
        let all = Handshakes::default();
        all.set_max(2);
        let begin = || all.begin(deadlines.deadline().waker());
        let [first, second] = [begin(), begin()];
        drop(second);
        let third = begin();
        assert!(!first.is_given_up());
        let fourth = begin();
        assert!(first.is_given_up() && !third.is_given_up() && !fourth.is_given_up());
        drop(first);
        assert_eq!(all.open(), 2);
        drop((third, fourth));
        assert_eq!(all.open(), 0);
    }
}
