use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use weir_telemetry::Gauge;

/// A listener while it runs: what its connections hold of it, across reloads.
#[derive(Debug)]
pub struct ListenerState {
    /// What a plane finds its settings by.
    pub id: u32,
    /// Its name in the configuration.
    pub name: Arc<str>,
    retired: AtomicBool,
    handed_over: AtomicBool,
    connections: Gauge,
}

impl ListenerState {
    /// A new listener of that name; `id` is what planes find its settings by, the same for all its addresses.
    pub fn new(id: u32, name: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            id,
            name,
            retired: AtomicBool::new(false),
            handed_over: AtomicBool::new(false),
            connections: Gauge::default(),
        })
    }

    /// The listener is no longer wanted: what it accepted ends as soon as that hurts nobody.
    pub fn retire(&self) {
        // Release: who sees it retired sees whether it was handed over.
        self.retired.store(true, Ordering::Release);
    }

    /// Its address goes on under another name: as [`retire`](Self::retire), and whoever still waits to be accepted
    /// is the successor's.
    pub fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Relaxed);
        self.retire();
    }

    /// Whether a successor accepts at its address.
    pub fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Relaxed)
    }

    /// Whether the listener is no longer wanted.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Its open connections and sessions.
    pub fn open_connections(&self) -> i64 {
        self.connections.get()
    }

    /// A UDP session began; counted as a connection.
    pub fn session_began(&self) {
        self.connections.add(1);
    }

    /// A UDP session ended.
    pub fn session_ended(&self) {
        self.connections.add(-1);
    }

    pub(crate) const fn connections(&self) -> &Gauge {
        &self.connections
    }
}
