use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;
use weir_net::udp::{BATCH, Batch, Datagram, Outgoing, send_all};
use weir_wire::proxy_protocol::write_v2_datagram;

use super::{HELD_BYTES_MAX, Sessions, Turn};
use crate::end::End;
use crate::udp::session::{Session, Way};
use crate::udp::stats::DropReason;
use crate::udp::table::{SessionId, SessionKey};

/// Most datagrams of a session that wait for its endpoint.
const WAITING_MAX: usize = 16;

/// Most bytes of a session that wait for its endpoint.
const WAITING_BYTES_MAX: usize = 64 << 10;

impl Sessions {
    /// Takes what clients have sent, one batch of it.
    pub(super) fn take_requests(&mut self, batch: &mut Batch, now: Instant) -> Turn {
        batch.clear();
        match batch.receive(&self.socket, BATCH) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Done,
            // Errors of earlier answers are told here; each is told once.
            Err(_) => return Turn::More,
        }
        let mut at = 0;
        while at < batch.len() {
            let first = batch.datagram(at);
            let same = (at + 1..batch.len()).take_while(|&other| is_same_way(&first, &batch.datagram(other)));
            let end = at + 1 + same.count();
            self.take_run(batch, at..end, now);
            at = end;
        }
        Turn::more_if(batch.room() == 0)
    }

    /// Takes successive datagrams of one client.
    fn take_run(&mut self, batch: &Batch, slots: Range<usize>, now: Instant) {
        let first = batch.datagram(slots.start);
        // The kernel says who sent a datagram on every socket that is not connected.
        let Some(client) = first.peer else { return };
        let key = SessionKey { client, local: first.local };
        if client == self.local(&key) {
            let count = slots.map(|slot| count(&self.outgoing(&batch.datagram(slot)))).sum();
            return self.tallies().count_drop(DropReason::OwnAddress, count);
        }
        if slots.len() == 1 {
            return self.take_same(&key, &[self.outgoing(&first)], now);
        }
        let mut run = [Outgoing::to_peer(&[]); BATCH];
        let count = slots.len();
        for (datagram, slot) in run.iter_mut().zip(slots) {
            *datagram = self.outgoing(&batch.datagram(slot));
        }
        self.take_same(&key, &run[..count], now);
    }

    /// Counts a client's datagram and makes it one for an endpoint.
    fn outgoing<'a>(&self, datagram: &Datagram<'a>) -> Outgoing<'a> {
        self.tallies().datagrams_in.add(u64::from(datagram.count()));
        self.listener.stats.passed(self.shard, datagram.bytes.len() as u64, 0);
        Outgoing { segment_bytes: datagram.segment_bytes, ..Outgoing::to_peer(datagram.bytes) }
    }

    /// Takes datagrams of one client, at once where all of them go the same way.
    fn take_same(&mut self, key: &SessionKey, run: &[Outgoing<'_>], now: Instant) {
        if let [Outgoing { segment_bytes: None, .. }] = run {
            return self.take(key, run, now);
        }
        let open = self.table.find(key).and_then(|id| self.table.get(id)?.open());
        if self.listener.plan.requests.is_none() && open.is_some_and(|open| !open.needs_header) {
            return self.take(key, run, now);
        }
        for datagram in run {
            pieces(datagram).for_each(|bytes| self.take(key, &[Outgoing::to_peer(bytes)], now));
        }
    }

    /// Takes datagrams that belong to one session.
    fn take(&mut self, key: &SessionKey, datagrams: &[Outgoing<'_>], now: Instant) {
        let found = self.table.find(key).map_or_else(|| self.begin(key, now), Ok);
        let id = match found {
            Ok(id) => id,
            Err(reason) => return self.tallies().count_drop(reason, datagrams.iter().map(count).sum()),
        };
        let Some(session) = self.table.get_mut(id) else { return };
        let is_first = session.requests == 0;
        session.requests += datagrams.iter().map(count).sum::<u64>();
        session.spoke_last = true;
        session.bytes_in += datagrams.iter().map(|datagram| datagram.bytes.len() as u64).sum::<u64>();
        self.table.touch(id, now);
        if is_first && let Err(reason) = self.choose(id, now) {
            return self.tallies().count_drop(reason, datagrams.iter().map(count).sum());
        }
        self.deliver(id, datagrams, now);
        if let (true, [first, ..]) = (is_first, datagrams) {
            self.keep_first(id, first.bytes);
        }
        let Some(session) = self.table.get(id) else { return };
        let (is_full, is_complete) = (self.listener.is_full(session), self.listener.is_complete(session));
        let is_sent = session.open().is_some();
        if is_complete && is_sent {
            self.end(id, End::Answered, now);
        } else if is_full {
            self.table.unbind(id);
        }
    }

    /// Begins a session, unless there is no place for it.
    fn begin(&mut self, key: &SessionKey, now: Instant) -> Result<SessionId, DropReason> {
        if !self.takes_new {
            return Err(DropReason::Draining);
        }
        let mut evicted = Vec::new();
        let id = self.table.insert(
            *key,
            Session::new(Arc::clone(self.listener.forward.name()), now),
            now,
            |key, session| evicted.push((key, session)),
        );
        for (key, session) in evicted {
            self.ended(&key, session, End::Evicted, now);
        }
        self.tallies().sessions.add(1);
        self.witness.session_began();
        Ok(id)
    }

    /// Sends datagrams to a session's endpoint, and to the next where it refuses; holds them while there is none.
    pub(super) fn deliver(&mut self, id: SessionId, mut datagrams: &[Outgoing<'_>], now: Instant) {
        loop {
            match self.table.get(id).map(|session| &session.way) {
                None => return,
                Some(Way::Waiting) => return self.hold(id, datagrams),
                Some(Way::Open(_)) => {}
            }
            let Some(refused) = self.transmit(id, datagrams) else { return };
            datagrams = &datagrams[refused..];
            if let Err(reason) = self.refused(id, now) {
                return self.tallies().count_drop(reason, datagrams.iter().map(count).sum());
            }
        }
    }

    /// Lets datagrams wait for the session's endpoint.
    fn hold(&mut self, id: SessionId, datagrams: &[Outgoing<'_>]) {
        let tallies = self.listener.stats.udp(self.shard);
        let Some(session) = self.table.get_mut(id) else { return };
        let unanswered = session.unanswered.get_or_insert_default();
        for datagram in datagrams {
            for bytes in pieces(datagram) {
                let is_full = unanswered.held.len() == WAITING_MAX
                    || unanswered.held_bytes + bytes.len() > WAITING_BYTES_MAX
                    || self.held_bytes + bytes.len() > HELD_BYTES_MAX;
                if is_full {
                    tallies.count_drop(DropReason::QueueFull, 1);
                } else {
                    unanswered.hold(bytes);
                    self.held_bytes += bytes.len();
                }
            }
        }
    }

    /// Sends datagrams through a session's socket; where the endpoint refuses, says which is the first that was not sent.
    pub(super) fn transmit(&mut self, id: SessionId, datagrams: &[Outgoing<'_>]) -> Option<usize> {
        let ends = self.table.key(id).map(|key| (key.client, self.local(key)));
        let tallies = self.listener.stats.udp(self.shard);
        let session = self.table.get_mut(id)?;
        let Way::Open(open) = &mut session.way else { return None };
        let mut refused = None;
        let mut rest = datagrams;
        let mut failed = |at: usize, datagram: &Outgoing<'_>, error: &io::Error| match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable => refused = refused.or(Some(at)),
            kind => tallies.count_drop(reason_of(kind, error), count(datagram)),
        };
        if let (true, [first, others @ ..], Some((client, local))) = (open.needs_header, datagrams, ends) {
            let mut bytes = Vec::with_capacity(first.bytes.len() + 64);
            write_v2_datagram(client, local, &mut bytes);
            bytes.extend_from_slice(first.bytes);
            let mut is_sent = true;
            send_all(&open.socket, &[Outgoing::to_peer(&bytes)], |_, error| {
                is_sent = false;
                failed(0, first, error);
            });
            open.needs_header = !is_sent;
            rest = others;
        }
        let offset = datagrams.len() - rest.len();
        send_all(&open.socket, rest, |at, error| failed(offset + at, &rest[at], error));
        refused
    }

    /// The address that a client sent to.
    pub(super) fn local(&self, key: &SessionKey) -> SocketAddr {
        let listener = self.socket.address();
        key.local.map_or(listener, |local| SocketAddr::new(local, listener.port()))
    }
}

/// Whether two datagrams belong to the same session.
fn is_same_way(one: &Datagram<'_>, other: &Datagram<'_>) -> bool {
    one.peer == other.peer && one.local == other.local
}

/// How many datagrams one stands for.
pub(super) fn count(datagram: &Outgoing<'_>) -> u64 {
    let segment = datagram.segment_bytes.map(|bytes| usize::from(bytes.get()));
    segment.map_or(1, |segment| datagram.bytes.len().div_ceil(segment) as u64)
}

/// The datagrams that one stands for.
fn pieces<'a>(datagram: &Outgoing<'a>) -> impl Iterator<Item = &'a [u8]> {
    let size = datagram.segment_bytes.map_or(usize::MAX, |bytes| usize::from(bytes.get()));
    let empty: &[u8] = &[];
    datagram.bytes.chunks(size).chain(datagram.bytes.is_empty().then_some(empty))
}

/// Why a datagram that could not be sent was dropped.
pub(super) fn reason_of(kind: io::ErrorKind, error: &io::Error) -> DropReason {
    let is_too_long = Errno::from_io_error(error) == Some(Errno::MSGSIZE);
    match kind {
        io::ErrorKind::WouldBlock => DropReason::BufferFull,
        _ if is_too_long => DropReason::Oversize,
        _ => DropReason::SendFailed,
    }
}
