//! How reloads went, whoever asked for them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

/// Counts of reloads; the start counts as a good one for the times, not for the counts.
#[derive(Debug)]
pub(crate) struct ReloadStats {
    succeeded: AtomicU64,
    failed: AtomicU64,
    last_succeeded: AtomicBool,
    /// Unix milliseconds.
    last_success: AtomicU64,
}

impl ReloadStats {
    /// Begins with the configuration that was taken at `now`.
    pub(crate) fn new(now: SystemTime) -> Self {
        Self {
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_succeeded: AtomicBool::new(true),
            last_success: AtomicU64::new(unix_millis(now)),
        }
    }

    /// Counts one reload.
    pub(crate) fn record(&self, succeeded: bool, now: SystemTime) {
        if succeeded {
            self.succeeded.fetch_add(1, Ordering::Relaxed);
            self.last_success.store(unix_millis(now), Ordering::Relaxed);
        } else {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.last_succeeded.store(succeeded, Ordering::Relaxed);
    }

    /// Reloads that were taken.
    pub(crate) fn succeeded(&self) -> u64 {
        self.succeeded.load(Ordering::Relaxed)
    }

    /// Reloads that were rejected.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether the last one was taken.
    pub(crate) fn last_succeeded(&self) -> bool {
        self.last_succeeded.load(Ordering::Relaxed)
    }

    /// When the configuration that is served was taken.
    pub(crate) fn last_success(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.last_success.load(Ordering::Relaxed))
    }

    /// All of it, for the status.
    pub(crate) fn show(&self) -> Value {
        json!({
            "succeeded": self.succeeded(),
            "failed": self.failed(),
            "last_succeeded": self.last_succeeded(),
            "last_success": self.last_success.load(Ordering::Relaxed) as f64 / 1e3,
        })
    }
}

fn unix_millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_reload_keeps_the_time_of_the_last_good_one() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let stats = ReloadStats::new(start);
        stats.record(false, start + Duration::from_secs(5));
        assert_eq!((stats.succeeded(), stats.failed(), stats.last_succeeded()), (0, 1, false));
        assert_eq!(stats.last_success(), start);
        stats.record(true, start + Duration::from_secs(9));
        assert_eq!((stats.succeeded(), stats.last_succeeded()), (1, true));
        assert_eq!(stats.last_success(), start + Duration::from_secs(9));
    }
}
