use std::io;
use std::task::{Context, Poll, ready};

use weir_net::{BUFFER_BYTES, Buffer, Buffers, LARGE_BUFFER_BYTES, Socket};

/// A socket with the bytes that were read from it and not yet used; holds no buffer while there are none.
#[derive(Debug)]
pub(crate) struct Io {
    pub(crate) socket: Socket,
    buffer: Option<Buffer>,
}

impl Io {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { socket, buffer: None }
    }

    /// The bytes that were read and not yet used.
    #[inline]
    pub(crate) fn filled(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], Buffer::filled)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.as_ref().is_none_or(Buffer::is_empty)
    }

    pub(crate) fn consume(&mut self, count: usize) {
        if let Some(buffer) = &mut self.buffer {
            buffer.consume(count);
        }
    }

    /// Reads more behind what is there; 0 at the end of the stream. There must be room.
    #[inline]
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, buffers: &Buffers) -> Poll<io::Result<usize>> {
        if self.buffer.is_none() {
            ready!(self.socket.poll_readable(cx))?;
        }
        let buffer = self.buffer.get_or_insert_with(|| buffers.take());
        let result = self.socket.poll_read(cx, buffer);
        if result.is_pending() || buffer.is_empty() {
            self.release(buffers);
        }
        result
    }

    /// The same where a long body is copied: reads up to 64 KiB at once. What was read must have been used.
    pub(crate) fn poll_fill_large(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        ready!(self.socket.poll_readable(cx))?;
        let buffer = self.buffer.get_or_insert_with(|| buffers.take_large());
        if buffer.size() < LARGE_BUFFER_BYTES {
            buffers.put(std::mem::replace(buffer, buffers.take_large()));
        }
        // Whole records of TLS, where it is written so.
        let result = self.socket.poll_read_some(cx, buffer, 4 * BUFFER_BYTES);
        if result.is_pending() || buffer.is_empty() {
            self.release(buffers);
        }
        result
    }

    /// Has a buffer ready: for a read that is known to find something.
    pub(crate) fn expect(&mut self, buffers: &Buffers) {
        self.buffer.get_or_insert_with(|| buffers.take());
    }

    /// Whether [`poll_fill`](Self::poll_fill) may be called.
    pub(crate) fn has_room(&mut self) -> bool {
        self.buffer.as_mut().is_none_or(|buffer| !buffer.room().is_empty())
    }

    /// Makes room for a head of up to `bytes_max`; whether there is room now.
    pub(crate) fn make_room(&mut self, bytes_max: usize) -> bool {
        self.has_room() || self.buffer.as_mut().is_some_and(|buffer| buffer.grow(bytes_max))
    }

    /// Gives an empty buffer back.
    pub(crate) fn release(&mut self, buffers: &Buffers) {
        if self.is_empty()
            && let Some(buffer) = self.buffer.take()
        {
            buffers.put(buffer);
        }
    }

    /// Takes the bytes that were read and not yet used, for a relay.
    pub(crate) fn take_buffer(&mut self, buffers: &Buffers) -> Buffer {
        self.buffer.take().unwrap_or_else(|| buffers.take())
    }

    /// Forgets the bytes that were read and not yet used, and gives the buffer back.
    pub(crate) fn drop_bytes(&mut self, buffers: &Buffers) {
        if let Some(buffer) = self.buffer.take() {
            buffers.put(buffer);
        }
    }
}
