use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::budget::SessionBudget;
use super::control::Control;
use super::ready::Ready;
use super::receive::Input;
use super::stream::{Opening, Sending, Stream};
use super::{GoAway, LINGER, OpenError, UNACKNOWLEDGED_MAX, WINDOW_REVIEW, WindowBudget};

/// Which numbers an end opens streams with. Either end of a connection may be either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Odd numbers.
    Client,
    /// Even numbers.
    Server,
}

impl Role {
    pub(super) const fn opens(self, id: u32) -> bool {
        (id % 2 == 1) == matches!(self, Self::Client)
    }
}

/// What a session may grow to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Streams that this end has open at a time; an open beyond fails.
    pub streams_max: usize,
    /// Streams that the peer may have open at a time; opens beyond are refused. 0 where the peer opens none.
    pub accepted_max: usize,
    /// What the windows of all streams may take beyond 256 KiB each, in bytes.
    pub window_bytes_max: u32,
}

/// What has happened in a session, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Streams that this end has opened.
    pub opened: u64,
    /// Streams that the peer has opened.
    pub accepted: u64,
    /// Streams of the peer that were refused.
    pub refused: u64,
    /// Times a stream had data and no window.
    pub stalls: u64,
}

/// One end of a connection with many streams; see the [module](super).
///
/// A stream's entry lives until its owner lets go of it, with [`release`](Self::release) or [`reset`](Self::reset).
#[derive(Debug)]
pub struct Session {
    pub(super) role: Role,
    pub(super) limits: Limits,
    pub(super) budget: SessionBudget,
    pub(super) streams: HashMap<u32, Stream>,
    pub(super) input: Input,
    pub(super) control: Control,
    /// Streams with control frames to send.
    pub(super) talking: VecDeque<u32>,
    pub(super) ready: Ready,
    /// The next number of ours; none when all are used.
    next_id: Option<u32>,
    /// The highest number that the peer has opened.
    pub(super) highest_accepted: u32,
    /// Entries that the peer opened.
    pub(super) accepted: usize,
    unacknowledged: usize,
    waiting: VecDeque<u32>,
    /// Streams that fail because the peer takes no more; their owners are still to be told.
    pub(super) refused: VecDeque<u32>,
    gone: VecDeque<u32>,
    /// Data that may still come for streams that were reset here.
    pub(super) discardable: u64,
    pub(super) strays: u32,
    ping_value: u32,
    /// The ping that is under way, and since when.
    pub(super) pinged: Option<(u32, Option<Instant>)>,
    pub(super) round_trip: Option<Duration>,
    pub(super) is_going_away: bool,
    pub(super) is_peer_going_away: bool,
    /// Whether nothing is sent any more but why.
    pub(super) is_terminated: bool,
    reviewed: Instant,
    pub(super) counts: Counts,
}

impl Session {
    /// An end of a new connection. `budget` is shared by the sessions of the process.
    pub fn new(role: Role, limits: Limits, budget: Arc<WindowBudget>, now: Instant) -> Self {
        Self {
            role,
            limits,
            budget: SessionBudget::new(limits.window_bytes_max, budget),
            streams: HashMap::new(),
            input: Input::default(),
            control: Control::default(),
            talking: VecDeque::new(),
            ready: Ready::default(),
            next_id: Some(if role == Role::Client { 1 } else { 2 }),
            highest_accepted: 0,
            accepted: 0,
            unacknowledged: 0,
            waiting: VecDeque::new(),
            refused: VecDeque::new(),
            gone: VecDeque::new(),
            discardable: 0,
            strays: 0,
            ping_value: 0,
            pinged: None,
            round_trip: None,
            is_going_away: false,
            is_peer_going_away: false,
            is_terminated: false,
            reviewed: now,
            counts: Counts::default(),
        }
    }

    /// Opens a stream; data may be offered at once. Streams that were let go give up their places where they are needed.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing was sent.
    pub fn open(&mut self, now: Instant) -> Result<u32, OpenError> {
        if self.is_going_away || self.is_peer_going_away || self.is_terminated {
            return Err(OpenError::GoingAway);
        }
        if self.streams.len() - self.accepted >= self.limits.streams_max && !self.cut_lingering() {
            return Err(OpenError::TooManyStreams);
        }
        let id = self.next_id.ok_or(OpenError::Exhausted)?;
        self.next_id = id.checked_add(2);
        self.streams.insert(id, Stream::new(now, Opening::Waiting));
        self.waiting.push_back(id);
        self.counts.opened += 1;
        self.open_waiting();
        Ok(id)
    }

    /// The owner holds `bytes` more to be sent on the stream. Ignored once the stream is finished or reset.
    pub fn offer(&mut self, id: u32, bytes: usize) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.sending != Sending::Open || stream.is_reset {
            return;
        }
        let had = stream.offered;
        stream.offered += bytes;
        if had == 0 && stream.credit == 0 {
            self.counts.stalls += 1;
        }
        self.ready.add(id, stream);
    }

    /// Ends the stream's sending direction behind what was offered; sends FIN once, however often it is called.
    pub fn finish(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.sending == Sending::Open {
            stream.sending = Sending::Closing;
        }
        self.talk(id);
    }

    /// The reader took `bytes` of what came, so that the peer may send more.
    pub fn consume(&mut self, now: Instant, id: u32, bytes: usize) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        stream.window.consume(now, self.round_trip, bytes, &mut self.budget);
        self.talk(id);
    }

    /// Lets go of the stream in good order: what was offered is sent, then FIN; the entry goes when the peer has ended
    /// it too, which [`pop_gone`](Self::pop_gone) tells, unless it is gone at once ([`contains`](Self::contains)).
    /// Data that still comes, or [`LINGER`], resets it.
    pub fn release(&mut self, now: Instant, id: u32) {
        self.finish(id);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.is_over() || !stream.is_known_to_peer() && stream.offered == 0 {
            self.remove(id);
            return;
        }
        stream.released_until = Some(now + LINGER);
    }

    /// Lets go of the stream and aborts what is not over: the peer gets RST unless both ends have ended it, or it never
    /// heard of it. What was offered is not sent.
    pub fn reset(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.is_over() && stream.is_known_to_peer() {
            self.discardable += u64::from(stream.window.close());
            self.control.reset(id);
        }
        self.remove(id);
    }

    /// A stream that was released and has now gone; what was offered on it is not needed any more.
    pub fn pop_gone(&mut self) -> Option<u32> {
        self.gone.pop_front()
    }

    /// Whether the stream has an entry.
    pub fn contains(&self, id: u32) -> bool {
        self.streams.contains_key(&id)
    }

    /// Asks the peer for a sign of life; one question at a time is under way.
    pub const fn ping(&mut self) {
        if self.pinged.is_none() {
            self.ping_value = self.ping_value.wrapping_add(1);
            self.pinged = Some((self.ping_value, None));
            self.control.ping = Some(self.ping_value);
        }
    }

    /// Announces that no more streams are taken or opened; those that are open go on.
    pub const fn go_away(&mut self, reason: GoAway) {
        if !self.is_going_away {
            self.is_going_away = true;
            self.control.go_away = Some(reason);
        }
    }

    /// Ends the session: nothing is sent any more but the reason.
    pub fn terminate(&mut self, reason: GoAway) {
        if !self.is_terminated {
            self.is_terminated = true;
            self.is_going_away = true;
            self.control = Control::last_words(reason);
        }
    }

    /// What time brings: streams that were let go long ago are reset, large windows that lie idle shrink.
    ///
    /// To be called now and then, each few seconds; costs a look at each stream.
    pub fn tick(&mut self, now: Instant) {
        let is_late = |stream: &Stream| stream.released_until.is_some_and(|until| until <= now);
        let late = self.streams.iter().filter(|(_, stream)| is_late(stream)).map(|(id, _)| *id);
        for id in late.collect::<Vec<_>>() {
            self.reset(id);
            self.gone.push_back(id);
        }
        if now.saturating_duration_since(self.reviewed) >= WINDOW_REVIEW {
            self.reviewed = now;
            for stream in self.streams.values_mut() {
                stream.window.review(&mut self.budget);
            }
        }
    }

    /// Streams that have an entry.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The shortest round trip that was measured lately.
    pub const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Whether the peer has announced that it takes no more streams.
    pub const fn is_peer_going_away(&self) -> bool {
        self.is_peer_going_away
    }

    /// What windows take beyond 256 KiB a stream, in bytes.
    pub const fn window_bytes(&self) -> u32 {
        self.budget.used()
    }

    /// What has happened.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the number was ever used for a stream that the peer could have heard of.
    pub(super) fn was_opened(&self, id: u32) -> bool {
        if self.role.opens(id) {
            self.next_id.is_none_or(|next| id < next)
        } else {
            id <= self.highest_accepted
        }
    }

    /// Queues the stream's control frames, where there are any.
    pub(super) fn talk(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.is_in_control
            && stream.has_control()
        {
            stream.is_in_control = true;
            self.talking.push_back(id);
        }
    }

    /// The peer has heard of the stream and answered in whatever way; whether that is the first answer.
    pub(super) fn acknowledged(&mut self, id: u32) -> bool {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.opening == Opening::Unacknowledged
        {
            stream.opening = Opening::Open;
            self.unacknowledged -= 1;
            self.open_waiting();
            self.talk(id);
            return true;
        }
        false
    }

    /// A released stream is over.
    pub(super) fn gone(&mut self, id: u32) {
        self.remove(id);
        self.gone.push_back(id);
    }

    /// Fails the opens that the peer has not heard of.
    pub(super) fn refuse_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let unsent = self.talking.iter().copied();
        for id in unsent.chain(waiting).collect::<Vec<_>>() {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            if stream.is_known_to_peer() {
                continue;
            }
            if stream.opening == Opening::Unsent {
                self.unacknowledged -= 1;
                stream.opening = Opening::Waiting;
            }
            stream.is_reset = true;
            if stream.is_released() {
                self.gone(id);
            } else {
                self.refused.push_back(id);
            }
        }
    }

    /// Resets the stream that was let go first among those that wait for nothing but the peer's end, which some peers
    /// never send; whether there was one.
    fn cut_lingering(&mut self) -> bool {
        let ours = self.streams.iter().filter(|(id, _)| self.role.opens(**id));
        let waits = ours.filter(|(_, stream)| stream.sending == Sending::Closed);
        let first = waits.filter_map(|(id, stream)| Some((stream.released_until?, *id))).min();
        let Some((_, id)) = first else { return false };
        self.reset(id);
        self.gone.push_back(id);
        true
    }

    fn open_waiting(&mut self) {
        while self.unacknowledged < UNACKNOWLEDGED_MAX {
            let Some(id) = self.waiting.pop_front() else { return };
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.opening = Opening::Unsent;
                self.unacknowledged += 1;
                self.talk(id);
            }
        }
    }

    fn remove(&mut self, id: u32) {
        let Some(mut stream) = self.streams.remove(&id) else { return };
        stream.window.release(&mut self.budget);
        if !self.role.opens(id) {
            self.accepted -= 1;
        }
        if matches!(stream.opening, Opening::Unsent | Opening::Unacknowledged) {
            self.unacknowledged -= 1;
            self.open_waiting();
        }
    }
}
