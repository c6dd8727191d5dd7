use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Room for so many encoders at a time: each has megabytes, and a client that reads slowly keeps one for long.
#[derive(Debug)]
pub(super) struct Places {
    taken: Arc<AtomicU32>,
    max: u32,
}

/// One of them; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicU32>);

impl Places {
    pub(super) fn new(max: u32) -> Self {
        Self { taken: Arc::default(), max }
    }

    /// A place, while there is one.
    pub(super) fn take(&self) -> Option<Place> {
        // Relaxed: the count orders nothing else. It may be one too high for a moment, never too low.
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.taken));
        (taken < self.max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let places = Places::new(1);
        let first = places.take();
        assert!(first.is_some() && places.take().is_none() && places.take().is_none());
        drop(first);
        assert!(places.take().is_some());
    }
}
