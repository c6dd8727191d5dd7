//! By a part of the request, the same endpoint as long as it is there.
//!
//! A Maglev table is made from all members by their configured weights, blocked ones too: when one is blocked only its
//! own keys go elsewhere, and they come back to it. Keys of an endpoint that is overloaded (1.25 times its fair share
//! of the requests in flight) go on to the next place of the table.

mod maglev;

use std::cell::LazyCell;

use crate::PickRequest;
use crate::balancer::round_robin::RoundRobin;
use crate::balancer::{Balancer, Candidates, Carry, Kind, Member, load};
pub(crate) use maglev::Maglev;

pub(super) const KIND: Kind = Kind {
    name: "hash",
    aliases: &["consistent_hash"],
    doc: "The same endpoint for the same key; in turn for requests without the key.",
    build: |members, carry| Box::new(Hash(Affinity::new(members, carry))),
};

/// Requests in flight that an endpoint may always have before its keys go elsewhere: at a few requests, a fair share is
/// less than one, and bounding it would break affinity for nothing.
const BOUND_FLOOR: u64 = 8;
/// Places of the table that are looked at before the least loaded member is taken.
const PROBES_MAX: usize = 256;

struct Hash(Affinity);

impl Balancer for Hash {
    fn pick(&self, candidates: &Candidates<'_>, request: &PickRequest) -> Option<usize> {
        self.0.pick(candidates, request, request.hash)
    }
}

/// Consistent choice by a hash, with bounded load.
pub(crate) struct Affinity {
    table: std::sync::Arc<Maglev>,
    /// Sum of the members' weights.
    total: u64,
    /// For requests without a key.
    turns: RoundRobin,
}

impl Affinity {
    pub(crate) fn new(members: &[Member], carry: &Carry) -> Self {
        let table = carry.table.clone().unwrap_or_else(|| std::sync::Arc::new(Maglev::new(&[])));
        let total = members.iter().map(|member| u64::from(member.weight)).sum();
        Self { table, total, turns: RoundRobin::new(members, carry) }
    }

    pub(crate) fn pick(
        &self,
        candidates: &Candidates<'_>,
        request: &PickRequest,
        hash: Option<u64>,
    ) -> Option<usize> {
        let Some(hash) = hash else { return self.turns.pick(candidates, request) };
        // Adding them all up is for those who have many: most picks find a member below the floor.
        let in_flight = LazyCell::new(|| {
            candidates.members.iter().map(|member| u64::from(member.endpoint.in_flight())).sum::<u64>()
        });
        let preferred = self.table.walk(hash).take(PROBES_MAX).find(|&index| {
            candidates.is_open(index)
                && self.is_ramped(&candidates.members[index], hash)
                && self.is_within_bound(&candidates.members[index], || *in_flight)
        });
        preferred.or_else(|| candidates.cheapest(0, load))
    }

    /// While a member's weight ramps up it takes that share of its keys, always the same ones.
    fn is_ramped(&self, member: &Member, hash: u64) -> bool {
        let full = u64::from(member.endpoint.weight().max(1)) * 100;
        u64::from(member.weight) >= full || mix(hash) % full < u64::from(member.weight)
    }

    /// Whether one more request keeps the member at 1.25 times its fair share of those that are in flight at all.
    fn is_within_bound(&self, member: &Member, in_flight: impl FnOnce() -> u64) -> bool {
        let own = u64::from(member.endpoint.in_flight());
        own < BOUND_FLOOR || {
            let share = (in_flight() + 1) * 5 * u64::from(member.weight);
            own < share.div_ceil(4 * self.total.max(1))
        }
    }
}

/// The hash that `ip_hash` and `hash` use: FNV-1a with a final mix, the same on every machine and in every version, so
/// that several gateways agree.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(hash)
}

/// Spreads every bit over all others (the finaliser of SplitMix64).
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balancer::contract::Bench;
    use crate::{AdminState, BalancePlan, HashKey};

    fn bench(weights: &[u16]) -> Bench {
        Bench::new(BalancePlan::Hash(HashKey::Path), weights)
    }

    fn owner(bench: &Bench, key: u64) -> u32 {
        bench.try_pick(|r| r.hash = Some(hash_bytes(&key.to_le_bytes()))).unwrap().endpoint().id()
    }

    #[test]
    fn a_blocked_endpoint_loses_only_its_own_keys_and_gets_them_back() {
        let bench = bench(&[1, 1, 1, 1]);
        let before: Vec<_> = (0..1_000).map(|key| owner(&bench, key)).collect();
        bench.set_admin(2, AdminState::Down);
        for (key, &was) in before.iter().enumerate() {
            let is = owner(&bench, key as u64);
            assert!(is == was || was == bench.id(2));
            assert_ne!(is, bench.id(2));
        }
        bench.set_admin(2, AdminState::Up);
        assert!((0..1_000).all(|key| owner(&bench, key) == before[key as usize]));
    }

    #[test]
    fn one_hot_key_spills_over_when_its_endpoint_has_more_than_its_share() {
        let bench = bench(&[1, 1, 1, 1]);
        let hot = hash_bytes(b"hot");
        let held: Vec<_> = (0..100).map(|_| bench.try_pick(|r| r.hash = Some(hot)).unwrap()).collect();
        for index in 0..4 {
            let count = held.iter().filter(|lease| lease.endpoint().id() == bench.id(index)).count();
            assert!(count <= 32, "endpoint {index} has {count} of 100, more than 1.25 of a quarter");
        }
    }

    #[test]
    fn a_few_requests_stay_together() {
        let bench = bench(&[1, 1, 1, 1]);
        let held: Vec<_> = (0..8).map(|_| bench.try_pick(|r| r.hash = Some(7)).unwrap()).collect();
        assert!(held.iter().all(|lease| lease.endpoint().id() == held[0].endpoint().id()));
    }

    #[test]
    fn a_request_without_the_key_is_served_in_turn() {
        assert_eq!(bench(&[1, 1]).counts_of(20, |request| request.hash = None), [10, 10]);
    }

    #[test]
    fn the_hash_is_fixed_for_all_time() {
        assert_eq!(hash_bytes(b""), mix(0xcbf2_9ce4_8422_2325));
        assert_ne!(hash_bytes(b"a"), hash_bytes(b"b"));
    }
}
