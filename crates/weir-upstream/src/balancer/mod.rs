//! How the next endpoint is chosen; one folder each.
//!
//! A balancer is built for one fixed list of members, with the weights that hold at that moment, and built anew when
//! they change. What must outlive that (the turn, a hash table) comes in as [`Carry`].

pub(crate) mod hash;
mod ip_hash;
mod least_conn;
mod least_time;
mod random_two;
mod round_robin;

#[cfg(test)]
pub(crate) mod contract;

pub use hash::hash_bytes;
pub(crate) use least_time::Ewma;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{BalancePlan, Endpoint, PickRequest, Tried};

/// A balancer's name and how it is made.
pub struct Kind {
    /// The word in the configuration.
    pub name: &'static str,
    /// Other words for it, as users of other proxies know it.
    pub aliases: &'static [&'static str],
    /// One sentence for the reference.
    pub doc: &'static str,
    build: fn(&[Member], &Carry) -> Box<dyn Balancer>,
}

/// Every balancer.
pub const BALANCERS: &[&Kind] = &[
    &round_robin::KIND,
    &least_conn::KIND,
    &random_two::KIND,
    &least_time::KIND,
    &ip_hash::KIND,
    &hash::KIND,
];

/// The kind that a plan asks for.
pub const fn kind(plan: &BalancePlan) -> &'static Kind {
    match plan {
        BalancePlan::RoundRobin => &round_robin::KIND,
        BalancePlan::LeastConn => &least_conn::KIND,
        BalancePlan::RandomTwo => &random_two::KIND,
        BalancePlan::LeastTime => &least_time::KIND,
        BalancePlan::IpHash => &ip_hash::KIND,
        BalancePlan::Hash(_) => &hash::KIND,
    }
}

impl Kind {
    /// Makes the balancer for these members.
    pub(crate) fn build(&self, members: &[Member], carry: &Carry) -> Box<dyn Balancer> {
        (self.build)(members, carry)
    }
}

/// An endpoint with the weight that holds now.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) endpoint: Arc<Endpoint>,
    /// Hundredths of the configured weight, so that a ramp has room below 1; 0 takes no requests.
    pub(crate) weight: u32,
}

/// What survives the rebuilding of a balancer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Carry {
    /// Where the rotation stands.
    pub(crate) turn: Arc<AtomicU32>,
    /// The table of `hash` and `ip_hash`, made from the configured weights.
    pub(crate) table: Option<Arc<hash::Maglev>>,
}

impl Carry {
    /// The next turn. Relaxed: turns order nothing else; the wrap at 2^32 shifts one round, which is harmless.
    pub(crate) fn next_turn(&self) -> u32 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

/// The members and which of them this request may go to.
pub(crate) struct Candidates<'a> {
    pub(crate) members: &'a [Member],
    pub(crate) tried: &'a Tried,
}

impl Candidates<'_> {
    /// Whether a member takes requests, was not tried and is below its cap.
    pub(crate) fn is_open(&self, index: usize) -> bool {
        let Member { endpoint, weight } = &self.members[index];
        *weight > 0 && !endpoint.is_full() && (self.tried.is_empty() || !self.tried.contains(endpoint.id()))
    }

    /// The open member with the lowest cost, beginning at `start`; the first of equals wins.
    pub(crate) fn cheapest<C: PartialOrd>(&self, start: usize, cost: impl Fn(&Member) -> C) -> Option<usize> {
        let mut best: Option<(usize, C)> = None;
        for index in (start..self.members.len()).chain(0..start) {
            if self.is_open(index) {
                let cost = cost(&self.members[index]);
                if best.as_ref().is_none_or(|(_, lowest)| cost < *lowest) {
                    best = Some((index, cost));
                }
            }
        }
        best.map(|(index, _)| index)
    }
}

/// Chooses among members. Never waits, never allocates.
pub(crate) trait Balancer: Send + Sync {
    /// The index of an open member; `None` only if no member is open.
    fn pick(&self, candidates: &Candidates<'_>, request: &PickRequest) -> Option<usize>;
}

/// Requests in flight for each unit of weight; what the load-aware balancers compare.
pub(crate) fn load(member: &Member) -> f32 {
    member.endpoint.in_flight() as f32 / member.weight as f32
}
