//! Idle connections of one worker, as plain bookkeeping: nothing here touches a socket or a clock.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

use crate::{Endpoint, LinkId, PoolPlan};

/// Idle connections by link; the last one put is the first one taken, as it is the least likely to have been closed
/// by the other side.
#[derive(Debug)]
pub struct Pool<C> {
    /// Each link's connections, the longest idle one in front. No list is empty.
    idle: HashMap<LinkId, VecDeque<Idle<C>>, BuildHasherDefault<IdHasher>>,
    count: usize,
}

#[derive(Debug)]
struct Idle<C> {
    conn: C,
    opened_at: Instant,
    idle_since: Instant,
    /// When it must not be used any more: the sooner of idle timeout and age.
    expires_at: Instant,
}

impl<C> Default for Pool<C> {
    fn default() -> Self {
        Self { idle: HashMap::default(), count: 0 }
    }
}

impl<C> Pool<C> {
    /// An empty pool.
    pub fn new() -> Self {
        Self::default()
    }

    /// Idle connections to all endpoints.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is idle.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Keeps a connection that has just become idle. Gives back what has to be closed instead: the longest idle one when
    /// the endpoint's list is full, or `conn` itself when it is too old or nothing may be kept.
    pub fn put(
        &mut self,
        endpoint: &Endpoint,
        plan: &PoolPlan,
        conn: C,
        opened_at: Instant,
        now: Instant,
    ) -> Option<C> {
        let idle_until = now + plan.idle_timeout;
        // Far from its end, as nearly every connection is, its exact end does not matter.
        let expires_at = if idle_until.saturating_duration_since(opened_at) < plan.max_age / 2 {
            idle_until
        } else {
            idle_until.min(plan.expires_at(opened_at, endpoint.id()))
        };
        if plan.idle_per_worker == 0 || expires_at <= now {
            return Some(conn);
        }
        let list = self.idle.entry(endpoint.link_id()).or_default();
        list.push_back(Idle { conn, opened_at, idle_since: now, expires_at });
        self.count += 1;
        if list.len() <= plan.idle_per_worker {
            return None;
        }
        self.count -= 1;
        list.pop_front().map(|idle| idle.conn)
    }

    /// Takes a connection, and when it was opened. Those that have expired are passed over; [`Self::sweep`] closes them.
    pub fn take(&mut self, link: LinkId, now: Instant) -> Option<(C, Instant)> {
        let list = self.idle.get_mut(&link)?;
        let found = list.iter().rposition(|idle| now < idle.expires_at)?;
        let idle = list.remove(found)?;
        self.count -= 1;
        // An empty list stays until the next sweep: the connection is likely to come back, and would allocate it anew.
        Some((idle.conn, idle.opened_at))
    }

    /// Removes what has expired and what belongs to links that `unwanted` names. Dropping the result closes them.
    pub fn sweep(&mut self, now: Instant, unwanted: impl Fn(LinkId) -> bool) -> Vec<C> {
        self.remove(|id, idle| idle.expires_at <= now || unwanted(id))
    }

    /// Removes the `n` longest idle connections of all endpoints, when descriptors run out. Costs a pass over all.
    pub fn shed(&mut self, n: usize) -> Vec<C> {
        let mut since: Vec<Instant> = self.idle.values().flatten().map(|idle| idle.idle_since).collect();
        let Some(last) = n.min(since.len()).checked_sub(1) else { return Vec::new() };
        let (_, &mut limit, _) = since.select_nth_unstable(last);
        let mut left = n;
        self.remove(|_, idle| {
            let sheds = left > 0 && idle.idle_since <= limit;
            left -= usize::from(sheds);
            sheds
        })
    }

    fn remove(&mut self, mut which: impl FnMut(LinkId, &Idle<C>) -> bool) -> Vec<C> {
        let mut removed = Vec::new();
        self.idle.retain(|&id, list| {
            for _ in 0..list.len() {
                match list.pop_front() {
                    Some(idle) if which(id, &idle) => removed.push(idle.conn),
                    Some(idle) => list.push_back(idle),
                    None => break,
                }
            }
            !list.is_empty()
        });
        self.count -= removed.len();
        removed
    }
}

impl PoolPlan {
    /// When a connection to this endpoint is too old: after `max_age` ±10 %, the same whenever it is asked.
    pub fn expires_at(&self, opened_at: Instant, endpoint_id: u32) -> Instant {
        let hash = std::hash::BuildHasher::hash_one(
            &BuildHasherDefault::<std::hash::DefaultHasher>::new(),
            (opened_at, endpoint_id),
        );
        opened_at + self.max_age.mul_f64(0.9 + 0.2 * (hash % 1_024) as f64 / 1_023.0)
    }
}

/// Ids of links are handed out one by one: they need no hashing, only spreading over the table's top bits.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BalancePlan;
    use crate::balancer::contract::Bench;
    use std::time::Duration;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn endpoints() -> std::sync::Arc<[std::sync::Arc<Endpoint>]> {
        Bench::new(BalancePlan::RoundRobin, &[1, 1]).upstream.endpoints()
    }

    #[test]
    fn the_connection_used_last_is_reused_first() {
        let (now, endpoints, mut pool) = (Instant::now(), endpoints(), Pool::new());
        for conn in 1..=3 {
            assert_eq!(pool.put(&endpoints[0], &PoolPlan::default(), conn, now, now), None);
        }
        assert_eq!(
            pool.take(endpoints[1].link_id(), now),
            None,
            "another endpoint's connections are not taken"
        );
        assert_eq!(pool.take(endpoints[0].link_id(), now), Some((3, now)));
        assert_eq!(pool.take(endpoints[0].link_id(), now), Some((2, now)));
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn a_full_list_gives_up_its_longest_idle_connection() {
        let (now, endpoints, mut pool) = (Instant::now(), endpoints(), Pool::new());
        let plan = PoolPlan { idle_per_worker: 2, ..PoolPlan::default() };
        let closed: Vec<_> = (1..=3).map(|conn| pool.put(&endpoints[0], &plan, conn, now, now)).collect();
        assert_eq!(closed, [None, None, Some(1)]);
        assert_eq!(pool.len(), 2);
        let none = PoolPlan { idle_per_worker: 0, ..PoolPlan::default() };
        assert_eq!(pool.put(&endpoints[1], &none, 9, now, now), Some(9));
    }

    #[test]
    fn an_expired_connection_is_never_handed_out() {
        let (now, endpoints, mut pool) = (Instant::now(), endpoints(), Pool::new());
        pool.put(&endpoints[0], &PoolPlan::default(), 1, now, now);
        assert_eq!(pool.take(endpoints[0].link_id(), now + secs(55)), None);
        assert_eq!(pool.sweep(now + secs(55), |_| false), [1]);
        assert!(pool.is_empty());
    }

    #[test]
    fn a_connection_ends_within_a_tenth_of_its_greatest_age() {
        let (now, endpoints, mut pool) = (Instant::now(), endpoints(), Pool::new());
        let plan = PoolPlan::default();
        assert_eq!(pool.put(&endpoints[0], &plan, 1, now, now + secs(3_239)), None);
        assert_eq!(pool.put(&endpoints[0], &plan, 2, now, now + secs(3_961)), Some(2));
    }

    #[test]
    fn a_retired_endpoint_loses_all_its_connections() {
        let (now, endpoints, mut pool) = (Instant::now(), endpoints(), Pool::new());
        for (conn, endpoint) in [(1, 0), (2, 1), (3, 0)] {
            pool.put(&endpoints[endpoint], &PoolPlan::default(), conn, now, now);
        }
        let gone = endpoints[0].link_id();
        assert_eq!(pool.sweep(now, |id| id == gone), [1, 3]);
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn shedding_closes_the_longest_idle_connections_of_all_endpoints() {
        let (now, endpoints, mut pool) = (Instant::now(), endpoints(), Pool::new());
        for conn in 0..6_u64 {
            let at = now + secs(conn);
            pool.put(&endpoints[(conn % 2) as usize], &PoolPlan::default(), conn, at, at);
        }
        let mut shed = pool.shed(3);
        shed.sort_unstable();
        assert_eq!(shed, [0, 1, 2]);
        assert_eq!(pool.shed(10).len(), 3);
        assert!(pool.is_empty() && pool.shed(1).is_empty());
    }
}
