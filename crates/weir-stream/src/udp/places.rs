use std::sync::atomic::{AtomicU32, Ordering};

/// How many sessions a listener may have over all of its workers, and has.
#[derive(Debug)]
pub(crate) struct Places {
    max: AtomicU32,
    taken: AtomicU32,
    workers: u32,
}

impl Places {
    /// None is taken yet; `workers` share them, at least one.
    pub(crate) const fn new(max: u32, workers: u32) -> Self {
        Self { max: AtomicU32::new(max), taken: AtomicU32::new(0), workers }
    }

    /// What a worker may have whatever the others have: its part of them, at least one.
    pub(super) fn share(&self) -> u32 {
        (self.max() / self.workers).max(1)
    }

    /// Changes how many there are.
    pub(crate) fn set_max(&self, max: u32) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// How many there are.
    pub(crate) fn max(&self) -> u32 {
        self.max.load(Ordering::Relaxed)
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes one, unless none is free.
    pub(super) fn take(&self) -> bool {
        // Relaxed: the number is all that is shared.
        let max = self.max();
        let one_more = |taken| (taken < max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Takes one although none is free, for who has just given one back or has less than its share.
    pub(super) fn take_beyond(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives some back.
    pub(super) fn give_back(&self, count: u32) {
        self.taken.fetch_sub(count, Ordering::Relaxed);
    }
}
