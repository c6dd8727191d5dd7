use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::places::Places;

/// The sessions of one listener on one worker, each found by its client, in the order of their last activity.
///
/// All sessions have the same idle timeout, so that this order is the timer: what is due, and what gives way while the
/// table is full, stands in front, and nothing is ever searched for. Sessions that have had no answer yet stand in an
/// order of their own and give way first: a flood of made-up senders never gets that far, and pushes out only its like.
///
/// Finding, adding, moving and removing take constant time; the hash is keyed, as clients choose what is hashed.
#[derive(Debug)]
pub(crate) struct Table<S> {
    found: HashMap<SessionKey, u32, RandomState>,
    slots: Vec<Slot<S>>,
    /// The first slot that is empty; the others follow as `behind` says.
    free: u32,
    sessions: u32,
    /// The generation of the next session.
    generation: u32,
    /// Of sessions without an answer, and of those with one.
    orders: [Order; 2],
    idle_timeout: Duration,
    places: Arc<Places>,
}

/// What tells sessions apart: one per client and address of this host that it sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionKey {
    pub(crate) client: SocketAddr,
    /// None where the listener has but one address.
    pub(crate) local: Option<IpAddr>,
}

/// A session's name: unlike its place it is never used again, so that what comes late for it finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionId {
    at: u32,
    generation: u32,
}

#[derive(Debug)]
struct Slot<S> {
    /// Of the session that it holds, or held last.
    generation: u32,
    before: u32,
    behind: u32,
    entry: Option<Entry<S>>,
}

#[derive(Debug)]
struct Entry<S> {
    key: SessionKey,
    last_active: Instant,
    is_answered: bool,
    /// Whether the client's next datagram finds it.
    is_bound: bool,
    session: S,
}

/// Ends of a list of slots, the one longest without activity first.
#[derive(Debug, Clone, Copy)]
struct Order {
    first: u32,
    last: u32,
}

/// No slot.
const NONE: u32 = u32::MAX;

/// Slots whose memory is kept when the last session is gone: some 100 KiB.
const SLOTS_KEPT_MAX: usize = 512;

/// Most sessions that give way to a new one: the place of the first may be snatched by another worker. Who has pushed
/// out one gets in, so that there are not more in the end.
const EVICTED_MAX: usize = 2;

impl<S> Table<S> {
    /// An empty table; `places` are shared with the tables of the other workers.
    pub(crate) fn new(idle_timeout: Duration, places: Arc<Places>) -> Self {
        Self {
            found: HashMap::default(),
            slots: Vec::new(),
            free: NONE,
            sessions: 0,
            generation: 0,
            orders: [Order::EMPTY; 2],
            idle_timeout,
            places,
        }
    }

    /// Sessions, those that their clients do not find any more included.
    pub(crate) const fn len(&self) -> usize {
        self.sessions as usize
    }

    /// Changes the idle timeout, of sessions that there are as well.
    pub(crate) const fn set_idle_timeout(&mut self, idle_timeout: Duration) {
        self.idle_timeout = idle_timeout;
    }

    /// The session that a datagram with this key belongs to.
    pub(crate) fn find(&self, key: &SessionKey) -> Option<SessionId> {
        let at = *self.found.get(key)?;
        Some(SessionId { at, generation: self.slots[at as usize].generation })
    }

    /// A session, unless it has ended.
    pub(crate) fn get(&self, id: SessionId) -> Option<&S> {
        self.entry(id).map(|entry| &entry.session)
    }

    /// A session, unless it has ended.
    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut S> {
        self.entry_mut(id).map(|entry| &mut entry.session)
    }

    /// Whose session it is, unless it has ended.
    pub(crate) fn key(&self, id: SessionId) -> Option<&SessionKey> {
        self.entry(id).map(|entry| &entry.key)
    }

    /// Adds a session that is active now. One that has the key already stays, but its client does not find it any more.
    ///
    /// Where no place is free the oldest gives way and is handed to `evicted`; but a table that has less than its fair
    /// share takes one place beyond, which those that have more give back by [`Self::trim`]: else whoever was first
    /// could keep all places from the others.
    pub(crate) fn insert(
        &mut self,
        key: SessionKey,
        session: S,
        now: Instant,
        mut evicted: impl FnMut(SessionKey, S),
    ) -> SessionId {
        let mut evictions = 0;
        while !self.places.take() {
            let may_evict = evictions < EVICTED_MAX && self.sessions >= self.places.share();
            let Some(oldest) = self.oldest().filter(|_| may_evict) else {
                self.places.take_beyond();
                break;
            };
            if let Some((key, session)) = self.remove(oldest) {
                evicted(key, session);
            }
            evictions += 1;
        }
        if let Some(former) = self.find(&key) {
            self.unbind(former);
        }
        self.generation = self.generation.wrapping_add(1);
        let entry = Entry { key, last_active: now, is_answered: false, is_bound: true, session };
        let at =
            self.fill(Slot { generation: self.generation, before: NONE, behind: NONE, entry: Some(entry) });
        self.sessions += 1;
        self.found.insert(key, at);
        self.append(at, 0);
        SessionId { at, generation: self.generation }
    }

    /// Ends the oldest session where more places are taken than there are and this table has more than its share; the
    /// caller bounds how many.
    pub(crate) fn trim(&mut self) -> Option<(SessionKey, S)> {
        let is_over = self.places.taken() > self.places.max() && self.has_more_than_its_share();
        let oldest = self.oldest().filter(|_| is_over)?;
        self.remove(oldest)
    }

    /// Whether sessions may have to give way to those of other workers.
    pub(crate) fn has_more_than_its_share(&self) -> bool {
        self.sessions > self.places.share()
    }

    /// Notes that something was sent or received.
    pub(crate) fn touch(&mut self, id: SessionId, now: Instant) {
        let Some(entry) = self.entry_mut(id) else { return };
        entry.last_active = now;
        let order = usize::from(entry.is_answered);
        if self.orders[order].last != id.at {
            self.unlink(id.at, order);
            self.append(id.at, order);
        }
    }

    /// Notes that an answer was received: the session gives way later than those without.
    pub(crate) fn answered(&mut self, id: SessionId, now: Instant) {
        let Some(entry) = self.entry_mut(id) else { return };
        if std::mem::replace(&mut entry.is_answered, true) {
            return self.touch(id, now);
        }
        entry.last_active = now;
        self.unlink(id.at, 0);
        self.append(id.at, 1);
    }

    /// Lets the client's next datagram begin another session, while this one stays for what is still to be answered.
    pub(crate) fn unbind(&mut self, id: SessionId) {
        let Some(entry) = self.entry_mut(id) else { return };
        let key = entry.key;
        if std::mem::replace(&mut entry.is_bound, false) {
            self.found.remove(&key);
        }
    }

    /// Ends a session, unless it has ended.
    pub(crate) fn remove(&mut self, id: SessionId) -> Option<(SessionKey, S)> {
        self.entry(id)?;
        self.unbind(id);
        let order = usize::from(self.entry(id)?.is_answered);
        self.unlink(id.at, order);
        let slot = &mut self.slots[id.at as usize];
        let entry = slot.entry.take()?;
        slot.behind = self.free;
        self.free = id.at;
        self.sessions -= 1;
        self.places.give_back(1);
        if self.sessions == 0 && self.slots.len() > SLOTS_KEPT_MAX {
            (self.slots, self.found, self.free) = (Vec::new(), HashMap::default(), NONE);
        }
        Some((entry.key, entry.session))
    }

    /// Ends the session that gives way to this one where something else than a place is short, if there is one.
    pub(crate) fn evict_for(&mut self, id: SessionId) -> Option<(SessionKey, S)> {
        let firsts = self.orders.iter().map(|order| order.first);
        let at = firsts.into_iter().find(|&at| at != NONE && at != id.at)?;
        self.remove(self.id(at))
    }

    /// Ends one session that has been idle for too long, if there is one. The caller bounds how many it ends at a time, as
    /// closing takes longer than finding.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<(SessionKey, S)> {
        let (at, last_active) = self.idlest()?;
        if last_active + self.idle_timeout > now {
            return None;
        }
        self.remove(self.id(at))
    }

    /// When the next session has been idle for too long, if none of them is active until then.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.idlest().map(|(_, last_active)| last_active + self.idle_timeout)
    }

    /// The sessions of some slots, for looking through all of them a part at a time; none from [`Self::slots`] on.
    pub(crate) fn sessions_from(&self, slot: usize, count: usize) -> impl Iterator<Item = (SessionId, &S)> {
        let slots = self.slots.iter().enumerate().skip(slot).take(count);
        slots.filter_map(|(at, slot)| {
            let id = SessionId { at: at as u32, generation: slot.generation };
            slot.entry.as_ref().map(|entry| (id, &entry.session))
        })
    }

    /// Slots that may hold sessions.
    pub(crate) const fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Who gives way.
    fn oldest(&self) -> Option<SessionId> {
        let at = self.orders.iter().map(|order| order.first).find(|&at| at != NONE)?;
        Some(self.id(at))
    }

    /// Who has been idle the longest, answered or not, and since when.
    fn idlest(&self) -> Option<(u32, Instant)> {
        let firsts = self.orders.iter().filter_map(|order| {
            let entry = self.slots.get(order.first as usize)?.entry.as_ref()?;
            Some((order.first, entry.last_active))
        });
        firsts.min_by_key(|&(_, last_active)| last_active)
    }

    fn id(&self, at: u32) -> SessionId {
        SessionId { at, generation: self.slots[at as usize].generation }
    }

    fn entry(&self, id: SessionId) -> Option<&Entry<S>> {
        let slot = self.slots.get(id.at as usize).filter(|slot| slot.generation == id.generation)?;
        slot.entry.as_ref()
    }

    fn entry_mut(&mut self, id: SessionId) -> Option<&mut Entry<S>> {
        let slot = self.slots.get_mut(id.at as usize).filter(|slot| slot.generation == id.generation)?;
        slot.entry.as_mut()
    }

    /// Puts a slot's content into an empty one; returns which.
    fn fill(&mut self, content: Slot<S>) -> u32 {
        let at = self.free;
        match self.slots.get_mut(at as usize) {
            Some(slot) => {
                self.free = slot.behind;
                *slot = content;
                at
            }
            None => {
                self.slots.push(content);
                // Places are counted in 32 bits, and every slot was filled when another was needed.
                self.slots.len() as u32 - 1
            }
        }
    }

    fn append(&mut self, at: u32, order: usize) {
        let last = std::mem::replace(&mut self.orders[order].last, at);
        match self.slots.get_mut(last as usize) {
            Some(slot) => slot.behind = at,
            None => self.orders[order].first = at,
        }
        let slot = &mut self.slots[at as usize];
        (slot.before, slot.behind) = (last, NONE);
    }

    fn unlink(&mut self, at: u32, order: usize) {
        let (before, behind) = (self.slots[at as usize].before, self.slots[at as usize].behind);
        match self.slots.get_mut(before as usize) {
            Some(slot) => slot.behind = behind,
            None => self.orders[order].first = behind,
        }
        match self.slots.get_mut(behind as usize) {
            Some(slot) => slot.before = before,
            None => self.orders[order].last = before,
        }
    }
}

impl<S> Drop for Table<S> {
    fn drop(&mut self) {
        self.places.give_back(self.sessions);
    }
}

impl SessionId {
    /// A number for the kernel to keep; never `u64::MAX`, as there is no such slot.
    pub(crate) fn to_number(self) -> u64 {
        u64::from(self.at) << 32 | u64::from(self.generation)
    }

    /// The slot that holds it.
    pub(crate) const fn slot(self) -> usize {
        self.at as usize
    }

    /// What [`Self::to_number`] gave.
    pub(crate) const fn from_number(number: u64) -> Self {
        Self { at: (number >> 32) as u32, generation: number as u32 }
    }
}

impl Order {
    const EMPTY: Self = Self { first: NONE, last: NONE };
}

impl Hash for SessionKey {
    /// One write of all that counts: the derived hash makes nine of two short addresses.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [0; 38];
        let (client, rest) = bytes.split_at_mut(16);
        write_octets(self.client.ip(), client);
        rest[..2].copy_from_slice(&self.client.port().to_ne_bytes());
        if let SocketAddr::V6(client) = self.client {
            rest[2..6].copy_from_slice(&client.scope_id().to_ne_bytes());
        }
        if let Some(local) = self.local {
            write_octets(local, &mut rest[6..]);
        }
        state.write(&bytes);
    }
}

fn write_octets(ip: IpAddr, out: &mut [u8]) {
    match ip {
        IpAddr::V4(ip) => out[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.copy_from_slice(&ip.octets()),
    }
}

#[cfg(test)]
mod tests;
