use std::collections::VecDeque;
use std::task::Waker;
use std::time::{Duration, Instant};

/// Most streams on one connection, whatever its peer allows: the more there are, the more one lost packet holds up and
/// the more one GOAWAY moves. 100 is what RFC 9113 section 6.5.2 asks servers to allow at least.
pub(crate) const STREAMS_MAX: u32 = 100;

/// Most connections of one worker to one endpoint, those that only end their last streams among them.
pub(crate) const CONNECTIONS_MAX: u32 = 64;

/// Most connections that one worker opens to one endpoint at the same time.
const DIALS_MAX: u32 = 4;

/// The connections of one worker to one endpoint that many requests share, and who waits for a place on one: plain
/// bookkeeping that knows no socket and no clock.
///
/// A request takes a place on a connection that is well below its peer's limit; where the last such one fills up,
/// another is opened beside it. Requests that find no place stand in line, and share what is being opened.
#[derive(Debug)]
pub(super) struct Places<C, E> {
    /// How long a connection may lie without a stream.
    pub(super) idle_timeout: Duration,
    members: Vec<Member<C>>,
    next_member: u32,
    /// Connections that exist, in whatever state, and those being opened.
    alive: u32,
    dialling: u32,
    /// What the endpoint allowed last, for how many connections a line needs.
    expected: u32,
    line: VecDeque<(u64, Waker)>,
    next_ticket: u64,
    /// Why nothing could be opened, for all who stood in line then.
    failure: Option<E>,
    failed_below: u64,
}

#[derive(Debug)]
struct Member<C> {
    id: u32,
    conn: C,
    streams: u32,
    /// What its peer allows; `None` until it has said so.
    limit: Option<u32>,
    /// Whether an answer is waited for that tells whether it still lives.
    suspect: bool,
    has_served: bool,
    idle_since: Instant,
    expires_at: Instant,
}

/// What came of asking for a place.
#[derive(Debug)]
pub(super) enum Taken<'a, C, E> {
    /// A place on this connection, and whether it has carried a stream before.
    Place(u32, &'a mut C, bool),
    /// There is none; the waker is told when there may be.
    Wait,
    /// There is none, and none could be opened.
    Failed(E),
}

impl<C> Member<C> {
    /// Streams that it may carry: one until its peer has said how many, so that no flood is refused.
    fn limit(&self) -> u32 {
        self.limit.map_or(1, |limit| limit.min(STREAMS_MAX))
    }

    fn room(&self) -> u32 {
        if self.suspect { 0 } else { self.limit().saturating_sub(self.streams) }
    }

    /// Whether one more stream leaves the peer's limit unfelt.
    fn is_easy(&self) -> bool {
        self.room() > 0 && self.streams < (self.limit() / 4 * 3).max(1)
    }
}

impl<C, E: Clone> Places<C, E> {
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self {
            idle_timeout,
            members: Vec::new(),
            next_member: 0,
            alive: 0,
            dialling: 0,
            expected: STREAMS_MAX,
            line: VecDeque::new(),
            next_ticket: 0,
            failure: None,
            failed_below: 0,
        }
    }

    /// Takes a place, in turn: `ticket` is the asker's own, kept from one call to the next.
    pub(super) fn take(&mut self, ticket: &mut Option<u64>, waker: &Waker, now: Instant) -> Taken<'_, C, E> {
        self.sweep(now);
        if let Some(own) = *ticket
            && own < self.failed_below
            && let Some(error) = &self.failure
        {
            *ticket = None;
            return Taken::Failed(error.clone());
        }
        let rank = ticket.map_or(self.line.len(), |own| self.line.partition_point(|(other, _)| *other < own));
        if rank < self.room() {
            self.forget(ticket);
            let index = self.choose().expect("a member has room");
            let member = &mut self.members[index];
            member.streams += 1;
            let has_served = std::mem::replace(&mut member.has_served, true);
            return Taken::Place(member.id, &mut member.conn, has_served);
        }
        match *ticket {
            Some(own) => {
                if let Some((at, known)) = self.line.get_mut(rank)
                    && *at == own
                    && !known.will_wake(waker)
                {
                    *known = waker.clone();
                }
            }
            None => {
                *ticket = Some(self.next_ticket);
                self.line.push_back((self.next_ticket, waker.clone()));
                self.next_ticket += 1;
            }
        }
        Taken::Wait
    }

    /// Whether a connection is to be opened, which then counts as being opened.
    pub(super) fn dial(&mut self) -> bool {
        let unsettled = self.members.iter().filter(|member| member.limit.is_none()).count() as u32;
        let coming = (self.dialling + unsettled).saturating_mul(self.expected);
        // A peer that allows no stream at all is not asked again and again.
        let closed = self.members.iter().filter(|member| member.limit == Some(0)).count();
        let is_short = match self.line.len() {
            0 => !self.members.is_empty() && coming == 0 && !self.members.iter().any(Member::is_easy),
            waiting => waiting > coming as usize + self.room(),
        };
        let dials = is_short && closed < 2 && self.dialling < DIALS_MAX && self.alive < CONNECTIONS_MAX;
        if dials {
            self.dialled();
        }
        dials
    }

    /// Counts a connection as being opened that is there already.
    pub(super) fn dialled(&mut self) {
        self.dialling += 1;
        self.alive += 1;
    }

    /// Adds a connection that was being opened; returns its id.
    pub(super) fn opened(&mut self, conn: C, expires_at: Instant, now: Instant) -> u32 {
        self.dialling -= 1;
        let id = self.next_member;
        self.next_member = self.next_member.wrapping_add(1);
        self.members.push(Member {
            id,
            conn,
            streams: 0,
            limit: None,
            suspect: false,
            has_served: false,
            idle_since: now,
            expires_at,
        });
        self.wake();
        id
    }

    /// What was being opened failed. Who stands in line fails with it, unless there is a connection to wait for.
    pub(super) fn failed(&mut self, error: E) {
        self.dialling -= 1;
        self.alive -= 1;
        if self.dialling == 0 && !self.members.iter().any(|member| !member.suspect) {
            self.failure = Some(error);
            self.failed_below = self.next_ticket;
            for (_, waker) in self.line.drain(..) {
                waker.wake();
            }
        } else {
            self.wake();
        }
    }

    /// The peer says how many streams it allows.
    pub(super) fn settle(&mut self, id: u32, limit: u32) {
        self.expected = limit.clamp(1, STREAMS_MAX);
        if let Some(member) = self.member(id) {
            member.limit = Some(limit);
        }
        self.wake();
    }

    /// Whether a connection is in doubt: it takes no more streams until it has answered.
    pub(super) fn suspect(&mut self, id: u32, suspect: bool) {
        if let Some(member) = self.member(id) {
            member.suspect = suspect;
        }
        if !suspect {
            self.wake();
        }
    }

    /// Gives a place back.
    pub(super) fn leave(&mut self, id: u32, now: Instant) {
        if let Some(member) = self.member(id) {
            member.streams -= 1;
            member.idle_since = now;
        }
        self.wake();
    }

    /// Takes a connection out: it carries no more streams than those it has.
    pub(super) fn end(&mut self, id: u32) {
        self.retire(|member| member.id == id);
        // Who waits may have to open another.
        if let Some((_, waker)) = self.line.front() {
            waker.wake_by_ref();
        }
    }

    /// A connection is gone.
    pub(super) fn gone(&mut self, id: u32) {
        self.alive -= 1;
        self.end(id);
    }

    /// Takes out what is too old or has lain idle for too long.
    pub(super) fn sweep(&mut self, now: Instant) {
        let idle_timeout = self.idle_timeout;
        self.retire(|member| {
            member.expires_at <= now || (member.streams == 0 && member.idle_since + idle_timeout <= now)
        });
    }

    /// Takes all connections out.
    pub(super) fn end_all(&mut self) {
        self.members.clear();
    }

    /// Since when each idle connection has been idle.
    pub(super) fn idle(&self) -> impl Iterator<Item = (u32, Instant)> {
        self.members.iter().filter(|member| member.streams == 0).map(|member| (member.id, member.idle_since))
    }

    /// Leaves the line; whose turn it was is passed on.
    pub(super) fn forget(&mut self, ticket: &mut Option<u64>) {
        if let Some(own) = ticket.take() {
            let rank = self.line.partition_point(|(other, _)| *other < own);
            if self.line.get(rank).is_some_and(|(other, _)| *other == own) {
                self.line.remove(rank);
            }
            self.wake();
        }
    }

    /// Whether there is nothing that has to be remembered.
    pub(super) fn is_idle(&self) -> bool {
        self.alive == 0 && self.line.is_empty()
    }

    /// Whether this connection carries a stream; one that takes no more has others than streams to end for.
    pub(super) fn is_busy(&self, id: u32) -> bool {
        self.members.iter().all(|member| member.id != id || member.streams > 0)
    }

    /// The connection of this id, while it takes streams.
    pub(super) fn get(&mut self, id: u32) -> Option<&mut C> {
        self.member(id).map(|member| &mut member.conn)
    }

    fn member(&mut self, id: u32) -> Option<&mut Member<C>> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    fn room(&self) -> usize {
        self.members.iter().map(|member| member.room() as usize).sum()
    }

    /// The fullest of those that take one more with ease, so that others fall idle; else the emptiest with room.
    fn choose(&self) -> Option<usize> {
        let all = || self.members.iter().enumerate();
        let easy = all().filter(|(_, member)| member.is_easy()).max_by_key(|(_, member)| member.streams);
        let roomy = || all().filter(|(_, member)| member.room() > 0).max_by_key(|(_, member)| member.room());
        easy.or_else(roomy).map(|(index, _)| index)
    }

    fn retire(&mut self, mut which: impl FnMut(&Member<C>) -> bool) {
        self.members.retain(|member| !which(member));
    }

    /// Wakes as many of the line as there are places.
    fn wake(&self) {
        let room = self.room();
        for (_, waker) in self.line.iter().take(room) {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests;
