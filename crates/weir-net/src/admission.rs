use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use weir_task::DeadlineWaker;

use crate::connections::ConnectionHandle;
use crate::worker::{Worker, locked};
use crate::{ListenerState, Refusal};

/// How many client connections may be open.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectionLimits {
    /// In the whole process.
    pub total: u32,
    /// From one address, in the whole process.
    pub per_ip: Option<u32>,
    /// On this listener, all its addresses together; those are counted that are admitted with a limit.
    pub listener: Option<u32>,
    /// From one address, on this listener.
    pub listener_per_ip: Option<u32>,
}

/// What is counted over all workers to keep to [`ConnectionLimits`].
#[derive(Debug, Default)]
pub(crate) struct Counts {
    open: AtomicU32,
    /// Open connections by listener, where a limit asks for it.
    on_listener: Mutex<HashMap<u32, u32>>,
    /// Open connections by address, where a limit asks for it; listener 0 stands for all of them.
    per_ip: Mutex<HashMap<(u32, IpAddr), u32>>,
}

/// Stands for all listeners where connections are counted by address.
const EVERY_LISTENER: u32 = 0;

/// Counts one more of `key`; false, and not counted, where `limit` are open.
fn enter<K: Eq + Hash>(counts: &Mutex<HashMap<K, u32>>, key: K, limit: u32) -> bool {
    let mut counts = locked(counts);
    let open = counts.entry(key).or_insert(0);
    if *open >= limit {
        return false;
    }
    *open += 1;
    true
}

fn leave<K: Eq + Hash>(counts: &Mutex<HashMap<K, u32>>, key: &K) {
    let mut counts = locked(counts);
    if let Some(open) = counts.get_mut(key) {
        *open -= 1;
        if *open == 0 {
            counts.remove(key);
        }
    }
}

/// What counts as one address: an IPv4 address, also on an IPv6 socket; of IPv6 the /64 that one client has for itself.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A client connection that was let in; counted until it is dropped.
#[derive(Debug)]
pub struct Admitted {
    worker: Arc<Worker>,
    /// The listener that accepted it.
    pub listener: Arc<ListenerState>,
    /// What the worker may ask of it.
    pub handle: Arc<ConnectionHandle>,
    id: u32,
    /// Counted by its listener.
    on_listener: bool,
    /// Counted by its address, on all listeners and on its own.
    by_ip: [Option<IpAddr>; 2],
}

impl Admitted {
    /// Counts a new connection; `waker` wakes its task to look at its [handle](Self::handle). Its address is counted
    /// apart, once it is known for whom the peer connects: see [`count_ip`](Self::count_ip).
    ///
    /// # Errors
    ///
    /// The limit that it ran into.
    pub fn enter(
        worker: &Arc<Worker>,
        listener: Arc<ListenerState>,
        waker: DeadlineWaker,
        limits: &ConnectionLimits,
    ) -> Result<Self, Refusal> {
        let shared = &worker.shared;
        let on_listener = limits.listener.is_some();
        if limits.listener.is_some_and(|limit| !enter(&shared.counts.on_listener, listener.id, limit)) {
            return Err(Refusal::Listener);
        }
        if shared.counts.open.fetch_add(1, Ordering::Relaxed) >= limits.total && !worker.make_room() {
            shared.counts.open.fetch_sub(1, Ordering::Relaxed);
            if on_listener {
                leave(&shared.counts.on_listener, &listener.id);
            }
            return Err(Refusal::Total);
        }
        shared.stats.open.add(1);
        listener.connections().add(1);
        let (id, handle) = worker.register(waker);
        Ok(Self { worker: Arc::clone(worker), listener, handle, id, on_listener, by_ip: [None; 2] })
    }

    /// Counts the connection to the address that it is for.
    ///
    /// # Errors
    ///
    /// [`Refusal::PerIp`] where the address is at its limit.
    pub fn count_ip(&mut self, address: IpAddr, limits: &ConnectionLimits) -> Result<(), Refusal> {
        let address = source(address);
        let scopes = [(EVERY_LISTENER, limits.per_ip), (self.listener.id, limits.listener_per_ip)];
        for ((scope, limit), counted) in scopes.into_iter().zip(&mut self.by_ip) {
            let Some(limit) = limit else { continue };
            if !enter(&self.worker.shared.counts.per_ip, (scope, address), limit) {
                return Err(Refusal::PerIp);
            }
            *counted = Some(address);
        }
        Ok(())
    }

    /// Marks the connection idle since a time of the [worker's life](Worker::age_ms), or busy: what has been idle
    /// longest is given up first where room is needed.
    pub fn set_idle(&self, since_ms: Option<u64>) {
        match (self.handle.set_idle(since_ms), since_ms.is_some()) {
            (false, true) => _ = self.worker.idle.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.worker.idle.fetch_sub(1, Ordering::Relaxed),
            (true, true) | (false, false) => {}
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let shared = &self.worker.shared;
        self.set_idle(None);
        self.worker.unregister(self.id);
        shared.counts.open.fetch_sub(1, Ordering::Relaxed);
        shared.stats.open.add(-1);
        self.listener.connections().add(-1);
        if self.on_listener {
            leave(&shared.counts.on_listener, &self.listener.id);
        }
        for (scope, counted) in [EVERY_LISTENER, self.listener.id].into_iter().zip(self.by_ip) {
            if let Some(address) = counted {
                leave(&shared.counts.per_ip, &(scope, address));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::tests::workers;

    fn admit(
        worker: &Arc<Worker>,
        listener: &Arc<ListenerState>,
        limits: &ConnectionLimits,
    ) -> Result<Admitted, Refusal> {
        let deadline = worker.deadlines.deadline();
        Admitted::enter(worker, Arc::clone(listener), deadline.waker(), limits)
    }

    #[test]
    fn each_limit_holds_and_what_leaves_makes_room() {
        let [worker, other] = workers();
        let (a, b) = (ListenerState::new(1, "a".into()), ListenerState::new(2, "b".into()));
        let limits = ConnectionLimits { total: 3, listener: Some(2), ..ConnectionLimits::default() };
        let first = admit(&worker, &a, &limits).unwrap();
        let _second = admit(&other, &a, &limits).unwrap();
        assert_eq!(admit(&worker, &a, &limits).unwrap_err(), Refusal::Listener);
        let _third = admit(&worker, &b, &limits).unwrap();
        assert_eq!(admit(&worker, &b, &limits).unwrap_err(), Refusal::Total);
        drop(first);
        assert!(admit(&other, &b, &limits).is_ok());
    }

    #[test]
    fn a_listener_is_one_whatever_addresses_it_has() {
        let [worker, other] = workers();
        let (here, there) = (ListenerState::new(1, "a".into()), ListenerState::new(1, "a".into()));
        let limits = ConnectionLimits { total: 9, listener: Some(1), ..ConnectionLimits::default() };
        let first = admit(&worker, &here, &limits).unwrap();
        assert_eq!(admit(&other, &there, &limits).unwrap_err(), Refusal::Listener);
        let none_left = ConnectionLimits { total: 1, ..limits };
        drop(first);
        let _again = admit(&other, &there, &none_left).unwrap();
        let more = ConnectionLimits { listener: Some(2), ..none_left };
        assert_eq!(admit(&worker, &here, &more).unwrap_err(), Refusal::Total);
        assert_eq!(locked(&worker.shared.counts.on_listener)[&1], 1);
    }

    #[test]
    fn an_address_is_one_however_it_is_written() {
        let [worker, _] = workers();
        let listener = ListenerState::new(1, "a".into());
        let limits = ConnectionLimits {
            total: 9,
            per_ip: Some(1),
            listener_per_ip: Some(1),
            ..ConnectionLimits::default()
        };
        let mut first = admit(&worker, &listener, &limits).unwrap();
        first.count_ip("10.0.0.1".parse().unwrap(), &limits).unwrap();
        let mut second = admit(&worker, &listener, &limits).unwrap();
        assert_eq!(second.count_ip("::ffff:10.0.0.1".parse().unwrap(), &limits), Err(Refusal::PerIp));
        second.count_ip("10.0.0.2".parse().unwrap(), &limits).unwrap();
        drop(first);
        let mut third = admit(&worker, &listener, &limits).unwrap();
        third.count_ip("::ffff:10.0.0.1".parse().unwrap(), &limits).unwrap();
        drop((second, third));
        let mut fourth = admit(&worker, &listener, &limits).unwrap();
        fourth.count_ip("2001:db8::1".parse().unwrap(), &limits).unwrap();
        let mut fifth = admit(&worker, &listener, &limits).unwrap();
        assert_eq!(fifth.count_ip("2001:db8::2:0:0:9".parse().unwrap(), &limits), Err(Refusal::PerIp));
        fifth.count_ip("2001:db8:0:1::9".parse().unwrap(), &limits).unwrap();
        drop((fourth, fifth));
        assert!(locked(&worker.shared.counts.per_ip).is_empty());
    }

    #[test]
    fn the_longest_idle_connection_of_any_worker_makes_room() {
        let [worker, other] = workers();
        let listener = ListenerState::new(1, "a".into());
        let limits = ConnectionLimits { total: 2, ..ConnectionLimits::default() };
        let (busy, idle) =
            (admit(&worker, &listener, &limits).unwrap(), admit(&other, &listener, &limits).unwrap());
        idle.set_idle(Some(5));
        let _third = admit(&worker, &listener, &limits).unwrap();
        assert!(idle.handle.should_close() && !busy.handle.should_close());
    }

    #[test]
    fn a_crowd_of_idle_connections_makes_room_for_several_at_once() {
        let [worker, other] = workers();
        let listener = ListenerState::new(1, "a".into());
        let limits = ConnectionLimits { total: 200, ..ConnectionLimits::default() };
        let idle: Vec<Admitted> = (0..200).map(|_| admit(&other, &listener, &limits).unwrap()).collect();
        assert_eq!(admit(&worker, &listener, &limits).unwrap_err(), Refusal::Total);
        (0..).zip(&idle).for_each(|(at, idle)| idle.set_idle(Some(at)));
        idle[0].set_idle(Some(1_000));
        idle[1].set_idle(None);
        assert!(admit(&worker, &listener, &limits).is_ok());
        let asked: Vec<usize> = (0..200).filter(|&at| idle[at].handle.should_close()).collect();
        assert_eq!(asked, [2, 3, 4, 5]);
        drop(idle);
        assert_eq!(other.idle.load(Ordering::Relaxed), 0);
    }
}
