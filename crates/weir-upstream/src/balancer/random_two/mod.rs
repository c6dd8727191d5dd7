//! The less loaded of two drawn by chance.
//!
//! Two different ones, each drawn by weight: drawing with replacement would take the busier of two endpoints in a quarter
//! of the cases. The draw costs two binary searches whatever the number of endpoints, and workers share nothing but
//! the counters of the two.

use crate::PickRequest;
use crate::balancer::{Balancer, Candidates, Kind, Member, load};

pub(super) const KIND: Kind = Kind {
    name: "random_two",
    aliases: &["p2c", "power_of_two"],
    doc: "Of two different endpoints drawn by weight, the one with fewer requests in flight for its weight.",
    build: |members, _| Box::new(RandomTwo::new(members)),
};

struct RandomTwo {
    /// Running sums of the weights; the sum at an index is where the next member begins.
    sums: Box<[u64]>,
}

impl RandomTwo {
    fn new(members: &[Member]) -> Self {
        let sums = members.iter().scan(0, |sum, member| {
            *sum += u64::from(member.weight);
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    fn at(&self, point: u64) -> usize {
        self.sums.partition_point(|&sum| sum <= point)
    }

    /// Two different members, drawn by weight; twice the same if only one has weight.
    fn draw(&self, total: u64, random: u64) -> (usize, usize) {
        let (high, low) = (random >> 32, random & 0xffff_ffff);
        let first = self.at((high * total) >> 32);
        let begin = if first == 0 { 0 } else { self.sums[first - 1] };
        let width = self.sums[first] - begin;
        if width == total {
            return (first, first);
        }
        // The second draw is from what is left when the first one's stretch is cut out.
        let point = (low * (total - width)) >> 32;
        (first, self.at(if point < begin { point } else { point + width }))
    }
}

impl Balancer for RandomTwo {
    fn pick(&self, candidates: &Candidates<'_>, request: &PickRequest) -> Option<usize> {
        let total = self.sums.last().copied().filter(|&total| total > 0)?;
        let (first, second) = self.draw(total, request.random);
        match (candidates.is_open(first), candidates.is_open(second)) {
            (true, true) if load(&candidates.members[second]) < load(&candidates.members[first]) => {
                Some(second)
            }
            (true, _) => Some(first),
            (false, true) => Some(second),
            // Both tried or full, which is rare: take the best of all that is left.
            (false, false) => candidates.cheapest(first, load),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BalancePlan;
    use crate::balancer::contract::Bench;

    #[test]
    fn the_two_are_always_different() {
        let two = RandomTwo { sums: Box::new([100, 100, 400, 500]) };
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            let (first, second) = two.draw(500, random.u64(..));
            assert_ne!(first, second);
            assert!(first != 1 && second != 1, "index 1 has no weight");
        }
        for random in [0, u64::MAX] {
            let (first, second) = two.draw(500, random);
            assert!(first < 4 && second < 4 && first != second);
        }
    }

    #[test]
    fn of_two_endpoints_the_busier_one_is_never_chosen() {
        let bench = Bench::new(BalancePlan::RandomTwo, &[1, 1]);
        let busy = bench.pick();
        for _ in 0..100 {
            assert_ne!(bench.pick().endpoint().id(), busy.endpoint().id());
        }
    }
}
