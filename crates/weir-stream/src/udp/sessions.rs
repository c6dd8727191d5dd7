mod end;
mod open;
mod request;
mod response;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_net::udp::{BATCH, Batch, EVENTS, Readiness, ReadinessWait, Ready, UdpSocket};
use weir_telemetry::Shard;
use weir_upstream::{HealthChange, PickRequest, Tried, Upstream};

use super::cooling::Cooling;
use super::session::Session;
use super::stats::UdpTallies;
use super::table::{SessionId, SessionKey, Table};
use crate::end::End;
use crate::plane::UdpListener;
use crate::{OnDown, OnRemove};

/// Sessions that end at a time because they were idle, or are looked at after a reload: closing a socket takes some
/// microseconds, and other work of the worker waits meanwhile.
const ENDED_PER_TURN: usize = 64;

/// Sessions that are looked at a time when their endpoints may have gone.
const REVIEWED_PER_TURN: usize = 1_024;

/// Bytes of datagrams that wait for endpoints, or for first answers, of all sessions of a listener on one worker.
pub(super) const HELD_BYTES_MAX: usize = 4 << 20;

/// The listener's own number among those of its sessions, none of which is this.
const LISTENER: u64 = u64::MAX;

/// The sessions of one listener on one worker, and the sockets they come and go through.
///
/// Never waits: [`Self::turn`] does what can be done at once, a bounded part of it. Whoever owns it turns again when
/// [`Readiness`] says so, when a session may have been idle for too long, and when an endpoint was found for one that
/// waits.
pub(crate) struct Sessions {
    socket: UdpSocket,
    readiness: Readiness,
    table: Table<Session>,
    cooling: Cooling,
    listener: Arc<UdpListener>,
    shard: Shard,
    witness: Arc<dyn Witness>,
    held_bytes: usize,
    /// Whose answers a batch holds.
    clients: Box<[Option<SessionKey>; BATCH]>,
    waiting: Vec<Waiting>,
    takes_new: bool,
    /// How far the look at all sessions has come, while there is one.
    review: Option<usize>,
    random: fastrand::Rng,
}

/// Who is told besides the counters.
pub(crate) trait Witness: Send + Sync {
    /// A session began.
    fn session_began(&self);
    /// A session ended.
    fn session_ended(&self, ended: &EndedSession<'_>);
    /// A descriptor was needed and none was left.
    fn descriptors_ran_out(&self);
    /// A session's success or failure changed an endpoint's state.
    fn health_changed(&self, change: &HealthChange);
}

/// A session that ended.
#[derive(Debug)]
pub(crate) struct EndedSession<'a> {
    /// Who sent the datagrams.
    pub(crate) client: SocketAddr,
    /// The upstream's name.
    pub(crate) upstream: &'a Arc<str>,
    /// The endpoint's shown name; none where none was found.
    pub(crate) endpoint: Option<&'a Arc<str>>,
    /// Endpoints that were tried.
    pub(crate) attempts: u32,
    /// When it ended.
    pub(crate) at: Instant,
    /// How long it lasted.
    pub(crate) duration: Duration,
    /// Datagrams from the client.
    pub(crate) requests: u64,
    /// Datagrams from the endpoint.
    pub(crate) responses: u64,
    /// Bytes from the client.
    pub(crate) bytes_in: u64,
    /// Bytes from the endpoint.
    pub(crate) bytes_out: u64,
    /// Why.
    pub(crate) end: End,
    /// Of the listener.
    pub(crate) tallies: &'a UdpTallies,
}

/// A session that waits until one of its upstream's endpoints falls below its cap.
pub(crate) struct Waiting {
    pub(super) id: SessionId,
    pub(super) upstream: Arc<Upstream>,
    pub(super) request: PickRequest,
    pub(super) tried: Tried,
}

/// What a turn leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing: [`Readiness`] tells when there is.
    Done,
    /// Perhaps more, for another turn.
    More,
}

impl Sessions {
    pub(super) fn new(
        socket: UdpSocket,
        listener: Arc<UdpListener>,
        shard: Shard,
        witness: Arc<dyn Witness>,
    ) -> io::Result<Self> {
        let readiness = Readiness::new()?;
        readiness.watch(&socket, LISTENER)?;
        Ok(Self {
            socket,
            readiness,
            table: Table::new(listener.plan.idle_timeout, Arc::clone(&listener.stats.places)),
            cooling: Cooling::default(),
            listener,
            shard,
            witness,
            held_bytes: 0,
            clients: Box::new([None; BATCH]),
            waiting: Vec::new(),
            takes_new: true,
            review: None,
            random: fastrand::Rng::new(),
        })
    }

    /// One round: sessions that are over, answers, then questions, as who was let in comes before who wants in.
    pub(super) fn turn(&mut self, batch: &mut Batch, now: Instant) -> Turn {
        let mut turn = self
            .close_cold(now)
            .and(self.end_idle(now))
            .and(self.end_surplus(now))
            .and(self.review_some(now));
        let mut ready = [0; EVENTS];
        let mut count = 0;
        let listed = self.readiness.ready(EVENTS, |Ready(number)| {
            ready[count] = number;
            count += 1;
        });
        // The one error there is, a signal, is over.
        if listed.unwrap_or(EVENTS) == EVENTS {
            turn = Turn::More;
        }
        batch.clear();
        let is_asked = ready[..count].contains(&LISTENER);
        for &number in ready[..count].iter().filter(|&&number| number != LISTENER) {
            turn = turn.and(self.take_responses(SessionId::from_number(number), count, batch, now));
        }
        self.send_responses(batch);
        if is_asked {
            turn = turn.and(self.take_requests(batch, now));
        }
        turn
    }

    /// Takes new settings; sessions that there are follow them too, but stay where they are.
    pub(super) fn set_listener(&mut self, listener: Arc<UdpListener>) {
        self.table.set_idle_timeout(listener.plan.idle_timeout);
        listener.stats.places.set_max(listener.sessions_max);
        self.listener = listener;
        self.review();
    }

    /// Looks at all sessions in the turns that follow, and ends those whose endpoints have gone.
    pub(super) fn review(&mut self) {
        if self.ends_with_endpoints() {
            self.review = Some(0);
        }
    }

    /// Whether there are sessions, and they end when their endpoints go.
    fn ends_with_endpoints(&self) -> bool {
        let plan = &self.listener.plan;
        self.table.len() > 0 && (plan.on_remove == OnRemove::Close || plan.on_down == OnDown::Close)
    }

    /// Whether sessions may have to end although nothing comes for them: with their endpoints, or as other workers had
    /// less than their share.
    pub(super) fn may_have_to_end(&self) -> bool {
        self.ends_with_endpoints() || self.table.has_more_than_its_share()
    }

    /// Begins no more sessions.
    pub(super) const fn drain(&mut self) {
        self.takes_new = false;
    }

    /// Waits no longer than this for a session to go on.
    pub(super) fn shorten(&mut self, idle_timeout: Duration) {
        self.table.set_idle_timeout(idle_timeout.min(self.listener.plan.idle_timeout));
    }

    /// Reads no more of what clients send: another does.
    pub(super) fn stop_listening(&mut self) {
        // It cannot fail but where it is not watched any more.
        let _unwatched = self.readiness.unwatch(&self.socket);
    }

    /// Whether it begins no more sessions and none is left.
    pub(super) const fn is_drained(&self) -> bool {
        !self.takes_new && self.table.len() == 0
    }

    /// Sessions that there are.
    pub(super) const fn sessions(&self) -> usize {
        self.table.len()
    }

    /// When a session may have been idle for too long, or the port of one that has ended is free.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.table.next_expiry().into_iter().chain(self.cooling.next_cold()).min()
    }

    /// Sessions that began to wait for endpoints since the last call.
    pub(super) fn take_waiting(&mut self) -> Vec<Waiting> {
        std::mem::take(&mut self.waiting)
    }

    /// Waits until there is something to take.
    pub(super) fn wait(&self) -> io::Result<ReadinessWait> {
        ReadinessWait::new(&self.readiness)
    }

    /// The settings.
    pub(super) const fn listener(&self) -> &Arc<UdpListener> {
        &self.listener
    }

    fn tallies(&self) -> &UdpTallies {
        self.listener.stats.udp(self.shard)
    }
}

impl Drop for Sessions {
    /// Whatever is left is told and counted as any other end.
    fn drop(&mut self) {
        let now = Instant::now();
        while self.sessions() > 0 {
            self.end_some(now);
        }
    }
}

impl Turn {
    fn and(self, other: Self) -> Self {
        if self == Self::Done { other } else { self }
    }

    const fn more_if(more: bool) -> Self {
        if more { Self::More } else { Self::Done }
    }
}

#[cfg(test)]
mod tests;
