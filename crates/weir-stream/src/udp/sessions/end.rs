use std::time::Instant;

use super::{ENDED_PER_TURN, EndedSession, REVIEWED_PER_TURN, Sessions, Turn};
use crate::end::End;
use crate::udp::session::{Open, Session, Way};
use crate::udp::table::{SessionId, SessionKey};
use crate::{OnDown, OnRemove};

impl Sessions {
    /// Ends what was idle for too long.
    pub(super) fn end_idle(&mut self, now: Instant) -> Turn {
        for _ in 0..ENDED_PER_TURN {
            let Some((key, session)) = self.table.expire(now) else { return Turn::Done };
            self.ended(&key, session, End::IdleTimeout, now);
        }
        Turn::More
    }

    /// Gives back the ports of sessions that ended long enough ago.
    pub(super) fn close_cold(&mut self, now: Instant) -> Turn {
        Turn::more_if(self.cooling.close_cold(now, ENDED_PER_TURN))
    }

    /// Ends what is more than there may be, since the limit was lowered or another worker had less than its share.
    pub(super) fn end_surplus(&mut self, now: Instant) -> Turn {
        for _ in 0..ENDED_PER_TURN {
            let Some((key, session)) = self.table.trim() else { return Turn::Done };
            self.ended(&key, session, End::Evicted, now);
        }
        Turn::More
    }

    /// Ends some of all sessions, as the listener's time is over.
    pub(in crate::udp) fn end_some(&mut self, now: Instant) {
        let ids: Vec<SessionId> =
            self.table.sessions_from(0, usize::MAX).map(|(id, _)| id).take(ENDED_PER_TURN).collect();
        ids.into_iter().for_each(|id| self.end(id, End::ShuttingDown, now));
    }

    /// Goes on with the look at all sessions.
    pub(super) fn review_some(&mut self, now: Instant) -> Turn {
        let Some(from) = self.review else { return Turn::Done };
        let mut until = from + REVIEWED_PER_TURN;
        let some = self.table.sessions_from(from, REVIEWED_PER_TURN);
        let unwanted = some.filter_map(|(id, session)| Some((id, self.end_of(session)?)));
        let gone: Vec<(SessionId, End)> = unwanted.take(ENDED_PER_TURN).collect();
        if let Some((last, _)) = gone.get(ENDED_PER_TURN - 1) {
            until = last.slot() + 1;
        }
        gone.into_iter().for_each(|(id, reason)| self.end(id, reason, now));
        self.review = (until < self.table.slots()).then_some(until);
        Turn::more_if(self.review.is_some())
    }

    /// Why a session must end because of its endpoint, if it must.
    fn end_of(&self, session: &Session) -> Option<End> {
        let endpoint = session.open()?.lease.endpoint();
        if self.listener.plan.on_remove == OnRemove::Close && endpoint.is_retired() {
            Some(End::EndpointRemoved)
        } else {
            (self.listener.plan.on_down == OnDown::Close && endpoint.state().is_down())
                .then_some(End::EndpointDown)
        }
    }

    /// Ends a session, unless it has ended.
    pub(super) fn end(&mut self, id: SessionId, end: End, now: Instant) {
        if let Some((key, session)) = self.table.remove(id) {
            self.ended(&key, session, end, now);
        }
    }

    /// Counts and tells the end of a session that is no longer in the table.
    pub(super) fn ended(&mut self, key: &SessionKey, session: Session, end: End, now: Instant) {
        self.held_bytes -= session.held_bytes();
        let duration = now.saturating_duration_since(session.started);
        self.listener.stats.ended(self.shard, end, duration);
        if let Some(open) = session.open() {
            open.lease.endpoint().passed(session.bytes_in, session.bytes_out);
        }
        self.witness.session_ended(&EndedSession {
            client: key.client,
            upstream: &session.upstream,
            endpoint: session.open().map(|open| open.lease.endpoint().label()),
            attempts: session.attempts,
            at: now,
            duration,
            requests: session.requests,
            responses: session.responses,
            bytes_in: session.bytes_in,
            bytes_out: session.bytes_out,
            end,
            tallies: self.tallies(),
        });
        let is_owed = self.listener.is_owed(&session);
        if let (Way::Open(open), true, false) = (session.way, is_owed, end == End::ShuttingDown) {
            self.cool(open, now);
        }
    }

    /// Keeps the port of a session that was not answered from others for a while.
    pub(super) fn cool(&mut self, open: Open, now: Instant) {
        // It is watched until it is closed, and would be told of for as long as it is not read.
        if self.readiness.unwatch(&open.socket).is_ok() {
            let share = self.listener.stats.places.share();
            let closed = self.cooling.keep(open.socket, share, now);
            self.tallies().cooled_briefly.add(closed);
        }
    }
}
