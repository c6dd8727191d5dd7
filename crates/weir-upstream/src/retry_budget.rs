use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::Upstream;

/// Retries in flight that are always allowed, so that small traffic can be retried at all.
const RETRIES_MIN: u64 = 3;

/// Keeps retries from multiplying the load of an upstream that is failing.
#[derive(Debug, Clone, Copy)]
pub struct RetryBudget<'a> {
    pub(crate) upstream: &'a Upstream,
}

/// The retries of one upstream, in all its generations.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    in_flight: AtomicU32,
    pub(crate) refused: AtomicU64,
}

impl Retries {
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl RetryBudget<'_> {
    /// Permission for one retry, held until it has ended; `None` when retries already are the larger of 3 and
    /// `retry.budget` of the requests in flight.
    pub fn try_withdraw(&self) -> Option<RetryPermit> {
        let in_flight = self.upstream.in_flight();
        let allowed = self.upstream.plan().retry.budget.of(in_flight).max(RETRIES_MIN);
        let retries = self.upstream.retries();
        let took = retries.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |retrying| {
            (u64::from(retrying) < allowed).then_some(retrying + 1)
        });
        if took.is_err() {
            retries.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(RetryPermit(Arc::clone(retries)))
    }
}

/// One retry in flight until dropped.
#[derive(Debug)]
pub struct RetryPermit(Arc<Retries>);

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use crate::BalancePlan;
    use crate::balancer::contract::Bench;

    #[test]
    fn three_retries_are_always_allowed() {
        let bench = Bench::new(BalancePlan::RoundRobin, &[1]);
        let budget = bench.upstream.retry_budget();
        let permits: Vec<_> = (0..4).map(|_| budget.try_withdraw()).collect();
        assert_eq!(permits.iter().flatten().count(), 3);
        drop(permits);
        assert!(budget.try_withdraw().is_some(), "an ended retry makes room");
    }

    #[test]
    fn retries_are_a_fifth_of_the_requests_in_flight() {
        let bench = Bench::new(BalancePlan::RoundRobin, &[1, 1]);
        let _held: Vec<_> = (0..100).map(|_| bench.pick()).collect();
        let permits: Vec<_> = (0..50).filter_map(|_| bench.upstream.retry_budget().try_withdraw()).collect();
        assert_eq!(permits.len(), 20);
    }
}
