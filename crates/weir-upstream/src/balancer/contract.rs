//! What every balancer must do, run for each of them; and the bench on which balancers are tried.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::*;

/// An upstream with endpoints of the given weights.
pub(crate) struct Bench {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) now: Instant,
    random: Mutex<fastrand::Rng>,
}

pub(crate) fn plan(balance: BalancePlan, weights: &[u16]) -> UpstreamPlan {
    let endpoints = weights.iter().zip(1..).map(|(&weight, port)| {
        let address = Address::Tcp(SocketAddr::from(([10, 0, 0, 1], port)));
        EndpointPlan { weight, ..EndpointPlan::new(Target::Address(address)) }
    });
    UpstreamPlan { balance, endpoints: endpoints.collect(), ..UpstreamPlan::new("bench") }
}

impl Bench {
    pub(crate) fn new(balance: BalancePlan, weights: &[u16]) -> Self {
        Self::of(plan(balance, weights))
    }

    pub(crate) fn of(plan: UpstreamPlan) -> Self {
        let now = Instant::now();
        let random = Mutex::new(fastrand::Rng::with_seed(11));
        Self { upstream: Upstream::compile(plan, None, now), now, random }
    }

    pub(crate) fn id(&self, index: usize) -> u32 {
        self.upstream.endpoints()[index].id()
    }

    pub(crate) fn request(&self) -> PickRequest {
        let random = self.random.lock().unwrap().u64(..);
        let client = IpAddr::from(((u128::from(random) << 64) | 1).to_be_bytes());
        let hash = Some(hash_bytes(&random.to_le_bytes()));
        PickRequest { now: self.now, client: Some(client), hash, random }
    }

    pub(crate) fn try_pick(&self, edit: impl Fn(&mut PickRequest)) -> Result<Lease, PickError> {
        let mut request = self.request();
        edit(&mut request);
        self.upstream.pick(&request, &Tried::new())
    }

    pub(crate) fn pick(&self) -> Lease {
        self.try_pick(|_| ()).unwrap()
    }

    /// How often each endpoint is picked in `n` requests, one after the other.
    pub(crate) fn counts(&self, n: usize) -> Vec<usize> {
        self.counts_of(n, |_| ())
    }

    pub(crate) fn counts_of(&self, n: usize, edit: impl Fn(&mut PickRequest)) -> Vec<usize> {
        let endpoints = self.upstream.endpoints();
        let mut counts = vec![0; endpoints.len()];
        for _ in 0..n {
            let id = self.try_pick(&edit).unwrap().endpoint().id();
            counts[endpoints.iter().position(|endpoint| endpoint.id() == id).unwrap()] += 1;
        }
        counts
    }

    pub(crate) fn record(&self, index: usize, outcome: Outcome) -> Option<HealthChange> {
        self.upstream.record(&self.upstream.endpoints()[index], outcome, self.now)
    }

    pub(crate) fn fail(&self, index: usize) -> Option<HealthChange> {
        (0..5).find_map(|_| self.record(index, Outcome::ConnectFailed))
    }

    pub(crate) fn set_admin(&self, index: usize, admin: AdminState) {
        let label = self.upstream.endpoints()[index].label().to_string();
        self.upstream.set_admin_state(&label, admin, self.now).unwrap();
    }
}

fn each(test: impl Fn(BalancePlan)) {
    use BalancePlan::*;
    for balance in [RoundRobin, LeastConn, RandomTwo, LeastTime, IpHash, Hash(HashKey::Path)] {
        test(balance);
    }
}

#[test]
fn every_balancer_respects_weights() {
    each(|balance| {
        let counts = Bench::new(balance.clone(), &[1, 2, 5]).counts(8_000);
        for (count, share) in counts.iter().zip([1_000.0, 2_000.0, 5_000.0]) {
            assert!((*count as f64 / share - 1.0).abs() < 0.15, "{balance:?}: {counts:?}");
        }
    });
}

#[test]
fn every_balancer_leaves_out_weight_zero_and_what_is_not_well() {
    each(|balance| {
        let bench = Bench::new(balance.clone(), &[1, 0, 1, 1, 1]);
        bench.set_admin(2, AdminState::Drain);
        assert!(bench.fail(3).is_some());
        let counts = bench.counts(100);
        assert_eq!((counts[1], counts[2], counts[3]), (0, 0, 0), "{balance:?}");
        assert!(counts[0] > 0 && counts[4] > 0, "{balance:?}: {counts:?}");
    });
}

#[test]
fn every_balancer_uses_each_endpoint_once_before_it_says_that_all_were_tried() {
    each(|balance| {
        let bench = Bench::new(balance.clone(), &[1, 7, 1, 3]);
        let (request, mut tried) = (bench.request(), Tried::new());
        for _ in 0..4 {
            let lease = bench.upstream.pick(&request, &tried).unwrap();
            assert!(!tried.contains(lease.endpoint().id()), "{balance:?}");
            tried.insert(lease.endpoint().id());
        }
        assert_eq!(bench.upstream.pick(&request, &tried).unwrap_err(), PickError::AllTried);
    });
}

#[test]
fn every_balancer_stops_at_the_caps() {
    each(|balance| {
        let mut plan = plan(balance, &[1, 3]);
        plan.endpoints[0].max_connections = Some(2);
        plan.endpoints[1].max_connections = Some(3);
        let bench = Bench::of(plan);
        let held: Vec<_> = (0..5).map(|_| bench.pick()).collect();
        assert_eq!(bench.try_pick(|_| ()).unwrap_err(), PickError::Busy);
        drop(held);
        assert_eq!(bench.upstream.in_flight(), 0);
        bench.pick();
    });
}

#[test]
fn every_balancer_turns_to_backups_only_when_no_primary_is_available() {
    each(|balance| {
        let mut plan = plan(balance, &[1, 1]);
        plan.endpoints[1].backup = true;
        let bench = Bench::of(plan);
        assert_eq!(bench.counts(20), [20, 0]);
        bench.set_admin(0, AdminState::Down);
        assert_eq!(bench.counts(20), [0, 20]);
        bench.set_admin(1, AdminState::Down);
        let nobody = PickError::NoEndpoint { blocked: 2, total: 2 };
        assert_eq!(bench.try_pick(|_| ()).unwrap_err(), nobody);
    });
}

#[test]
fn every_balancer_uses_all_when_too_few_are_well() {
    each(|balance| {
        let mut plan = plan(balance, &[1, 1]);
        plan.panic_threshold = weir_base::Percent::new(60);
        let bench = Bench::of(plan);
        bench.record(1, Outcome::Success { head_after: Duration::from_millis(50) });
        assert!(!bench.pick().is_panic());
        assert!(bench.fail(0).is_some());
        assert!(bench.pick().is_panic());
        // Held, as least_time rightly leaves a failing endpoint alone while the other one is idle.
        let held: Vec<_> = (0..400).map(|_| bench.pick()).collect();
        assert!(bench.upstream.endpoints().iter().all(|endpoint| endpoint.in_flight() > 0), "{}", held.len());
    });
}

#[test]
fn every_balancer_gives_a_recovered_endpoint_a_small_share_first() {
    each(|balance| {
        let mut plan = plan(balance.clone(), &[1, 1]);
        plan.slow_start = Some(Duration::from_secs(60));
        let mut bench = Bench::of(plan);
        bench.set_admin(0, AdminState::Down);
        bench.set_admin(0, AdminState::Up);
        let counts = bench.counts(1_000);
        assert!((20..200).contains(&counts[0]), "{balance:?}: {counts:?}");
        bench.now += Duration::from_secs(60);
        let counts = bench.counts(1_000);
        assert!((400..600).contains(&counts[0]), "{balance:?}: {counts:?}");
    });
}

#[test]
fn every_balancer_survives_an_upstream_without_endpoints() {
    each(|balance| {
        let nobody = PickError::NoEndpoint { blocked: 0, total: 0 };
        assert_eq!(Bench::new(balance, &[]).try_pick(|_| ()).unwrap_err(), nobody);
    });
}

#[test]
fn every_kind_has_a_name_of_its_own() {
    let mut names: Vec<_> = super::BALANCERS
        .iter()
        .flat_map(|kind| [kind.name].into_iter().chain(kind.aliases.iter().copied()))
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    each(|balance| assert!(super::BALANCERS.iter().any(|kind| kind.name == super::kind(&balance).name)));
}
