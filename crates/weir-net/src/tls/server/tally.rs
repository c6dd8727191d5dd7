use std::sync::atomic::{AtomicU64, Ordering};

/// What became of a listener's certificates while it runs.
#[derive(Debug, Default)]
pub struct CertificateTally {
    renewed: AtomicU64,
    refused: AtomicU64,
}

impl CertificateTally {
    pub(super) fn count_renewed(&self, count: usize) {
        self.renewed.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// One was broken, which was told.
    pub fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Certificates that were taken while the listener was running.
    pub fn renewed(&self) -> u64 {
        self.renewed.load(Ordering::Relaxed)
    }

    /// Times that a broken one was told.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
