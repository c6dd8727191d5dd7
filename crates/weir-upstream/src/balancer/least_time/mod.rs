//! The shortest expected wait.
//!
//! The cost of an endpoint is its latency, a moving average that jumps up at once and comes down slowly (peak EWMA),
//! times the requests it would then have in flight, divided by its weight. The average fades while nothing is
//! measured, so that an endpoint that was slow once is tried again.

mod ewma;

use crate::PickRequest;
use crate::balancer::round_robin::RoundRobin;
use crate::balancer::{Balancer, Candidates, Kind, Member};
pub(crate) use ewma::Ewma;

pub(super) const KIND: Kind = Kind {
    name: "least_time",
    aliases: &["peak_ewma"],
    doc: "The endpoint with the shortest expected wait: recent latency times requests in flight, by weight.",
    build: |members, carry| Box::new(LeastTime { turns: RoundRobin::new(members, carry) }),
};

/// Assumed latency, in µs, of an endpoint that is being measured for the first time: one second, so that it gets one
/// request and not all of them.
const UNMEASURED_US: f32 = 1e6;

struct LeastTime {
    /// Where the scan begins, so that equals are served in turn and by weight.
    turns: RoundRobin,
}

impl Balancer for LeastTime {
    fn pick(&self, candidates: &Candidates<'_>, request: &PickRequest) -> Option<usize> {
        candidates.cheapest(self.turns.next()?, |member| cost(member, request))
    }
}

fn cost(member: &Member, request: &PickRequest) -> f32 {
    let in_flight = member.endpoint.in_flight();
    let latency = match member.endpoint.ewma().read(request.now) {
        Some(latency) => latency,
        None if in_flight == 0 => return 0.0,
        None => UNMEASURED_US,
    };
    latency * (in_flight + 1) as f32 / member.weight as f32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::balancer::contract::Bench;
    use crate::{BalancePlan, Outcome};

    fn ms(n: u64) -> Outcome {
        Outcome::Success { head_after: Duration::from_millis(n) }
    }

    #[test]
    fn the_faster_endpoint_gets_the_requests() {
        let bench = Bench::new(BalancePlan::LeastTime, &[1, 1]);
        bench.record(0, ms(50));
        bench.record(1, ms(5));
        assert_eq!(bench.counts(20), [0, 20]);
    }

    #[test]
    fn the_faster_endpoint_is_relieved_when_it_is_busy() {
        let bench = Bench::new(BalancePlan::LeastTime, &[1, 1]);
        bench.record(0, ms(30));
        bench.record(1, ms(10));
        let held: Vec<_> = (0..40).map(|_| bench.pick()).collect();
        let slow = held.iter().filter(|lease| lease.endpoint().id() == bench.id(0)).count();
        assert!((8..=12).contains(&slow), "a quarter of 40 at three times the latency, got {slow}");
    }

    #[test]
    fn an_unmeasured_endpoint_gets_one_request_and_not_all() {
        let bench = Bench::new(BalancePlan::LeastTime, &[1, 1]);
        bench.record(0, ms(10));
        let first = bench.pick();
        assert_eq!(first.endpoint().id(), bench.id(1));
        assert_eq!(bench.counts(20), [20, 0]);
    }

    #[test]
    fn an_endpoint_that_fails_fast_is_not_taken_for_a_fast_one() {
        let bench = Bench::new(BalancePlan::LeastTime, &[1, 1]);
        bench.record(0, ms(20));
        bench.record(1, ms(20));
        bench.record(1, Outcome::ConnectFailed);
        assert_eq!(bench.counts(20), [20, 0]);
    }
}
