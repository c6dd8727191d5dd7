use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

/// An immutable snapshot that is swapped whole.
///
/// Readers see one revision or the next, never a mixture. Publishing is the control side's alone.
#[derive(Debug)]
pub struct Live<T> {
    value: ArcSwap<T>,
    generation: AtomicU64,
}

impl<T> Live<T> {
    /// Starts with this snapshot.
    pub fn new(value: Arc<T>) -> Self {
        Self { value: ArcSwap::new(value), generation: AtomicU64::new(1) }
    }

    /// The current snapshot.
    pub fn load(&self) -> Arc<T> {
        self.value.load_full()
    }

    /// Replaces the snapshot; the old one lives until its last reader lets go.
    pub fn publish(&self, value: Arc<T>) {
        self.value.store(value);
        // Release: who sees the new generation finds the new value.
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// A snapshot as one worker holds it.
///
/// Wrapped once more for each worker, so that the reference counts that requests touch belong to that worker alone.
#[derive(Debug)]
pub struct Snapshot<T>(Arc<T>);

impl<T> Snapshot<T> {
    /// Wraps a snapshot that is no longer the current one.
    pub const fn new(value: Arc<T>) -> Self {
        Self(value)
    }
}

impl<T> Deref for Snapshot<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// One worker's copy of a [`Live`] snapshot: a look costs one shared load and no shared write.
#[derive(Debug)]
pub struct LiveCache<T> {
    generation: u64,
    value: Option<Arc<Snapshot<T>>>,
}

impl<T> Default for LiveCache<T> {
    fn default() -> Self {
        Self { generation: 0, value: None }
    }
}

impl<T> LiveCache<T> {
    /// The current snapshot of `live`.
    #[inline]
    pub fn load(&mut self, live: &Live<T>) -> Arc<Snapshot<T>> {
        let generation = live.generation.load(Ordering::Acquire);
        match &self.value {
            Some(value) if self.generation == generation => Arc::clone(value),
            _ => {
                let value = Arc::new(Snapshot(live.load()));
                self.generation = generation;
                self.value = Some(Arc::clone(&value));
                value
            }
        }
    }

    /// Lets go of an outdated snapshot; called now and then, so that an idle worker does not hold an old one.
    pub fn refresh(&mut self, live: &Live<T>) {
        drop(self.load(live));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_follows_the_snapshot_and_frees_the_old_one() {
        let first = Arc::new(1);
        let live = Live::new(Arc::clone(&first));
        let mut cache = LiveCache::default();
        assert_eq!(**cache.load(&live), 1);
        live.publish(Arc::new(2));
        cache.refresh(&live);
        assert_eq!(Arc::strong_count(&first), 1);
        assert_eq!(**cache.load(&live), 2);
    }
}
