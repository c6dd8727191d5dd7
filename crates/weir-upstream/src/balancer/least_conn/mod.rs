//! The fewest requests in flight for its weight.
//!
//! Every member is looked at, whatever their number: people choose it for exactness, and a relaxed read of each counter
//! costs less than a system call up to some hundreds. Beyond that, `random_two` is the one to take.

use crate::PickRequest;
use crate::balancer::round_robin::RoundRobin;
use crate::balancer::{Balancer, Candidates, Kind, load};

pub(super) const KIND: Kind = Kind {
    name: "least_conn",
    aliases: &["least_connections"],
    doc: "The endpoint with the fewest requests in flight for its weight; equals in turn.",
    build: |members, carry| Box::new(LeastConn { turns: RoundRobin::new(members, carry) }),
};

struct LeastConn {
    /// Where the scan begins, so that equals are served in turn and by weight.
    turns: RoundRobin,
}

impl Balancer for LeastConn {
    fn pick(&self, candidates: &Candidates<'_>, _request: &PickRequest) -> Option<usize> {
        candidates.cheapest(self.turns.next()?, load)
    }
}

#[cfg(test)]
mod tests {
    use crate::BalancePlan;
    use crate::balancer::contract::Bench;

    #[test]
    fn the_endpoint_with_the_fewest_requests_for_its_weight_is_chosen() {
        let bench = Bench::new(BalancePlan::LeastConn, &[1, 2]);
        let held: Vec<_> = (0..30).map(|_| bench.pick()).collect();
        let first = held.iter().filter(|lease| lease.endpoint().id() == bench.id(0)).count();
        assert_eq!(first, 10);
    }

    #[test]
    fn equals_are_served_in_turn_and_by_weight() {
        let bench = Bench::new(BalancePlan::LeastConn, &[1, 3]);
        assert_eq!(bench.counts(400), [100, 300]);
    }

    #[test]
    fn a_slow_endpoint_is_left_alone_until_it_catches_up() {
        let bench = Bench::new(BalancePlan::LeastConn, &[1, 1]);
        let mut slow: Vec<_> = (0..10).map(|_| bench.pick()).collect();
        slow.retain(|lease| lease.endpoint().id() == bench.id(0));
        assert_eq!(slow.len(), 5);
        assert_eq!(bench.counts(50), [0, 50], "one at a time, none of them reaches the slow one's five");
    }
}
