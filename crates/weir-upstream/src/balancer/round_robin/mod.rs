//! In turn, smoothly by weight.
//!
//! The smooth sequence is worked out when the balancer is built; a pick is one atomic add and one read. Workers share
//! the turn without a lock, and the order is the same as that of one worker alone. A mutex around the running form
//! of the algorithm would be as exact, but every worker would wait for it at every request.

use std::collections::HashMap;

use crate::PickRequest;
use crate::balancer::{Balancer, Candidates, Carry, Kind, Member};

pub(super) const KIND: Kind = Kind {
    name: "round_robin",
    aliases: &["weighted_round_robin"],
    doc: "Every endpoint in turn, as often as its weight says, never in bursts.",
    build: |members, carry| Box::new(RoundRobin::new(members, carry)),
};

/// Longest sequence, 4 KiB: a share is exact to 1/2048; finer differences in weight are rounded.
const SEQUENCE_MAX: u64 = 2_048;

/// Longest list in which each member takes turns by itself: building its sequence takes 2048 times 64 steps.
const SEPARATE_MAX: usize = 64;

/// Smooth weighted round robin.
pub(crate) struct RoundRobin {
    /// Member indexes in the order they are served; empty if no member has weight.
    sequence: Box<[u16]>,
    carry: Carry,
}

impl RoundRobin {
    pub(crate) fn new(members: &[Member], carry: &Carry) -> Self {
        let weights: Vec<u32> = members.iter().map(|member| member.weight).collect();
        Self { sequence: smooth_sequence(&weights), carry: carry.clone() }
    }

    /// The member whose turn it is, open or not; takes the turn. `None` if no member has weight.
    pub(crate) fn next(&self) -> Option<usize> {
        self.turn().map(|at| usize::from(self.sequence[at]))
    }

    /// The next open member after a place. Skipping ahead in the sequence, instead of to the next member, spreads the
    /// turns of a blocked one over the others.
    #[cold]
    fn next_open(&self, at: usize, candidates: &Candidates<'_>) -> Option<usize> {
        let (before, from) = self.sequence.split_at(at);
        from.iter().chain(before).map(|&index| usize::from(index)).find(|&index| candidates.is_open(index))
    }

    /// The place in the sequence whose turn it is; takes the turn.
    fn turn(&self) -> Option<usize> {
        // Bounded when it is built; dividing 32 bits takes half the time of dividing 64.
        match self.sequence.len() as u32 {
            0 => None,
            // The only one needs no turn, which all workers would write to.
            1 => Some(0),
            length => Some((self.carry.next_turn() % length) as usize),
        }
    }
}

impl Balancer for RoundRobin {
    fn pick(&self, candidates: &Candidates<'_>, _request: &PickRequest) -> Option<usize> {
        let at = self.turn()?;
        let first = usize::from(self.sequence[at]);
        if candidates.is_open(first) { Some(first) } else { self.next_open(at, candidates) }
    }
}

/// One whole round in which each index stands as often as its weight says and as evenly as can be.
///
/// Large lists take turns by weight first and within each weight then: otherwise ten thousand members would cost ten
/// thousand steps for each of ten thousand places, at every change of health.
fn smooth_sequence(weights: &[u32]) -> Box<[u16]> {
    let weights = reduced(weights);
    let total: i64 = weights.iter().sum();
    let mut classes = classes(&weights);
    (0..total)
        .map(|_| {
            let mut chosen = 0;
            for index in 0..classes.len() {
                classes[index].credit += classes[index].weight;
                if classes[index].credit > classes[chosen].credit {
                    chosen = index;
                }
            }
            classes[chosen].credit -= total;
            classes[chosen].next()
        })
        .collect()
}

/// Members that take turns as one.
struct Class {
    members: Vec<u16>,
    served: usize,
    /// Sum of the members' weights.
    weight: i64,
    credit: i64,
}

impl Class {
    fn next(&mut self) -> u16 {
        let member = self.members[self.served % self.members.len()];
        self.served += 1;
        member
    }
}

/// Each member with weight by itself in a small list; by equal weight in a large one. The sequence is bounded, so there
/// are at most some hundred and fifty different weights.
fn classes(weights: &[i64]) -> Vec<Class> {
    let mut classes: Vec<Class> = Vec::new();
    let mut by_weight = HashMap::new();
    for (index, &weight) in weights.iter().enumerate().filter(|&(_, &weight)| weight > 0) {
        let member = u16::try_from(index).expect("an upstream has at most 65,535 endpoints");
        let class = if weights.len() <= SEPARATE_MAX {
            classes.len()
        } else {
            *by_weight.entry(weight).or_insert(classes.len())
        };
        if class == classes.len() {
            classes.push(Class { members: Vec::new(), served: 0, weight: 0, credit: 0 });
        }
        classes[class].members.push(member);
        classes[class].weight += weight;
    }
    classes
}

/// The weights in the same proportion with the smallest sum, scaled down (but never to 0) where that is too large.
fn reduced(weights: &[u32]) -> Vec<i64> {
    let divisor = weights.iter().fold(0, |a, &b| gcd(a, b)).max(1);
    let total: u64 = weights.iter().map(|&weight| u64::from(weight / divisor)).sum();
    let limit = SEQUENCE_MAX.max(weights.len() as u64);
    weights
        .iter()
        .map(|&weight| match u64::from(weight / divisor) {
            0 => 0,
            weight if total <= limit => weight as i64,
            weight => ((weight * limit + total / 2) / total).max(1) as i64,
        })
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heavy_endpoint_is_spread_between_the_light_ones() {
        assert_eq!(*smooth_sequence(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(*smooth_sequence(&[100, 100, 100]), [0, 1, 2]);
        assert_eq!(*smooth_sequence(&[200, 0, 100]), [0, 2, 0]);
    }

    #[test]
    fn an_endpoint_is_never_served_in_a_burst_longer_than_its_share() {
        let sequence = smooth_sequence(&[7, 5, 3, 2]);
        for prefix in 1..=sequence.len() {
            for (index, weight) in [7, 5, 3, 2].into_iter().enumerate() {
                let served = sequence[..prefix].iter().filter(|&&i| usize::from(i) == index).count();
                let due = prefix as f64 * f64::from(weight) / 17.0;
                assert!((served as f64 - due).abs() < 1.5, "index {index} at {prefix}: {served} for {due}");
            }
        }
    }

    #[test]
    fn a_large_list_is_served_by_weight_and_evenly() {
        let weights: Vec<u32> = (0..100).map(|index| [1, 2, 5][index % 3]).collect();
        let sequence = smooth_sequence(&weights);
        let total: u32 = weights.iter().sum();
        assert_eq!(sequence.len() as u32, total);
        for (index, &weight) in weights.iter().enumerate() {
            let places: Vec<_> =
                (0..sequence.len()).filter(|&at| usize::from(sequence[at]) == index).collect();
            assert_eq!(places.len() as u32, weight);
            let even = total / weight;
            for pair in places.windows(2) {
                let gap = (pair[1] - pair[0]) as u32;
                assert!(gap.abs_diff(even) <= even / 10 + 2, "index {index}: {gap} for {even}");
            }
        }
    }

    #[test]
    fn ten_thousand_members_are_put_in_order_in_few_steps() {
        let weights: Vec<u32> = (0..10_000).map(|index| if index % 2 == 0 { 100 } else { 300 }).collect();
        assert_eq!(classes(&reduced(&weights)).len(), 2);
        assert!(smooth_sequence(&weights).len() <= 20_000);
        let all_different: Vec<u32> = (1..=10_000).collect();
        assert!(classes(&reduced(&all_different)).len() <= 150);
    }

    #[test]
    fn a_sequence_is_bounded_whatever_the_weights() {
        let sequence = smooth_sequence(&[6_553_500, 6_553_499, 1]);
        assert!(sequence.len() as u64 <= SEQUENCE_MAX + 3, "{}", sequence.len());
        assert!(sequence.contains(&2), "the lightest endpoint still has its turn");
        assert_eq!(smooth_sequence(&[]).len(), 0);
        assert_eq!(smooth_sequence(&[0, 0]).len(), 0);
    }
}
