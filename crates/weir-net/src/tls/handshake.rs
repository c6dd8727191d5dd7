//! What a handshake is on either side: records written and read until both sides agree.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use weir_task::Deadline;

use super::facts::TlsFacts;
use super::handshakes::Permit;
use super::session::{Bytes, Session, Wish};
use super::{TlsFailure, TlsStream, served};
use crate::{BUFFER_BYTES, Buffer, Buffers, ConnectionHandle, Socket, Worker};

/// Most bytes that are received within a handshake: a chain of certificates may be 64 KiB long.
const HANDSHAKE_BYTES_MAX: usize = 128 << 10;

/// A handshake that is under way.
pub(super) struct Handshake {
    pub(super) socket: Socket,
    pub(super) bytes: Bytes,
    /// What the certificate that was served is called.
    pub(super) certificate: Option<Arc<str>>,
    /// Bytes received so far.
    count: usize,
}

/// Who may end a handshake beside its two sides.
pub(super) struct Watch<'w> {
    pub(super) worker: &'w Worker,
    pub(super) deadline: &'w Deadline,
    pub(super) permit: Option<Permit<'w>>,
    /// Who may ask for the connection's descriptor.
    pub(super) handle: Option<&'w ConnectionHandle>,
    /// Whether a client that has said nothing was told to hurry.
    pub(super) is_hurried: AtomicBool,
}

/// How long a client that has said nothing may still take once the gateway drains.
const SILENT_WHILE_DRAINING: Duration = Duration::from_secs(1);

impl Watch<'_> {
    /// A client that has said nothing does not hold a drain up.
    pub(super) fn hurry(&self) {
        if !self.is_hurried.swap(true, Ordering::Relaxed) {
            self.deadline.set(Instant::now(), SILENT_WHILE_DRAINING);
        }
    }

    /// Ready when the handshake must not go on; asked whenever it waits.
    pub(super) fn poll_over(&self, cx: &Context<'_>) -> Poll<TlsFailure> {
        // Asked first, so that who gives it up later finds a waker.
        let is_late = self.deadline.is_expired(cx);
        if self.worker.is_stopping() {
            Poll::Ready(TlsFailure::Stopping)
        } else if self.permit.as_ref().is_some_and(Permit::is_given_up)
            || self.handle.is_some_and(ConnectionHandle::should_close)
        {
            Poll::Ready(TlsFailure::GivenUp)
        } else if is_late {
            Poll::Ready(TlsFailure::TimedOut)
        } else {
            Poll::Pending
        }
    }
}

impl Handshake {
    pub(super) fn new(socket: Socket, ahead: Option<Buffer>, buffers: &Buffers) -> Self {
        let count = ahead.as_ref().map_or(0, |ahead| ahead.filled().len());
        let bytes = Bytes { received: ahead, plain: None, outgoing: None, buffers: buffers.clone() };
        Self { socket, bytes, certificate: None, count }
    }

    /// Works until both sides agree, or something speaks against it.
    pub(super) async fn run(&mut self, session: &mut Session, watch: &Watch<'_>) -> Result<(), TlsFailure> {
        poll_fn(|cx| match self.poll(session, cx) {
            Poll::Pending => watch.poll_over(cx).map(Err),
            done => done,
        })
        .await
    }

    /// What was received and not yet understood.
    pub(super) fn received(&self) -> &[u8] {
        self.bytes.received.as_ref().map_or(&[], Buffer::filled)
    }

    /// The stream that it was for.
    pub(super) fn into_socket(self, session: Session, facts: TlsFacts) -> Socket {
        Socket::Tls(Box::new(TlsStream::new(self.socket, session, self.bytes, facts)))
    }

    fn poll(&mut self, session: &mut Session, cx: &mut Context<'_>) -> Poll<Result<(), TlsFailure>> {
        loop {
            let turn = session.run(&mut self.bytes, Wish::Read);
            self.certificate = served::take().or(self.certificate.take());
            if let Err(error) = turn {
                // The peer is told why, if it takes it at once.
                let _told = self.poll_flush(cx);
                return Poll::Ready(Err(TlsFailure::Protocol(error)));
            }
            ready!(self.poll_flush(cx)).map_err(TlsFailure::Io)?;
            if !session.state().is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Reads more behind what is there; holds no buffer while nothing came.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TlsFailure>> {
        if self.count >= HANDSHAKE_BYTES_MAX {
            return Poll::Ready(Err(TlsFailure::TooLong));
        }
        if self.bytes.received.as_ref().is_none_or(Buffer::is_empty) {
            self.put_received();
            ready!(self.socket.poll_readable(cx)).map_err(TlsFailure::Io)?;
        }
        let received = self.bytes.received.get_or_insert_with(|| self.bytes.buffers.take());
        if received.room().is_empty() {
            received.grow(received.size() + BUFFER_BYTES);
        }
        match ready!(self.socket.poll_read(cx, received)) {
            Ok(0) => Poll::Ready(Err(TlsFailure::Closed)),
            Ok(count) => {
                self.count += count;
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(TlsFailure::Io(error))),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(outgoing) = self.bytes.outgoing.as_mut().filter(|outgoing| !outgoing.is_empty()) {
            let count = ready!(self.socket.poll_write(cx, outgoing.filled()))?;
            outgoing.consume(count);
        }
        if let Some(empty) = self.bytes.outgoing.take() {
            self.bytes.buffers.put(empty);
        }
        Poll::Ready(Ok(()))
    }

    fn put_received(&mut self) {
        if let Some(received) = self.bytes.received.take() {
            self.bytes.buffers.put(received);
        }
    }
}
