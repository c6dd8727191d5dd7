use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use weir_net::Buffer;
use weir_wire::h2_meter::{Meter, Verdict};

use crate::wire::Io;
use crate::worker::HttpWorker;

/// The connection below the HTTP/2 library: a meter of its frames, and one buffer in which what many streams say is
/// written at once.
///
/// The library flushes whenever its own small buffer is full; here bytes go out when the task that drives it has
/// nothing else to do, or when the buffer is full.
#[derive(Clone)]
pub(super) struct Link(Arc<Mutex<Inner>>);

struct Inner {
    io: Option<Io>,
    worker: Arc<HttpWorker>,
    out: Option<Buffer>,
    meter: Meter,
    /// Since when the socket takes nothing of what is to be written.
    stalled_since: Option<Instant>,
    /// Since when a header block is not complete.
    block_since: Option<Instant>,
}

/// What the driver wants to know of a connection.
pub(super) struct State {
    pub(super) verdict: Verdict,
    pub(super) stalled_since: Option<Instant>,
    pub(super) block_since: Option<Instant>,
}

impl Link {
    pub(super) fn new(io: Io, worker: Arc<HttpWorker>, meter: Meter) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            io: Some(io),
            worker,
            out: None,
            meter,
            stalled_since: None,
            block_since: None,
        })))
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        // One task's alone; each critical section leaves whole data behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what has been collected.
    pub(super) fn poll_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.locked().poll_out(cx)
    }

    pub(super) fn state(&self) -> State {
        let inner = self.locked();
        State {
            verdict: inner.meter.verdict(),
            stalled_since: inner.stalled_since,
            block_since: inner.block_since,
        }
    }

    /// Takes the connection back, once the library is done with it.
    pub(super) fn into_io(self) -> Option<Io> {
        let mut inner = self.locked();
        if let Some(out) = inner.out.take() {
            inner.worker.base.spares.buffers.put(out);
        }
        inner.io.take()
    }
}

impl Inner {
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (Some(io), Some(out)) = (&mut self.io, &mut self.out) else { return Poll::Ready(Ok(())) };
        while !out.is_empty() {
            let Poll::Ready(result) = io.socket.poll_write(cx, out.filled()) else {
                self.stalled_since.get_or_insert_with(Instant::now);
                return Poll::Pending;
            };
            let count = result?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            // What it says is looked at when the task is done with what it is doing.
            let _verdict = self.meter.sent(&out.filled()[..count], Instant::now());
            out.consume(count);
            self.stalled_since = None;
        }
        if let Some(out) = self.out.take() {
            self.worker.base.spares.buffers.put(out);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(())) };
        if self.meter.verdict() != Verdict::Pass {
            return Poll::Pending;
        }
        let buffers = &self.worker.base.spares.buffers;
        if io.is_empty() && ready!(io.poll_fill(cx, buffers))? == 0 {
            return Poll::Ready(Ok(()));
        }
        let filled = io.filled();
        let bytes = &filled[..filled.len().min(room.remaining())];
        room.put_slice(bytes);
        let now = Instant::now();
        let verdict = self.meter.received(bytes, now);
        match self.meter.is_in_block() {
            true => _ = self.block_since.get_or_insert(now),
            false => self.block_since = None,
        }
        let count = bytes.len();
        io.consume(count);
        io.release(buffers);
        if verdict != Verdict::Pass {
            // Nothing more is read of it: the library is not to work on what follows.
            cx.waker().wake_by_ref();
            room.clear();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Collects bytes; none are taken while the buffer is full and the socket takes nothing.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.out.as_mut().is_some_and(|out| out.room().is_empty()) {
            ready!(self.poll_out(cx))?;
        }
        let buffers = &self.worker.base.spares.buffers;
        let out = self.out.get_or_insert_with(|| buffers.take());
        let room = out.room();
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        out.advance(count);
        Poll::Ready(Ok(count))
    }
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.locked().poll_read(cx, room)
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.locked().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.locked();
        let mut taken = 0;
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            match inner.poll_write(cx, piece) {
                Poll::Ready(Ok(count)) => taken += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if taken == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
            if inner.out.as_mut().is_some_and(|out| out.room().is_empty()) {
                break;
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing: bytes go out when the driver says so.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Writes what is left. The socket stays open: it is closed as carefully as one of HTTP/1.1.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.locked().poll_out(cx)
    }
}
