mod exposition;
mod histogram;
mod shard;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub use exposition::{Exposition, Kind};
pub use histogram::Histogram;
pub use shard::{Shard, Shards};

/// A counter that only the owner of its shard writes.
///
/// Writing is a load and a store, without a locked instruction: two writers at once would lose counts. Anybody
/// may read it.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter that anybody may write.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down, written by anybody.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Goes up by `n`, down where `n` is negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Goes down by `n`.
    pub fn sub(&self, n: i64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Becomes `n`.
    pub fn set(&self, n: i64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that has metrics to show.
pub trait Collect: Send + Sync {
    /// Writes all of its families; called for each scrape, on the control side.
    fn collect(&self, out: &mut Exposition);
}

/// Everybody who has metrics to show.
#[derive(Default)]
pub struct Registry {
    sources: Mutex<Vec<Source>>,
}

enum Source {
    Kept(Arc<dyn Collect>),
    Borrowed(Weak<dyn Collect>),
}

impl Registry {
    /// Nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows `source` for the registry's whole life.
    pub fn register(&self, source: Arc<dyn Collect>) {
        self.push(Source::Kept(source));
    }

    /// Shows `source` for as long as somebody else holds it.
    pub fn register_weak(&self, source: Weak<dyn Collect>) {
        self.push(Source::Borrowed(source));
    }

    /// All metrics in the Prometheus text format, version 0.0.4.
    pub fn render(&self) -> String {
        let sources: Vec<Arc<dyn Collect>> = {
            let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
            sources.retain(|source| !matches!(source, Source::Borrowed(weak) if weak.strong_count() == 0));
            sources.iter().filter_map(Source::upgrade).collect()
        };
        let mut out = Exposition::new();
        for source in sources {
            source.collect(&mut out);
        }
        out.into_text()
    }

    fn push(&self, source: Source) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).push(source);
    }
}

impl Source {
    fn upgrade(&self) -> Option<Arc<dyn Collect>> {
        match self {
            Self::Kept(source) => Some(Arc::clone(source)),
            Self::Borrowed(source) => source.upgrade(),
        }
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(&'static str);

    impl Collect for Fixed {
        fn collect(&self, out: &mut Exposition) {
            out.family("weir_things_total", "Things.", Kind::Counter).sample(&[("kind", self.0)], 1.0);
        }
    }

    #[test]
    fn two_sources_of_one_family_share_its_header() {
        let registry = Registry::new();
        registry.register(Arc::new(Fixed("a")));
        registry.register(Arc::new(Fixed("b")));
        assert_eq!(
            registry.render(),
            "# HELP weir_things_total Things.\n# TYPE weir_things_total counter\n\
             weir_things_total{kind=\"a\"} 1\nweir_things_total{kind=\"b\"} 1\n"
        );
    }

    #[test]
    fn a_borrowed_source_disappears_with_its_owner() {
        let registry = Registry::new();
        let owner: Arc<dyn Collect> = Arc::new(Fixed("gone"));
        registry.register_weak(Arc::downgrade(&owner));
        assert!(registry.render().contains("gone"));
        drop(owner);
        assert_eq!(registry.render(), "");
    }

    #[test]
    fn counters_and_gauges_keep_what_they_are_given() {
        let (tally, counter, gauge) = (Tally::default(), Counter::default(), Gauge::default());
        tally.add(2);
        tally.add(3);
        counter.add(7);
        gauge.add(5);
        gauge.sub(9);
        assert_eq!((tally.get(), counter.get(), gauge.get()), (5, 7, -4));
        gauge.set(1);
        assert_eq!(gauge.get(), 1);
    }
}
