use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use weir_net::tls::{TlsFault, TlsFaultReason};

use crate::lock;

/// Least pause between two events about handshakes with an upstream that failed.
const TOLD_PAUSE: Duration = Duration::from_secs(10);

/// How handshakes with the endpoints of an upstream went, over all its configurations.
#[derive(Debug)]
pub(crate) struct TlsTally {
    upstream: Arc<str>,
    full: AtomicU64,
    resumed: AtomicU64,
    failed: [AtomicU64; TlsFaultReason::ALL.len()],
    told: Mutex<Option<Instant>>,
}

/// What became of the handshakes with an upstream's endpoints.
#[derive(Debug, Clone)]
pub struct TlsStatus {
    /// Those that verified the endpoint.
    pub full: u64,
    /// Those that went on with an earlier session.
    pub resumed: u64,
    /// Those that failed, by reason.
    pub failed: [(TlsFaultReason, u64); TlsFaultReason::ALL.len()],
}

impl TlsTally {
    pub(crate) fn new(upstream: Arc<str>) -> Self {
        Self {
            upstream,
            full: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            failed: Default::default(),
            told: Mutex::default(),
        }
    }

    /// The upstream's name.
    pub(crate) fn upstream(&self) -> &str {
        &self.upstream
    }

    pub(crate) fn succeeded(&self, resumed: bool) {
        let kind = if resumed { &self.resumed } else { &self.full };
        kind.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a failure; whether it is to be told, as none was for a while.
    pub(crate) fn failed(&self, fault: &TlsFault, now: Instant) -> bool {
        self.failed[fault.reason() as usize].fetch_add(1, Ordering::Relaxed);
        let mut told = lock(&self.told);
        let is_due = told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_PAUSE);
        if is_due {
            *told = Some(now);
        }
        is_due
    }

    pub(crate) fn status(&self) -> TlsStatus {
        let failed = |reason: TlsFaultReason| (reason, self.failed[reason as usize].load(Ordering::Relaxed));
        TlsStatus {
            full: self.full.load(Ordering::Relaxed),
            resumed: self.resumed.load(Ordering::Relaxed),
            failed: TlsFaultReason::ALL.map(failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_now_and_then_and_counted_always() {
        let (tally, start) = (TlsTally::new("app".into()), Instant::now());
        let told: Vec<bool> = [0, 1, 9, 10, 11]
            .map(|s| tally.failed(&TlsFault::closed(), start + Duration::from_secs(s)))
            .into();
        assert_eq!(told, [true, false, false, true, false]);
        let counted = tally.status().failed;
        assert!(counted.contains(&(TlsFaultReason::Closed, 5)));
        assert_eq!(counted.iter().map(|(_, count)| count).sum::<u64>(), 5);
    }
}
