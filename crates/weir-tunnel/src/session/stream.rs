use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use weir_net::{ByteStream, StreamFault};

use super::mailbox::Mailbox;

/// What a stream holds of bytes that wait to be sent: four frames.
pub const STREAM_BYTES_MAX: usize = 64 << 10;

/// One stream of a session: a byte stream with two ends of their own.
///
/// Dropped, it ends its direction and is let go: data that still comes aborts it, as a closed socket's does. After
/// [`reset_on_close`](ByteStream::reset_on_close) the peer is told at once.
pub struct TunnelStream {
    shared: Arc<Shared>,
    session: Arc<Mailbox>,
    aborts: bool,
}

/// What a stream and its session's task share.
#[derive(Debug)]
pub(super) struct Shared(Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// Its number; 0 before it has one.
    pub(super) id: u32,
    incoming: VecDeque<u8>,
    outgoing: VecDeque<u8>,
    arrival: Arrival,
    fault: Option<StreamFault>,
    is_fault_told: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    pub(super) asks: Asks,
    is_listed: bool,
}

/// Whether more data comes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    #[default]
    Open,
    Ended,
}

/// What the stream wants of its session, since it was last asked.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Asks {
    /// Bytes that were written.
    pub(super) offered: usize,
    /// Bytes that were read.
    pub(super) consumed: usize,
    pub(super) finish: bool,
    pub(super) leave: Option<Leave>,
}

/// How a stream was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    Orderly,
    Abort,
}

impl Shared {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::default()))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Each critical section leaves whole data behind, whatever happens.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Data has come; never more than the window that was granted.
    pub(super) fn deliver(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.incoming.extend(bytes);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// The peer's direction has ended.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.arrival = Arrival::Ended;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// The stream is over before its time; what came before can still be read.
    pub(super) fn fail(&self, fault: StreamFault) {
        let mut state = self.state();
        state.fault.get_or_insert(fault);
        state.outgoing = VecDeque::new();
        let wakers = (state.reader.take(), state.writer.take());
        drop(state);
        wake(wakers.0);
        wake(wakers.1);
    }

    /// Moves the next bytes to be sent behind `out`.
    pub(super) fn take(&self, count: usize, out: &mut Vec<u8>) {
        let mut state = self.state();
        let (first, second) = state.outgoing.as_slices();
        let cut = count.min(first.len());
        out.extend_from_slice(&first[..cut]);
        out.extend_from_slice(&second[..count - cut]);
        state.outgoing.drain(..count);
        if state.outgoing.is_empty() {
            // An idle stream holds no memory.
            state.outgoing = VecDeque::new();
        }
        let writer = state.writer.take();
        drop(state);
        wake(writer);
    }

    /// What it wants, and nothing of it again.
    pub(super) fn asked(&self) -> (u32, Asks) {
        let mut state = self.state();
        state.is_listed = false;
        (state.id, std::mem::take(&mut state.asks))
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn register(place: &mut Option<Waker>, cx: &Context<'_>) {
    if !place.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
        *place = Some(cx.waker().clone());
    }
}

impl TunnelStream {
    pub(super) fn new(shared: Arc<Shared>, session: Arc<Mailbox>) -> Self {
        Self { shared, session, aborts: false }
    }

    /// Asks something of the session; its task is told once, however much is asked before it looks.
    fn ask(&self, mut state: MutexGuard<'_, State>, what: impl FnOnce(&mut Asks)) {
        what(&mut state.asks);
        let was_listed = std::mem::replace(&mut state.is_listed, true);
        drop(state);
        if !was_listed {
            self.session.touch(Arc::clone(&self.shared));
        }
    }

    /// What there is to read at once: none while nothing has come.
    fn read_now(&self, room: &mut [u8]) -> Option<io::Result<usize>> {
        let mut state = self.shared.state();
        if !state.incoming.is_empty() {
            let (first, second) = state.incoming.as_slices();
            let cut = room.len().min(first.len());
            room[..cut].copy_from_slice(&first[..cut]);
            let more = (room.len() - cut).min(second.len());
            room[cut..cut + more].copy_from_slice(&second[..more]);
            let count = cut + more;
            state.incoming.drain(..count);
            if state.incoming.is_empty() {
                state.incoming = VecDeque::new();
            }
            self.ask(state, |asks| asks.consumed += count);
            return Some(Ok(count));
        }
        if state.arrival == Arrival::Ended {
            return Some(Ok(0));
        }
        let fault = state.fault?;
        state.is_fault_told = true;
        Some(Err(fault.into()))
    }
}

impl State {
    fn is_readable(&self) -> bool {
        !self.incoming.is_empty() || self.arrival == Arrival::Ended || self.fault.is_some()
    }
}

impl ByteStream for TunnelStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(read) = self.read_now(room) {
            return Poll::Ready(read);
        }
        let mut state = self.shared.state();
        register(&mut state.reader, cx);
        let is_readable = state.is_readable();
        drop(state);
        // It may have come in between.
        if is_readable { self.poll_read(cx, room) } else { Poll::Pending }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.shared.state();
        if let Some(fault) = state.fault {
            state.is_fault_told = true;
            return Poll::Ready(Err(fault.into()));
        }
        let count = bytes.len().min(STREAM_BYTES_MAX - state.outgoing.len());
        if count == 0 && !bytes.is_empty() {
            register(&mut state.writer, cx);
            return Poll::Pending;
        }
        state.outgoing.extend(&bytes[..count]);
        self.ask(state, |asks| asks.offered += count);
        Poll::Ready(Ok(count))
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = self.shared.state();
        if let Some(fault) = state.fault {
            return Poll::Ready(Err(fault.into()));
        }
        self.ask(state, |asks| asks.finish = true);
        Poll::Ready(Ok(()))
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.state();
        if state.is_readable() {
            return Poll::Ready(Ok(()));
        }
        register(&mut state.reader, cx);
        Poll::Pending
    }

    fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.read_now(bytes).unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    fn is_silent(&mut self) -> bool {
        !self.shared.state().is_readable()
    }

    fn take_error(&self) -> Option<io::Error> {
        let mut state = self.shared.state();
        let fault = state.fault?;
        let was_told = std::mem::replace(&mut state.is_fault_told, true);
        (!was_told).then(|| fault.into())
    }

    fn reset_on_close(&mut self) {
        self.aborts = true;
    }

    fn may_be_kept(&self) -> bool {
        self.session.keeps_streams()
    }
}

impl Drop for TunnelStream {
    fn drop(&mut self) {
        let state = self.shared.state();
        // What was not read is lost, and the peer must not believe otherwise.
        let leave = if self.aborts || !state.incoming.is_empty() { Leave::Abort } else { Leave::Orderly };
        self.ask(state, |asks| asks.leave = Some(leave));
    }
}

impl fmt::Debug for TunnelStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TunnelStream").field(&self.shared.state().id).finish()
    }
}
