use std::io;
use std::task::{Context, Poll, ready};

use weir_net::{Buffer, Buffers, Socket};
use weir_wire::websocket::{
    Close, CloseCode, Decoder, Mask, Opcode, Piece, Role, WebSocketError, close_frame, frame_header,
    pong_frame,
};

/// Longest payload of a message that we send: below the 32 KiB that some readers of Go take at most.
pub(super) const MESSAGE_BYTES_MAX: usize = 32_760;

/// What is gathered before it is written: two messages.
const BATCH_BYTES: usize = 2 * MESSAGE_BYTES_MAX;

/// The longest header of a message of a client: two bytes, a length of two and a mask.
const HEADER_ROOM_MAX: usize = 8;

/// The connection under a session: WebSocket messages in and out, in batches. Holds no buffer while nothing flows.
pub(super) struct Link {
    socket: Socket,
    role: Role,
    decoder: Decoder,
    received: Option<Buffer>,
    /// Whether what was received has not been looked at.
    is_fresh: bool,
    /// What is to be written, from `written` on.
    batch: Vec<u8>,
    written: usize,
    /// The latest ping that waits to be answered; older ones need no answer (RFC 6455 section 5.5.3).
    ping: Option<Box<[u8]>>,
    buffers: Buffers,
}

/// What the peer sent.
pub(super) enum Arrived<'a> {
    Data(&'a [u8]),
    Closed,
}

/// Why nothing more can be read.
pub(super) enum LinkError {
    Io(io::Error),
    Ended,
    Protocol(WebSocketError),
}

impl Link {
    pub(super) fn new(socket: Socket, role: Role, ahead: &[u8], buffers: Buffers) -> Self {
        let received = (!ahead.is_empty()).then(|| {
            let mut buffer = buffers.take_large();
            buffer.extend(ahead);
            buffer
        });
        Self {
            socket,
            role,
            decoder: Decoder::new(role),
            is_fresh: received.is_some(),
            received,
            batch: Vec::new(),
            written: 0,
            ping: None,
            buffers,
        }
    }

    /// Reads once and hands over what came, piece by piece, until `take` wants no more.
    pub(super) fn poll_read<E: From<LinkError>>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Arrived<'_>) -> Result<(), E>,
    ) -> Poll<Result<(), E>> {
        if !std::mem::take(&mut self.is_fresh) {
            ready!(self.poll_fill(cx))?;
        }
        let Some(buffer) = &mut self.received else { return Poll::Ready(Ok(())) };
        loop {
            let step = self.decoder.step(buffer.filled_mut()).map_err(LinkError::Protocol)?;
            let bytes = buffer.filled();
            match step.piece {
                Piece::Incomplete => {
                    buffer.consume(step.used);
                    return Poll::Ready(Ok(()));
                }
                Piece::Data(place) => take(Arrived::Data(&bytes[place]))?,
                Piece::Ping(place) => self.ping = Some(bytes[place].into()),
                Piece::Pong(_) => {}
                Piece::Close(Close { .. }) => take(Arrived::Closed)?,
            }
            buffer.consume(step.used);
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        if self.received.is_none() {
            ready!(self.socket.poll_readable(cx)).map_err(LinkError::Io)?;
        }
        let buffer = self.received.get_or_insert_with(|| self.buffers.take_large());
        match self.socket.poll_read(cx, buffer) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(LinkError::Ended)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(LinkError::Io(error))),
            Poll::Pending => {
                if buffer.is_empty()
                    && let Some(buffer) = self.received.take()
                {
                    self.buffers.put(buffer);
                }
                Poll::Pending
            }
        }
    }

    /// Whether more may be gathered: nothing waits to be written.
    pub(super) fn is_flushed(&self) -> bool {
        self.written == self.batch.len()
    }

    /// Gathers messages; `fill` puts frames of at most so many bytes behind what it is given, as long as it has any.
    /// Whether there is anything to write.
    pub(super) fn gather(&mut self, mut fill: impl FnMut(&mut Vec<u8>, usize)) -> bool {
        debug_assert!(self.is_flushed(), "what was gathered is written first");
        self.batch.clear();
        self.written = 0;
        if let Some(ping) = self.ping.take() {
            self.batch.extend_from_slice(pong_frame(self.mask(), &ping).as_slice());
        }
        while self.batch.len() + MESSAGE_BYTES_MAX <= BATCH_BYTES + HEADER_ROOM_MAX {
            let start = self.batch.len();
            if self.batch.capacity() == 0 {
                self.batch.reserve(BATCH_BYTES + 4 * HEADER_ROOM_MAX);
            }
            let payload = start + self.header_room();
            self.batch.resize(payload, 0);
            fill(&mut self.batch, MESSAGE_BYTES_MAX);
            if self.batch.len() == payload {
                self.batch.truncate(start);
                break;
            }
            self.seal(start, payload);
        }
        if self.batch.is_empty() {
            // An idle session holds no memory for what it may send.
            self.batch = Vec::new();
        }
        !self.batch.is_empty()
    }

    /// Says why the connection is closed, as the last thing.
    pub(super) fn gather_close(&mut self, code: CloseCode, reason: &str) {
        let frame = close_frame(self.mask(), Some(code), reason);
        self.batch.extend_from_slice(frame.as_slice());
    }

    /// Writes what was gathered; ready when all of it is with the kernel. Whether any of it went.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, has_moved: &mut bool) -> Poll<io::Result<()>> {
        while self.written < self.batch.len() {
            let count = ready!(self.socket.poll_write(cx, &self.batch[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *has_moved = true;
            self.written += count;
        }
        Poll::Ready(Ok(()))
    }

    /// Makes the close of the connection a reset: the peer is gone.
    pub(super) fn abort(&mut self) {
        self.socket.reset_on_close();
    }

    /// Puts the header in front of a message's payload.
    fn seal(&mut self, start: usize, payload: usize) {
        let mask = self.mask();
        if let Some(mask) = mask {
            mask.apply(&mut self.batch[payload..], 0);
        }
        let length = self.batch.len() - payload;
        let header = frame_header(Opcode::Binary, mask, length as u64);
        let header = header.as_slice();
        self.batch[start..start + header.len()].copy_from_slice(header);
        // A short message has a short header.
        let gap = payload - start - header.len();
        if gap > 0 {
            self.batch.copy_within(payload.., payload - gap);
            self.batch.truncate(payload - gap + length);
        }
    }

    const fn header_room(&self) -> usize {
        match self.role {
            Role::Client => HEADER_ROOM_MAX,
            Role::Server => HEADER_ROOM_MAX - 4,
        }
    }

    /// Not foretold by who knows the payload; more is not asked where no foreign script chooses it.
    fn mask(&self) -> Option<Mask> {
        (self.role == Role::Client).then(|| Mask::new(fastrand::u32(..).to_ne_bytes()))
    }
}
