use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Upstream, lock};

/// Retries that are there from the start, so that small traffic can be retried at all.
const RETRIES_MIN: u64 = 10;

/// Most retries that may be saved up: what the requests that one dying endpoint was serving may need at once.
const RETRIES_SAVED_MAX: u64 = 1_000;

/// Hundredths of a per cent of one retry.
const ONE: u64 = 10_000;

/// Keeps retries from multiplying the load of an upstream that is failing.
///
/// Each request saves up its share of a retry, by default a fifth; a retry spends one. So a fault that many
/// requests meet at once is retried whole, and a fault that lasts adds a fifth to the load and no more.
#[derive(Debug, Clone, Copy)]
pub struct RetryBudget<'a> {
    pub(crate) upstream: &'a Upstream,
}

/// The retries of one upstream, in all its generations.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    saved: Mutex<Saved>,
    pub(crate) allowed: AtomicU64,
    pub(crate) refused: AtomicU64,
}

#[derive(Debug)]
struct Saved {
    /// Requests that have paid in.
    requests: u64,
    /// In parts of [`ONE`].
    parts: u64,
}

impl Default for Saved {
    fn default() -> Self {
        Self { requests: 0, parts: RETRIES_MIN * ONE }
    }
}

impl RetryBudget<'_> {
    /// Takes one retry out of what is saved up; false where there is none.
    pub fn try_withdraw(&self) -> bool {
        let share = u64::from(self.upstream.plan().retry.budget.basis_points());
        let requests = self.upstream.endpoints().iter().map(|endpoint| endpoint.requests()).sum::<u64>();
        let retries = self.upstream.retries();
        let mut saved = lock(&retries.saved);
        // Endpoints come and go, and their counts with them; what was paid in stays.
        let new = requests.saturating_sub(saved.requests);
        saved.requests = requests;
        saved.parts = saved.parts.saturating_add(new.saturating_mul(share)).min(RETRIES_SAVED_MAX * ONE);
        let allowed = saved.parts >= ONE;
        if allowed {
            saved.parts -= ONE;
        }
        drop(saved);
        let counter = if allowed { &retries.allowed } else { &retries.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use crate::BalancePlan;
    use crate::balancer::contract::Bench;

    fn withdrawn(bench: &Bench, attempts: usize) -> usize {
        (0..attempts).filter(|_| bench.upstream.retry_budget().try_withdraw()).count()
    }

    #[test]
    fn a_few_retries_are_always_there() {
        let bench = Bench::new(BalancePlan::RoundRobin, &[1]);
        assert_eq!(withdrawn(&bench, 20), 10);
    }

    #[test]
    fn requests_save_up_a_fifth_of_a_retry_each() {
        let bench = Bench::new(BalancePlan::RoundRobin, &[1, 1]);
        assert_eq!(withdrawn(&bench, 20), 10);
        for _ in 0..100 {
            drop(bench.pick());
        }
        assert_eq!(withdrawn(&bench, 50), 20);
    }

    #[test]
    fn what_is_saved_up_is_bounded() {
        let bench = Bench::new(BalancePlan::RoundRobin, &[1]);
        for _ in 0..10_000 {
            drop(bench.pick());
        }
        assert_eq!(withdrawn(&bench, 3_000), 1_000);
    }
}
