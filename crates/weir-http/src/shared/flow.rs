use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use weir_net::Socket;
use weir_net::tls::TlsFault;
use weir_task::DeadlineWaker;

use crate::wire::Ends;

/// What can be seen of a shared connection from outside its task. Written by one thread only.
#[derive(Debug)]
pub(super) struct Pulse {
    born: Instant,
    /// Times that anything was read, and when last, in milliseconds of its life.
    reads: AtomicU64,
    read_ms: AtomicU64,
    /// Times that anything was taken by the kernel.
    writes: AtomicU64,
    /// Whether somebody wants to know if the peer is still there.
    asked: AtomicBool,
    /// Told when the peer's first settings have come, or the connection has ended before.
    settled: Notify,
    is_settled: AtomicBool,
    /// What TLS failed with, which the h2 crate would not tell as such.
    fault: Mutex<Option<TlsFault>>,
    task: DeadlineWaker,
    ends: Arc<Ends>,
}

impl Pulse {
    pub(super) fn new(task: DeadlineWaker) -> Arc<Self> {
        Arc::new(Self {
            born: Instant::now(),
            reads: AtomicU64::new(0),
            read_ms: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            settled: Notify::new(),
            is_settled: AtomicBool::new(false),
            fault: Mutex::default(),
            task,
            ends: Arc::default(),
        })
    }

    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Whether nothing was read since then.
    pub(super) fn is_silent_since(&self, then: Instant) -> bool {
        self.read_ms.load(Ordering::Relaxed) <= self.age_ms(then)
    }

    fn age_ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    /// Which of its answers were whole.
    pub(super) fn ends(&self) -> &Arc<Ends> {
        &self.ends
    }

    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// The peer's settings are known, as far as they will be.
    pub(super) fn settle(&self) {
        self.is_settled.store(true, Ordering::Relaxed);
        self.settled.notify_waiters();
    }

    /// What TLS failed with, if it did.
    pub(super) fn fault(&self) -> Option<TlsFault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn failed(&self, error: io::Error) -> io::Error {
        if let Some(fault) = TlsFault::within(&error) {
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        }
        error
    }

    /// Waits until the peer's settings are known.
    pub(super) async fn settled(&self) {
        let told = self.settled.notified();
        if !self.is_settled.load(Ordering::Relaxed) {
            told.await;
        }
    }

    /// Has the connection's task ask its peer for a sign of life.
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.task.wake();
    }

    /// Whether a sign of life was asked for since the last look.
    pub(super) fn take_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) && self.asked.swap(false, Ordering::Relaxed)
    }
}

/// A socket as the h2 crate reads and writes it, with its pulse.
#[derive(Debug)]
pub(super) struct Flow {
    socket: Socket,
    pulse: Arc<Pulse>,
}

impl Flow {
    pub(super) fn new(socket: Socket, pulse: Arc<Pulse>) -> Self {
        Self { socket, pulse }
    }
}

impl Flow {
    /// Counts a write of which the peer may have something.
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(_))) || self.socket.has_sent_part() {
            count(&self.pulse.writes);
        }
        written.map_err(|error| self.pulse.failed(error))
    }
}

fn count(counter: &AtomicU64) {
    // Only the connection's own task writes it: no read-modify-write is needed.
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

impl AsyncRead for Flow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(self.socket.poll_read_buf(cx, into)).map_err(|error| self.pulse.failed(error))?;
        self.pulse.ends.pass(&into.filled()[before..]);
        count(&self.pulse.reads);
        self.pulse.read_ms.store(self.pulse.age_ms(Instant::now()), Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.socket.poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.socket.poll_write_vectored(cx, pieces);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written is with the kernel.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_shutdown(cx)
    }
}
