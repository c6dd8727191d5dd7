use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::AbortHandle;
use weir_net::is_out_of_descriptors;
use weir_net::udp::{Outgoing, connect_udp};
use weir_upstream::{Address, Lease, Outcome, PickError, PickRequest};

use super::{Sessions, Waiting};
use crate::end::End;
use crate::udp::session::{Open, Way};
use crate::udp::stats::DropReason;
use crate::udp::table::SessionId;

/// Longest first datagram that is kept for another endpoint, until the first answer: what passes a network in one piece.
const KEPT_BYTES_MAX: usize = 1_500;

/// Sockets that cool and are closed where one is needed: the next sessions need one too.
const CLOSED_FOR_ONE: usize = 16;

/// What came of an endpoint that was chosen.
enum Opened {
    /// What was held has been sent, and more may be.
    Open,
    /// It refuses datagrams, or there is no way to it.
    Refused,
    /// There is no descriptor or no port for a socket; the session has ended.
    NoDescriptor,
}

impl Sessions {
    /// Finds a session an endpoint, one after the other until one takes what is held; or lets it wait.
    ///
    /// # Errors
    ///
    /// Why there is none for it; the session has ended.
    pub(super) fn choose(&mut self, id: SessionId, now: Instant) -> Result<(), DropReason> {
        loop {
            let Some(client) = self.table.key(id).map(|key| key.client.ip()) else { return Ok(()) };
            let Some(session) = self.table.get_mut(id) else { return Ok(()) };
            session.upstream.clone_from(self.listener.forward.name());
            let request = PickRequest { now, client: Some(client), hash: None, random: self.random.u64(..) };
            let unanswered = session.unanswered();
            let lease = match self.listener.forward.pick(&request, &unanswered.tried) {
                Ok(lease) => lease,
                Err(PickError::Busy) => {
                    let tried = unanswered.tried.clone();
                    let upstream = Arc::clone(&self.listener.forward);
                    self.waiting.push(Waiting { id, upstream, request, tried });
                    return Ok(());
                }
                Err(error) => return Err(self.give_up(id, error, now)),
            };
            match self.open(id, lease, now) {
                Opened::Open => return Ok(()),
                Opened::NoDescriptor => return Err(DropReason::NoDescriptor),
                Opened::Refused => self.close(id, now),
            }
        }
    }

    /// The end of waiting: an endpoint, or none.
    pub(crate) fn chosen(&mut self, id: SessionId, answer: Result<Lease, PickError>, now: Instant) {
        // It may have ended meanwhile, and then the endpoint is free again.
        let Some(session) = self.table.get_mut(id) else { return };
        session.unanswered().waiter = None;
        // What it held is counted where it ends; nothing else is on its way.
        let _ended = match answer.map(|lease| self.open(id, lease, now)) {
            Ok(Opened::Open | Opened::NoDescriptor) => Ok(()),
            Ok(Opened::Refused) => {
                self.close(id, now);
                self.choose(id, now)
            }
            Err(error) => Err(self.give_up(id, error, now)),
        };
    }

    /// Remembers who waits for a session's endpoint, so that he stops when it ends.
    pub(crate) fn waits(&mut self, id: SessionId, waiter: AbortHandle) {
        match self.table.get_mut(id) {
            Some(session) => session.unanswered().waiter = Some(waiter),
            None => waiter.abort(),
        }
    }

    /// An endpoint refused a session's datagrams: another one gets those that may be sent again, and what follows.
    ///
    /// # Errors
    ///
    /// Why there is none for it; the session has ended.
    pub(super) fn refused(&mut self, id: SessionId, now: Instant) -> Result<(), DropReason> {
        self.close(id, now);
        self.choose(id, now)?;
        self.tallies().moved.add(1);
        Ok(())
    }

    /// Leaves an endpoint that refused.
    fn close(&mut self, id: SessionId, now: Instant) {
        let Some(session) = self.table.get_mut(id) else { return };
        let Way::Open(open) = std::mem::replace(&mut session.way, Way::Waiting) else { return };
        session.unanswered().tried.insert(open.lease.endpoint().id());
        // The answer to a single datagram is the refusal.
        let is_owed = session.requests > 1 && self.listener.is_owed(session);
        if session.upstream == *self.listener.forward.name() {
            self.judge(&open.lease, Outcome::ConnectFailed, now);
        }
        if is_owed {
            self.cool(open, now);
        }
    }

    /// Tells the upstream how a session fared.
    pub(super) fn judge(&self, lease: &Lease, outcome: Outcome, now: Instant) {
        if let Some(change) = self.listener.forward.record(lease.endpoint(), outcome, now) {
            self.witness.health_changed(&change);
        }
    }

    /// Keeps a copy of the first datagram, so that a refusal costs the client nothing.
    pub(super) fn keep_first(&mut self, id: SessionId, bytes: &[u8]) {
        let room = super::HELD_BYTES_MAX - self.held_bytes;
        let is_answered_by_none = self.listener.plan.responses == Some(0);
        let Some(session) = self.table.get_mut(id) else { return };
        if bytes.len() > KEPT_BYTES_MAX.min(room) || is_answered_by_none || session.open().is_none() {
            return;
        }
        let unanswered = session.unanswered();
        if unanswered.held.is_empty() {
            unanswered.hold(bytes);
            self.held_bytes += bytes.len();
        }
    }

    fn open(&mut self, id: SessionId, lease: Lease, now: Instant) -> Opened {
        let mut result = self.connect(id, &lease);
        if result.as_ref().is_err_and(is_out_of_descriptors) {
            self.witness.descriptors_ran_out();
        }
        if result.as_ref().is_err_and(is_short) {
            let closed = self.cooling.close_early(CLOSED_FOR_ONE);
            self.tallies().cooled_briefly.add(closed);
            if closed > 0 {
                result = self.connect(id, &lease);
            }
        }
        if result.as_ref().is_err_and(is_short) {
            // As in a full table, the oldest gives way.
            if let Some((key, session)) = self.table.evict_for(id) {
                self.ended(&key, session, End::Evicted, now);
                result = self.connect(id, &lease);
            }
        }
        let Some(session) = self.table.get_mut(id) else { return Opened::Refused };
        session.attempts += 1;
        let error = match result {
            Ok(socket) => {
                session.way =
                    Way::Open(Open { socket, lease, needs_header: self.listener.plan.send_proxy_protocol });
                return self.send_held(id);
            }
            Err(error) => error,
        };
        if is_short(&error) {
            self.drop_held(id, DropReason::NoDescriptor);
            self.end(id, End::Overloaded, now);
            return Opened::NoDescriptor;
        }
        session.unanswered().tried.insert(lease.endpoint().id());
        self.judge(&lease, Outcome::ConnectFailed, now);
        Opened::Refused
    }

    fn connect(&self, id: SessionId, lease: &Lease) -> io::Result<OwnedFd> {
        let Address::Tcp(address) = *lease.endpoint().address() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let socket = connect_udp(address)?;
        self.readiness.watch(&socket, id.to_number())?;
        Ok(socket)
    }

    /// Sends what was held, and keeps of it only what may have to be sent once more.
    fn send_held(&mut self, id: SessionId) -> Opened {
        let Some(unanswered) = self.table.get_mut(id).and_then(|session| session.unanswered.as_mut()) else {
            return Opened::Open;
        };
        let held = std::mem::take(&mut unanswered.held);
        let datagrams: Vec<Outgoing<'_>> = held.iter().map(|bytes| Outgoing::to_peer(bytes)).collect();
        let refused = self.transmit(id, &datagrams);
        let Some(session) = self.table.get_mut(id) else { return Opened::Open };
        let unanswered = session.unanswered();
        unanswered.held = held;
        if refused.is_some() {
            return Opened::Refused;
        }
        unanswered.held.truncate(1);
        unanswered.held.retain(|first| first.len() <= KEPT_BYTES_MAX);
        let kept = unanswered.held.first().map_or(0, |first| first.len());
        self.held_bytes -= std::mem::replace(&mut unanswered.held_bytes, kept) - kept;
        Opened::Open
    }

    fn give_up(&mut self, id: SessionId, error: PickError, now: Instant) -> DropReason {
        let (dropped, ended) = match error {
            PickError::AllTried => (DropReason::Refused, End::ConnectFailed),
            _ => (DropReason::NoEndpoint, End::NoEndpoint),
        };
        self.drop_held(id, dropped);
        self.end(id, ended, now);
        dropped
    }

    /// Counts what a session held and never could send.
    fn drop_held(&self, id: SessionId, reason: DropReason) {
        let unanswered = self.table.get(id).and_then(|session| session.unanswered.as_ref());
        self.tallies().count_drop(reason, unanswered.map_or(0, |unanswered| unanswered.held.len() as u64));
    }
}

/// Whether the fault is on this side: no descriptor is left, no port, or no memory.
fn is_short(error: &io::Error) -> bool {
    // Ports that are chosen by connect(2) and used up are EAGAIN.
    let is_out_of_ports = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::AddrNotAvailable);
    is_out_of_descriptors(error) || is_out_of_ports || error.kind() == io::ErrorKind::OutOfMemory
}
