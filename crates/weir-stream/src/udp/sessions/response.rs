use std::io;
use std::time::{Duration, Instant};

use weir_net::udp::{BATCH, Batch, Outgoing, send_all};
use weir_upstream::Outcome;

use super::request::{count, reason_of};
use super::{Sessions, Turn};
use crate::end::End;
use crate::udp::stats::DropReason;
use crate::udp::table::{SessionId, SessionKey};

/// Datagrams that are taken at a time from a session's socket while few sockets are ready: each may have many.
const TAKEN_AT_ONCE: usize = 8;

/// Sockets that are few. Of many each most often has one datagram, and looking for another costs more than to be told
/// again of those that have it.
const FEW: usize = 4;

impl Sessions {
    /// Takes what an endpoint has sent, one of so many that are ready; the batch holds it until [`Self::send_responses`].
    pub(super) fn take_responses(
        &mut self,
        id: SessionId,
        ready: usize,
        batch: &mut Batch,
        now: Instant,
    ) -> Turn {
        let max = if ready <= FEW { TAKEN_AT_ONCE } else { 1 };
        let Some(key) = self.table.key(id).copied() else { return Turn::Done };
        if batch.room() < max {
            self.send_responses(batch);
        }
        let tallies = self.listener.stats.udp(self.shard);
        let Some(session) = self.table.get_mut(id) else { return Turn::Done };
        let Some(open) = session.open() else { return Turn::Done };
        let from = batch.len();
        let taken = match batch.receive_connected(&open.socket, max) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Done,
            Err(_) => {
                // What it held is counted where it ends; nothing else is on its way.
                let _ended = self.refused(id, now);
                return Turn::More;
            }
        };
        let is_first = session.responses == 0;
        session.spoke_last = false;
        for slot in from..batch.len() {
            let count = u64::from(batch.datagram(slot).count());
            tallies.datagrams_out.add(count);
            let wanted = self.listener.owed(session).map_or(count, |owed| owed.min(count));
            tallies.count_drop(DropReason::Surplus, count - wanted);
            batch.keep_first(slot, wanted as u32);
            self.clients[slot] = (wanted > 0).then_some(key);
            if wanted > 0 {
                let bytes = batch.datagram(slot).bytes.len() as u64;
                session.responses += wanted;
                session.bytes_out += bytes;
                self.listener.stats.passed(self.shard, 0, bytes);
            }
        }
        self.table.answered(id, now);
        self.forget_unanswered(id);
        if is_first {
            self.judge_first_answer(id, now);
        }
        let is_complete = self.table.get(id).is_some_and(|session| self.listener.is_complete(session));
        if is_complete {
            self.end(id, End::Answered, now);
        }
        Turn::more_if(taken == max)
    }

    /// Nothing needs to be kept for another endpoint; after a move to this one there may be something again.
    fn forget_unanswered(&mut self, id: SessionId) {
        let unanswered = self.table.get_mut(id).and_then(|session| session.unanswered.take());
        self.held_bytes -= unanswered.map_or(0, |unanswered| unanswered.held_bytes);
    }

    /// An endpoint answers: it is well.
    fn judge_first_answer(&self, id: SessionId, now: Instant) {
        let Some(session) = self.table.get(id) else { return };
        let head_after: Duration = now.saturating_duration_since(session.started);
        let is_known = session.upstream == *self.listener.forward.name();
        if let Some(open) = session.open().filter(|_| is_known) {
            self.judge(&open.lease, Outcome::Success { head_after }, now);
        }
    }

    /// Sends the answers that were taken, each to its client, from the address that it had sent to.
    pub(super) fn send_responses(&mut self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        let mut answers = [Outgoing::to_peer(&[]); BATCH];
        let mut wanted = 0;
        for slot in 0..batch.len() {
            let datagram = batch.datagram(slot);
            let Some(SessionKey { client, local }) = self.clients[slot] else { continue };
            answers[wanted] = Outgoing {
                bytes: datagram.bytes,
                to: Some(client),
                from: local,
                segment_bytes: datagram.segment_bytes,
            };
            wanted += 1;
        }
        send_all(&self.socket, &answers[..wanted], |at, error| {
            self.tallies().count_drop(reason_of(error.kind(), error), count(&answers[at]));
        });
        batch.clear();
    }
}
