use std::sync::atomic::{AtomicU64, Ordering};

/// Memory that windows of many sessions may take beyond what the protocol gives each stream.
///
/// Where it is used up, windows stop growing; nothing stalls.
#[derive(Debug)]
pub struct WindowBudget {
    bytes_max: u64,
    used: AtomicU64,
}

impl WindowBudget {
    /// A budget of this many bytes.
    pub const fn new(bytes_max: u64) -> Self {
        Self { bytes_max, used: AtomicU64::new(0) }
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        // Relaxed: a count, which orders nothing.
        self.used.load(Ordering::Relaxed)
    }

    /// Takes up to `wanted` bytes; returns how many.
    pub(super) fn take(&self, wanted: u32) -> u32 {
        let wanted = u64::from(wanted);
        let before = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                Some(used + wanted.min(self.bytes_max.saturating_sub(used)))
            })
            .unwrap_or_else(|used| used);
        let taken = wanted.min(self.bytes_max.saturating_sub(before));
        u32::try_from(taken).expect("no more is taken than was wanted")
    }

    pub(super) fn put(&self, bytes: u32) {
        self.used.fetch_sub(u64::from(bytes), Ordering::Relaxed);
    }
}

/// What the windows of one session take: their share of the process's budget, and no more than the session's own.
#[derive(Debug)]
pub(super) struct SessionBudget {
    bytes_max: u32,
    used: u32,
    process: std::sync::Arc<WindowBudget>,
}

impl SessionBudget {
    pub(super) const fn new(bytes_max: u32, process: std::sync::Arc<WindowBudget>) -> Self {
        Self { bytes_max, used: 0, process }
    }

    pub(super) fn take(&mut self, wanted: u32) -> u32 {
        let taken = self.process.take(wanted.min(self.bytes_max - self.used));
        self.used += taken;
        taken
    }

    pub(super) fn put(&mut self, bytes: u32) {
        self.used -= bytes;
        self.process.put(bytes);
    }

    pub(super) const fn used(&self) -> u32 {
        self.used
    }
}

impl Drop for SessionBudget {
    fn drop(&mut self) {
        self.process.put(self.used);
    }
}
