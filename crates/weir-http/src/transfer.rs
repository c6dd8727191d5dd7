mod chunk_writer;

use std::io;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use weir_net::{Buffer, Buffers, Pipe, Socket, Spares};
use weir_wire::http1::{Body, Chunk, ChunkError, ChunkedDecoder, Head};

use chunk_writer::ChunkWriter;

use crate::io::Io;
use crate::trailers::{Denied, TrailerRules};

/// One direction of one body: read as the source frames it, written as the sink needs it.
///
/// Never holds more than one buffer of data: the source is read only when the sink has taken what was read
/// before, which is all the back-pressure there is. Lengths pass without copying; chunks are always re-made.
#[derive(Debug)]
pub(crate) struct Transfer {
    source: Source,
    sink: Sink,
    /// Bytes for the sink that do not stand in the source's buffer: a re-made chunk, trailers, the last chunk.
    encoded: Option<Buffer>,
    /// What a long body passes through without being copied.
    pipe: Option<Pipe>,
    spliced: bool,
    /// Body bytes taken from the source.
    pub(crate) bytes: u64,
    /// Most body bytes allowed.
    limit: u64,
    blocked: Side,
    moved: bool,
    since: Instant,
}

#[derive(Debug)]
enum Source {
    Length(u64),
    Chunked(Box<Chunks>),
    UntilClose,
    Finished,
}

#[derive(Debug, Default)]
struct Chunks {
    decoder: ChunkedDecoder,
    trailers: TrailerRules,
}

/// How the body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sink {
    /// As it is: the length was announced, or the end of the connection tells it.
    Raw,
    /// In chunks, with trailers.
    Chunked,
    /// Not at all: it is read and forgotten.
    Discard,
}

/// Shortest rest of a body that is spliced: below it the pipe costs more than the copying.
const SPLICE_BYTES_MIN: u64 = 128 << 10;

/// Most body bytes that one look moves before other tasks of the worker get their turn: about a millisecond's work.
const TURN_BYTES: u64 = 4 << 20;

/// Which end a transfer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Sink,
}

/// Why a transfer cannot go on.
#[derive(Debug)]
pub(crate) enum TransferError {
    /// The source ended before its body did.
    SourceEnded,
    SourceFailed(#[allow(dead_code, reason = "shown by Debug")] io::Error),
    SourceMalformed(ChunkError),
    /// More bytes than the limit.
    TooLarge,
    /// A trailer that a policy denies; the last chunk was not written.
    TrailerDenied,
    SinkFailed(#[allow(dead_code, reason = "shown by Debug")] io::Error),
}

/// Sees the bytes that were written to the sink.
pub(crate) trait Tap {
    fn wrote(&mut self, bytes: &[u8]);

    /// Whether that many bytes may pass unseen.
    fn lets_pass(&mut self, count: u64) -> bool;
}

impl Tap for () {
    fn wrote(&mut self, _: &[u8]) {}

    fn lets_pass(&mut self, _: u64) -> bool {
        true
    }
}

impl Transfer {
    pub(crate) fn new(body: Body, sink: Sink, limit: u64, now: Instant) -> Self {
        let source = match body {
            Body::Empty => Source::Finished,
            Body::Length(length) => Source::Length(length),
            Body::Chunked => Source::Chunked(Box::default()),
            Body::UntilClose => Source::UntilClose,
        };
        Self {
            source,
            sink,
            encoded: None,
            pipe: None,
            spliced: false,
            bytes: 0,
            limit,
            blocked: Side::Source,
            moved: false,
            since: now,
        }
    }

    /// Sets the most body bytes allowed.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Sets what is done to trailers before they are written.
    pub(crate) fn guard_trailers(&mut self, rules: &TrailerRules) {
        if let Source::Chunked(chunks) = &mut self.source
            && !rules.is_empty()
        {
            chunks.trailers = rules.clone();
        }
    }

    /// What is known of the bytes that are still to come from the source: `None` where only its end will tell.
    pub(crate) fn left(&self) -> Option<u64> {
        match &self.source {
            Source::Finished => Some(0),
            Source::Length(left) => Some(*left),
            Source::Chunked(_) | Source::UntilClose => None,
        }
    }

    /// Whether the source's body was read to its end and all of it written.
    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.source, Source::Finished) && self.encoded.is_none()
    }

    /// Whether the source's body was read to its end.
    pub(crate) fn source_finished(&self) -> bool {
        matches!(self.source, Source::Finished)
    }

    /// From now on the rest is read and forgotten.
    pub(crate) fn discard(&mut self, spares: &Spares) {
        self.sink = Sink::Discard;
        if let (Some(pipe), Source::Length(left)) = (&self.pipe, &mut self.source) {
            // Already read from the source, and with the pipe forgotten.
            *left -= pipe.filled() as u64;
            if *left == 0 {
                self.source = Source::Finished;
            }
        }
        self.free(spares);
    }

    /// When the wait for the end that blocks began, and which end that is.
    pub(crate) fn waiting(&mut self, now: Instant) -> (Side, Instant) {
        if std::mem::take(&mut self.moved) {
            self.since = now;
        }
        (self.blocked, self.since)
    }

    /// When the current wait expires, given how long each end may take.
    pub(crate) fn due(&mut self, now: Instant, source: Duration, sink: Duration) -> Instant {
        match self.waiting(now) {
            (Side::Source, since) => since + source,
            (Side::Sink, since) => since + sink,
        }
    }

    /// What of the source's buffer can be written as it is.
    pub(crate) fn raw_ready(&self, filled: usize) -> usize {
        match (&self.source, self.sink) {
            (Source::Length(left), Sink::Raw) => usize::try_from(*left).unwrap_or(usize::MAX).min(filled),
            (Source::UntilClose, Sink::Raw) => filled,
            _ => 0,
        }
    }

    /// Accounts for bytes of [`raw_ready`](Self::raw_ready) that the caller has written itself.
    pub(crate) fn wrote_raw(&mut self, count: usize) {
        self.bytes += count as u64;
        self.moved = true;
        if let Source::Length(left) = &mut self.source {
            *left -= count as u64;
            if *left == 0 {
                self.source = Source::Finished;
            }
        }
    }

    /// Moves what can be moved; ready when the whole body is written.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Io,
        to: &mut Socket,
        spares: &Spares,
        tap: &mut impl Tap,
    ) -> Poll<Result<(), TransferError>> {
        let buffers = &spares.buffers;
        let turn = self.bytes.saturating_add(TURN_BYTES);
        loop {
            if self.bytes >= turn && !self.is_finished() {
                // Two fast ends would never make it wait, and everybody else would.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(encoded) = &mut self.encoded {
                self.blocked = Side::Sink;
                let count = ready!(to.poll_write(cx, encoded.filled())).map_err(TransferError::SinkFailed)?;
                tap.wrote(&encoded.filled()[..count]);
                encoded.consume(count);
                self.moved = true;
                if encoded.is_empty() {
                    self.free(spares);
                }
                continue;
            }
            if matches!(self.source, Source::Finished) {
                return Poll::Ready(Ok(()));
            }
            if !from.is_empty() {
                self.blocked = Side::Sink;
                let raw = self.raw_ready(from.filled().len());
                if raw > 0 {
                    self.allow(raw as u64)?;
                    let count = ready!(to.poll_write(cx, &from.filled()[..raw]))
                        .map_err(TransferError::SinkFailed)?;
                    tap.wrote(&from.filled()[..count]);
                    from.consume(count);
                    self.wrote_raw(count);
                    continue;
                }
                self.encode(from, buffers)?;
                continue;
            }
            let can_splice = from.socket.can_splice() && to.can_splice();
            if self.pipe.is_some() || (can_splice && self.is_spliced(tap)) {
                ready!(self.poll_pipe(cx, from, to, spares))?;
            } else {
                ready!(self.poll_source(cx, from, buffers))?;
            }
        }
    }

    /// Whether what is left is worth a pipe: long, and to be written as it is.
    fn is_spliced(&self, tap: &mut impl Tap) -> bool {
        match (&self.source, self.sink) {
            // Once begun it goes on to the last byte: falling back would cost a system call for each buffer.
            (Source::Length(left), Sink::Raw) => {
                self.spliced || (*left >= SPLICE_BYTES_MIN && tap.lets_pass(*left))
            }
            _ => false,
        }
    }

    /// Moves bytes from socket to socket within the kernel.
    fn poll_pipe(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Io,
        to: &mut Socket,
        spares: &Spares,
    ) -> Poll<Result<(), TransferError>> {
        let Source::Length(left) = self.source else { unreachable!("only lengths are spliced") };
        if self.pipe.is_none() {
            self.allow(left)?;
            // A pipe is held only while there is something in it: it costs two descriptors.
            self.blocked = Side::Source;
            ready!(from.socket.poll_readable(cx)).map_err(TransferError::SourceFailed)?;
            let Some(mut pipe) = spares.pipes.take() else {
                return self.poll_source(cx, from, &spares.buffers);
            };
            let max = usize::try_from(left).unwrap_or(usize::MAX);
            match pipe.poll_fill(cx, &from.socket, max) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.pipe = Some(pipe);
                    self.spliced = true;
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(TransferError::SourceEnded)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(TransferError::SourceFailed(error))),
                Poll::Pending => {
                    spares.pipes.put(pipe);
                    return Poll::Pending;
                }
            }
            self.moved = true;
        }
        let pipe = self.pipe.as_mut().expect("it was there or has just been filled");
        self.blocked = Side::Sink;
        let more = (pipe.filled() as u64) < left;
        let count = ready!(pipe.poll_drain(cx, to, more)).map_err(TransferError::SinkFailed)?;
        if pipe.filled() == 0
            && let Some(pipe) = self.pipe.take()
        {
            spares.pipes.put(pipe);
        }
        self.wrote_raw(count);
        Poll::Ready(Ok(()))
    }

    /// Reads what is left and forgets it; for a body that was told to be [discarded](Self::discard).
    pub(crate) fn poll_discard(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Io,
        buffers: &Buffers,
    ) -> Poll<Result<(), TransferError>> {
        debug_assert_eq!(self.sink, Sink::Discard, "there is no sink to write to");
        while !matches!(self.source, Source::Finished) {
            if from.is_empty() {
                ready!(self.poll_source(cx, from, buffers))?;
            } else {
                self.encode(from, buffers)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Io,
        buffers: &Buffers,
    ) -> Poll<Result<(), TransferError>> {
        self.blocked = Side::Source;
        let count = ready!(from.poll_fill(cx, buffers)).map_err(TransferError::SourceFailed)?;
        self.moved = true;
        if count == 0 {
            if !matches!(self.source, Source::UntilClose) {
                return Poll::Ready(Err(TransferError::SourceEnded));
            }
            self.source = Source::Finished;
            self.finish(&Head::default(), buffers);
        }
        Poll::Ready(Ok(()))
    }

    fn allow(&self, more: u64) -> Result<(), TransferError> {
        if self.bytes.saturating_add(more) > self.limit { Err(TransferError::TooLarge) } else { Ok(()) }
    }

    /// Turns buffered bytes of the source into one chunk for the sink, or drops them.
    fn encode(&mut self, from: &mut Io, buffers: &Buffers) -> Result<(), TransferError> {
        let mut out = (self.sink != Sink::Discard).then(|| ChunkWriter::new(buffers.take(), self.sink));
        loop {
            let room = out.as_ref().map_or(usize::MAX, ChunkWriter::room);
            if from.is_empty() || room == 0 {
                break;
            }
            let filled = from.filled();
            let filled = &filled[..filled.len().min(room)];
            let (taken, data, ended) = match &mut self.source {
                Source::Chunked(chunks) => {
                    match chunks.decoder.next(filled).map_err(TransferError::SourceMalformed)? {
                        Chunk::More => (filled.len(), 0..0, false),
                        Chunk::Data { start, end } => (end, start..end, false),
                        Chunk::End { end } => (end, 0..0, true),
                    }
                }
                Source::Length(left) => {
                    let count = filled.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= count as u64;
                    (count, 0..count, *left == 0)
                }
                Source::UntilClose => (filled.len(), 0..filled.len(), false),
                Source::Finished => break,
            };
            let count = data.len() as u64;
            if self.bytes.saturating_add(count) > self.limit {
                return Err(TransferError::TooLarge);
            }
            self.bytes += count;
            if let Some(out) = &mut out {
                out.push(&filled[data]);
            }
            from.consume(taken);
            if ended {
                self.end(out, buffers)?;
                return Ok(());
            }
        }
        self.moved = true;
        self.encoded = out.and_then(|out| out.into_buffer(buffers));
        Ok(())
    }

    /// The source's body is complete: what is left of it is encoded, with the trailers.
    fn end(&mut self, out: Option<ChunkWriter>, buffers: &Buffers) -> Result<(), TransferError> {
        let mut trailers = Head::default();
        let mut rules = TrailerRules::default();
        if let Source::Chunked(chunks) = &mut self.source {
            chunks.decoder.trailers(&mut trailers).map_err(TransferError::SourceMalformed)?;
            rules = std::mem::take(&mut chunks.trailers);
        }
        self.source = Source::Finished;
        if self.sink == Sink::Chunked {
            rules.apply(&mut trailers).map_err(|Denied| TransferError::TrailerDenied)?;
        }
        self.moved = true;
        self.encoded = out.and_then(|out| out.into_buffer(buffers));
        self.finish(&trailers, buffers);
        Ok(())
    }

    /// Appends the last chunk and the trailers, where the sink wants them.
    fn finish(&mut self, trailers: &Head, buffers: &Buffers) {
        if self.sink != Sink::Chunked {
            return;
        }
        let mut end = b"0\r\n".to_vec();
        trailers.write_fields(&mut end);
        end.extend_from_slice(b"\r\n");
        let mut encoded = self.encoded.take().unwrap_or_else(|| buffers.take());
        while encoded.room().len() < end.len() {
            // The trailer section is bounded by the decoder; one doubling holds it beside a full chunk.
            let grown = encoded.grow(64 << 10);
            assert!(grown, "a chunk and its trailers fit in 64 KiB");
        }
        encoded.room()[..end.len()].copy_from_slice(&end);
        encoded.advance(end.len());
        self.encoded = Some(encoded);
    }

    /// Gives the memory back, wherever the transfer stands.
    pub(crate) fn free(&mut self, spares: &Spares) {
        if let Some(encoded) = self.encoded.take() {
            spares.buffers.put(encoded);
        }
        if let Some(pipe) = self.pipe.take() {
            spares.pipes.put(pipe);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream as StdStream;
    use tokio::net::UnixStream;

    /// Both ends of a stream: one for the transfer, one for a thread.
    fn stream() -> (Socket, StdStream) {
        let (ours, theirs) = StdStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Socket::Unix(UnixStream::from_std(ours).unwrap()), theirs)
    }

    /// Goal: two fast ends keep nobody else of the worker waiting. Method: threads that write and read without a pause,
    /// and the bytes that each look has moved.
    #[tokio::test]
    async fn one_look_moves_no_more_than_its_turn() {
        const BYTES: u64 = 64 << 20;
        let ((from, mut source), (mut to, mut sink)) = (stream(), stream());
        let writer = std::thread::spawn(move || {
            let piece = vec![7; 1 << 20];
            (0..BYTES >> 20).try_for_each(|_| source.write_all(&piece))
        });
        let reader = std::thread::spawn(move || {
            let mut piece = vec![0; 1 << 20];
            let mut read = 0;
            while let Ok(count @ 1..) = sink.read(&mut piece) {
                read += count as u64;
            }
            read
        });
        let (mut from, spares) = (Io::new(from), Spares::default());
        let mut transfer = Transfer::new(Body::Length(BYTES), Sink::Raw, u64::MAX, Instant::now());
        let mut longest = 0;
        std::future::poll_fn(|cx| {
            let before = transfer.bytes;
            let polled = transfer.poll(cx, &mut from, &mut to, &spares, &mut ());
            longest = longest.max(transfer.bytes - before);
            polled
        })
        .await
        .unwrap();
        drop(to);
        writer.join().unwrap().unwrap();
        assert_eq!(reader.join().unwrap(), BYTES);
        assert!(longest < TURN_BYTES + (2 << 20), "{longest} bytes in one turn");
    }
}
