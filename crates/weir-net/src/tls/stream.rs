use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use super::facts::TlsFacts;
use super::session::{Bytes, Session, Turn, Wish};
use crate::{BUFFER_BYTES, Buffer, Buffers, LARGE_BUFFER_BYTES, Socket};

/// A byte stream within TLS; its handshake is over.
///
/// Each record that comes is decrypted where it was read. While nothing comes no buffer is held, but for the bytes of a
/// record that has not come whole. What is written goes out in records of 16 KiB, up to four to a system call.
#[derive(Debug)]
pub struct TlsStream {
    socket: Socket,
    session: Session,
    bytes: Bytes,
    /// Whether something was received since the session needed more.
    is_fresh: bool,
    /// Whether so much comes that it is worth a large buffer.
    is_bulk: bool,
    /// Bytes of a write whose records are among the outgoing ones.
    owed: usize,
    /// Whether the kernel has taken some of them; of no meaning while nothing is owed.
    has_sent_part: bool,
    reading: Reading,
    writing: Writing,
    facts: Arc<TlsFacts>,
}

/// Most bytes of one write that are encrypted at once.
const WRITE_BYTES_MAX: usize = 4 * BUFFER_BYTES;

/// Most bytes of a handshake message, with the records that it may be spread over; rustls refuses those longer than
/// 64 KiB.
const RECEIVED_BYTES_MAX: usize = 4 * LARGE_BUFFER_BYTES;

/// How much more there is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Open,
    /// The peer said that nothing more will come.
    Ended,
    /// The connection ended without a word, so that nobody knows whether something is missing.
    Truncated,
    /// The session is broken.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    Open,
    /// The peer is told, or is about to be, that nothing more will come.
    Ended,
    /// The connection is to be reset, or is broken: the peer is told nothing.
    Given,
}

impl TlsStream {
    /// A session whose handshake is over.
    pub(super) fn new(socket: Socket, session: Session, bytes: Bytes, facts: TlsFacts) -> Self {
        Self {
            socket,
            session,
            bytes,
            is_fresh: true,
            is_bulk: false,
            owed: 0,
            has_sent_part: false,
            reading: Reading::Open,
            writing: Writing::Open,
            facts: Arc::new(facts),
        }
    }

    /// What the handshake has settled.
    pub fn facts(&self) -> &Arc<TlsFacts> {
        &self.facts
    }

    /// The socket underneath.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The memory that its buffers take.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let bytes = &self.bytes;
        [&bytes.received, &bytes.plain, &bytes.outgoing].into_iter().flatten().map(Buffer::size).sum()
    }

    /// The connection is going to be reset: it must not look ended.
    pub(crate) fn give_up(&mut self) {
        self.writing = Writing::Given;
    }

    pub(crate) fn poll_read_some(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        max: usize,
    ) -> Poll<io::Result<usize>> {
        let mut count = 0;
        loop {
            if count == max || buffer.room().is_empty() {
                return Poll::Ready(Ok(count));
            }
            if self.has_plain() {
                count += self.take_plain(buffer, max - count);
            } else if self.is_fresh {
                let has_room = max - count >= BUFFER_BYTES && buffer.room().len() >= BUFFER_BYTES;
                match if has_room { self.understand_into(buffer) } else { self.understand().map(|_| 0) } {
                    Ok(taken) => count += taken,
                    // What fails behind this is told by the next call.
                    Err(_) if count > 0 => return Poll::Ready(Ok(count)),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            } else if count > 0 || self.is_over()? {
                return Poll::Ready(Ok(count));
            } else {
                ready!(self.poll_receive(cx))?;
            }
        }
    }

    pub(crate) fn poll_read_buf(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_readable(cx))?;
        while self.has_plain() && into.remaining() > 0 {
            if let Some(plain) = &mut self.bytes.plain {
                let count = plain.filled().len().min(into.remaining());
                into.put_slice(&plain.filled()[..count]);
                plain.consume(count);
            }
            if !self.has_plain() && self.understand().is_err() {
                // Told by the next call.
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until there is something to take, the end, or an error: what the session says to itself, as a new ticket,
    /// is none of them.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.found()?.is_some() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Reads without waiting, and without a system call where the runtime has not heard of anything to read.
    pub(crate) fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let found = self.try_plain(Socket::try_read)?;
        if !found {
            return Ok(0);
        }
        let Some(plain) = &mut self.bytes.plain else { return Ok(0) };
        let count = plain.filled().len().min(bytes.len());
        bytes[..count].copy_from_slice(&plain.filled()[..count]);
        plain.consume(count);
        Ok(count)
    }

    /// Whether nothing came but what the session says to itself; asks the kernel.
    pub(crate) fn is_silent(&mut self) -> bool {
        let found = self.try_plain(Socket::receive_now);
        let nothing = matches!(found, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        nothing && self.bytes.received.is_none()
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, content: &[u8]) -> Poll<io::Result<usize>> {
        if content.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.owed == 0 {
            self.seal(&content[..content.len().min(WRITE_BYTES_MAX)])?;
        }
        debug_assert!(self.owed <= content.len(), "what waits is offered again");
        ready!(self.poll_flush(cx))?;
        Poll::Ready(Ok(std::mem::take(&mut self.owed).min(content.len())))
    }

    /// Small pieces go out as one record.
    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = pieces.iter().filter(|piece| !piece.is_empty());
        let (Some(first), Some(second)) = (filled.next(), filled.next()) else {
            let only = pieces.iter().find(|piece| !piece.is_empty());
            return only.map_or(Poll::Ready(Ok(0)), |piece| self.poll_write(cx, piece));
        };
        if self.owed == 0 && first.len() < BUFFER_BYTES {
            let mut joined = self.bytes.buffers.take();
            for piece in [first, second].into_iter().chain(filled) {
                let room = joined.room();
                let count = room.len().min(piece.len());
                room[..count].copy_from_slice(&piece[..count]);
                joined.advance(count);
            }
            let sealed = self.seal(joined.filled());
            self.bytes.buffers.put(joined);
            sealed?;
        } else if self.owed == 0 {
            return self.poll_write(cx, first);
        }
        ready!(self.poll_flush(cx))?;
        Poll::Ready(Ok(std::mem::take(&mut self.owed)))
    }

    /// Whether the kernel has taken a part of a write that is not over, or has failed: the peer may have read it.
    pub(crate) const fn has_sent_part(&self) -> bool {
        self.owed > 0 && self.has_sent_part
    }

    /// Tells the peer that nothing more will come, and ends the writing direction of the socket.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.say_end();
        // A peer that takes nothing any more has no use for the end of it.
        let _gone = ready!(self.poll_flush(cx));
        self.socket.poll_shutdown(cx)
    }

    /// Reads more records; nothing is held while none come.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.owed == 0 && self.bytes.outgoing.is_some() {
            // What the session has to say by itself; the rest of it goes with the next write.
            let _waits = self.poll_flush(cx);
        }
        let Poll::Ready(readable) = self.socket.poll_readable(cx) else {
            self.stow();
            return Poll::Pending;
        };
        readable?;
        self.make_room()?;
        let received = self.bytes.received.as_mut().expect("just made");
        let room = received.room().len();
        let Poll::Ready(read) = self.socket.poll_read(cx, received) else {
            self.stow();
            return Poll::Pending;
        };
        self.took(room, read?);
        Poll::Ready(Ok(()))
    }

    /// Looks for something to take without waiting, reading by `receive`; false at the end.
    fn try_plain(
        &mut self,
        receive: impl Fn(&mut Socket, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        loop {
            if let Some(found) = self.found()? {
                return Ok(found);
            }
            self.make_room()?;
            let received = self.bytes.received.as_mut().expect("just made");
            let room = received.room();
            let size = room.len();
            match receive(&mut self.socket, room) {
                Ok(count) => {
                    received.advance(count);
                    self.took(size, count);
                }
                Err(error) => {
                    self.stow();
                    return Err(error);
                }
            }
        }
    }

    /// Whether there is something to take, false at the end; none where that is not known without reading.
    fn found(&mut self) -> io::Result<Option<bool>> {
        while !self.has_plain() {
            if !self.is_fresh {
                return Ok(self.is_over()?.then_some(false));
            }
            self.understand()?;
        }
        Ok(Some(true))
    }

    /// Whether something was understood and not yet taken; a record without content is nothing.
    fn has_plain(&mut self) -> bool {
        if self.bytes.plain.as_ref().is_some_and(Buffer::is_empty)
            && let Some(plain) = self.bytes.plain.take()
        {
            self.bytes.buffers.put(plain);
        }
        self.bytes.plain.is_some()
    }

    /// Whether nothing more will come.
    fn is_over(&self) -> io::Result<bool> {
        match self.reading {
            Reading::Open => Ok(false),
            Reading::Ended => Ok(true),
            Reading::Truncated => Err(io::ErrorKind::UnexpectedEof.into()),
            Reading::Broken => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// `count` bytes came into so much room.
    fn took(&mut self, room: usize, count: usize) {
        self.is_fresh = true;
        self.is_bulk = if count == room { true } else { self.is_bulk && count >= BUFFER_BYTES };
        if count == 0 {
            self.is_fresh = false;
            self.reading = Reading::Truncated;
            self.put_received();
        }
    }

    /// Lets the session work on one record, or on as many as belong together.
    fn understand(&mut self) -> io::Result<()> {
        match self.session.run(&mut self.bytes, Wish::Read) {
            Ok(Turn::Plain) => Ok(()),
            Ok(Turn::PeerClosed | Turn::Closed) => {
                self.ended();
                Ok(())
            }
            Ok(Turn::Blocked | Turn::Done) => {
                self.is_fresh = false;
                Ok(())
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// The same, its content straight behind what is in `buffer`, which has room for a record; how much that was.
    fn understand_into(&mut self, buffer: &mut Buffer) -> io::Result<usize> {
        let before = buffer.filled().len();
        self.bytes.plain = Some(std::mem::replace(buffer, Buffer::exact(&[])));
        let understood = self.understand();
        if let Some(lent) = self.bytes.plain.take() {
            *buffer = lent;
        }
        understood.map(|()| buffer.filled().len() - before)
    }

    /// The peer has said its last word; what stands behind it is to be ignored (RFC 8446, section 6.1).
    fn ended(&mut self) {
        self.reading = Reading::Ended;
        self.is_fresh = false;
        self.put_received();
    }

    /// Appends the records of `content` to the outgoing bytes.
    fn seal(&mut self, content: &[u8]) -> io::Result<()> {
        if self.writing != Writing::Open || self.reading == Reading::Broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        loop {
            match self.session.run(&mut self.bytes, Wish::Write(content)) {
                Ok(Turn::Done) => {
                    self.owed = content.len();
                    self.has_sent_part = false;
                    return Ok(());
                }
                Ok(Turn::PeerClosed) => self.ended(),
                Ok(Turn::Blocked | Turn::Plain | Turn::Closed) => {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    /// Queues the alert that says that nothing more will come.
    fn say_end(&mut self) {
        if self.writing != Writing::Open || self.reading == Reading::Broken {
            return;
        }
        self.writing = Writing::Ended;
        loop {
            match self.session.run(&mut self.bytes, Wish::Close) {
                Ok(Turn::PeerClosed) => self.ended(),
                Ok(_) => return,
                Err(error) => {
                    self.broken(&error);
                    return;
                }
            }
        }
    }

    /// The session cannot go on; the peer is told why, if it takes it at once.
    fn broken(&mut self, error: &rustls::Error) -> io::Error {
        self.reading = Reading::Broken;
        self.writing = Writing::Given;
        self.is_fresh = false;
        self.put_received();
        self.flush_now();
        io::Error::new(io::ErrorKind::InvalidData, error.clone())
    }

    /// Writes the outgoing bytes.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(outgoing) = &mut self.bytes.outgoing {
            if outgoing.is_empty() {
                let empty = self.bytes.outgoing.take();
                empty.into_iter().for_each(|buffer| self.bytes.buffers.put(buffer));
                break;
            }
            match self.socket.poll_write(cx, outgoing.filled()) {
                Poll::Ready(Ok(count)) => {
                    outgoing.consume(count);
                    self.has_sent_part = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    shrink(&mut self.bytes.outgoing, &self.bytes.buffers);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes of the outgoing bytes what the kernel takes at once.
    fn flush_now(&mut self) {
        if let Some(outgoing) = self.bytes.outgoing.take() {
            // Nobody waits for it: it is said in passing.
            self.socket.send_now(outgoing.filled());
            self.bytes.buffers.put(outgoing);
        }
    }

    /// Moves what there is to take into `buffer`.
    fn take_plain(&mut self, buffer: &mut Buffer, max: usize) -> usize {
        let Some(plain) = &mut self.bytes.plain else { return 0 };
        let filled = plain.filled().len();
        if buffer.is_empty() && filled <= max && buffer.size() == plain.size() {
            // The buffers change places, and nothing is copied.
            std::mem::swap(buffer, plain);
            return filled;
        }
        let room = buffer.room();
        let count = filled.min(max).min(room.len());
        room[..count].copy_from_slice(&plain.filled()[..count]);
        buffer.advance(count);
        plain.consume(count);
        count
    }

    /// Room for more received bytes.
    fn make_room(&mut self) -> io::Result<()> {
        let buffers = &self.bytes.buffers;
        let received = self
            .bytes
            .received
            .get_or_insert_with(|| if self.is_bulk { buffers.take_large() } else { buffers.take() });
        if received.room().is_empty() {
            if received.size() < LARGE_BUFFER_BYTES {
                let mut larger =
                    if received.size() < BUFFER_BYTES { buffers.take() } else { buffers.take_large() };
                larger.extend(received.filled());
                buffers.put(std::mem::replace(received, larger));
            } else if !received.grow(RECEIVED_BYTES_MAX) {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(())
    }

    /// Holds no more memory than what was received needs.
    fn stow(&mut self) {
        shrink(&mut self.bytes.received, &self.bytes.buffers);
        self.has_plain();
    }

    fn put_received(&mut self) {
        if let Some(received) = self.bytes.received.take() {
            self.bytes.buffers.put(received);
        }
    }
}

/// Puts an empty buffer back, and one that is mostly empty for one that just holds its bytes.
fn shrink(held: &mut Option<Buffer>, buffers: &Buffers) {
    let Some(buffer) = held.take() else { return };
    if !buffer.is_empty() && buffer.filled().len() > buffer.size() / 2 {
        *held = Some(buffer);
        return;
    }
    if !buffer.is_empty() {
        *held = Some(Buffer::exact(buffer.filled()));
    }
    buffers.put(buffer);
}

impl Drop for TlsStream {
    /// Says goodbye, so that the peer knows that it has the whole; not where the connection is to be reset.
    fn drop(&mut self) {
        if self.owed == 0 && self.bytes.outgoing.is_none() {
            self.say_end();
            self.flush_now();
        }
    }
}
