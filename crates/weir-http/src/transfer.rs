mod chunk_writer;
mod encode;
mod filtering;

use std::io;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use weir_net::{Buffer, Buffers, Pipe, Spares};
use weir_wire::http1::{Body, ChunkError, ChunkedDecoder, Head};

use crate::filter::{BodyFilter, FilterError};
use crate::trailers::TrailerRules;
use crate::wire::{H2Stream, Io, Wire};
use filtering::Filtering;

/// One direction of one body: read as the source frames it, written as the sink needs it.
///
/// Never holds more than one buffer of data: the source is read only when the sink has taken what was read
/// before, which is all the back-pressure there is. Lengths pass without copying; chunks are always re-made.
#[derive(Debug)]
pub(crate) struct Transfer {
    source: Source,
    sink: Sink,
    end: End,
    /// What the body passes through, where there is something.
    filtering: Option<Box<Filtering>>,
    /// Those of the source, once it has finished, where there are any.
    trailers: Option<Box<Head>>,
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
    /// Bytes that the sink took since that last counted as progress.
    taken: usize,
    since: Instant,
}

#[derive(Debug)]
enum Source {
    Length(u64),
    Chunked(Box<Chunks>),
    UntilClose,
    Frames(Frames),
    Finished,
}

/// A body that comes in data frames; the stream's end is its end.
#[derive(Debug)]
struct Frames {
    /// What the declared length leaves; none was declared where there is none.
    left: Option<u64>,
    trailers: TrailerRules,
}

/// The end of the stream, where the sink is one and the source has finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Told, or not to be told.
    Told,
    /// To be told with the last byte, or behind it.
    Due,
    /// To be told by the trailers.
    DueWithTrailers,
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
    /// In data frames, with trailers.
    Frames,
    /// Not at all: it is read and forgotten.
    Discard,
}

/// Shortest rest of a body that is spliced: below it the pipe costs more than the copying.
const SPLICE_BYTES_MIN: u64 = 128 << 10;

/// Most body bytes that one look moves before other tasks of the worker get their turn: about a millisecond's work.
const TURN_BYTES: u64 = 4 << 20;

/// The same for a body that passes through a filter, some of which take 20 ns for a byte.
const FILTERED_TURN_BYTES: u64 = 64 << 10;

/// Bytes that a sink which never takes all that is there has to take for its patience to begin anew: otherwise a client
/// that grants a byte a minute would hold an answer, and its endpoint, for ever.
const PROGRESS_BYTES: usize = 4 << 10;

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
    /// The data is not as long as was declared.
    SourceDisagrees,
    /// More bytes than the limit.
    TooLarge,
    /// A trailer that a policy denies; the last chunk was not written.
    TrailerDenied,
    /// What the body passes through refuses it.
    Refused(FilterError),
    SinkFailed(#[allow(dead_code, reason = "shown by Debug")] io::Error),
}

/// Sees the bytes of the body that were taken from the source.
pub(crate) trait Tap {
    fn took(&mut self, bytes: &[u8]);

    /// Whether that many bytes may pass unseen.
    fn lets_pass(&mut self, count: u64) -> bool;
}

impl Tap for () {
    fn took(&mut self, _: &[u8]) {}

    fn lets_pass(&mut self, _: u64) -> bool {
        true
    }
}

impl Source {
    fn of_stream(body: Body, stream: &H2Stream) -> Self {
        let left = match body {
            Body::Length(length) => Some(length),
            _ if stream.filled().is_empty() && stream.is_last() => return Self::Finished,
            Body::Empty => Some(0),
            Body::Chunked | Body::UntilClose => None,
        };
        Self::Frames(Frames { left, trailers: TrailerRules::default() })
    }
}

impl Transfer {
    /// A body that comes from `wire`.
    pub(crate) fn new(body: Body, wire: &Wire, sink: Sink, now: Instant) -> Self {
        let source = match (body, wire) {
            (Body::Empty, Wire::H1(_)) => Source::Finished,
            (Body::Length(length), Wire::H1(_)) => Source::Length(length),
            (Body::Chunked, Wire::H1(_)) => Source::Chunked(Box::default()),
            (Body::UntilClose, Wire::H1(_)) => Source::UntilClose,
            (body, Wire::H2(stream)) => Source::of_stream(body, stream),
        };
        Self::of(source, sink, now)
    }

    /// What a wire carries once it is no longer HTTP, up to its end.
    pub(crate) fn until_end(from: &Wire, to: &Wire, now: Instant) -> Self {
        let sink = if to.is_framed() { Sink::Frames } else { Sink::Raw };
        Self::new(Body::UntilClose, from, sink, now)
    }

    /// No body, for nobody.
    pub(crate) fn none(now: Instant) -> Self {
        Self::of(Source::Finished, Sink::Discard, now)
    }

    fn of(source: Source, sink: Sink, now: Instant) -> Self {
        Self {
            source,
            sink,
            end: End::Told,
            filtering: None,
            trailers: None,
            encoded: None,
            pipe: None,
            spliced: false,
            bytes: 0,
            limit: u64::MAX,
            blocked: Side::Source,
            moved: false,
            taken: 0,
            since: now,
        }
    }

    /// Sets the most body bytes allowed.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Has the body pass through a filter.
    pub(crate) fn filter_by(&mut self, filter: Option<Box<dyn BodyFilter>>) {
        self.filtering = filter.map(Filtering::new);
    }

    /// Bytes of the body as the sink gets it.
    pub(crate) fn bytes_passed(&self) -> u64 {
        self.filtering.as_ref().map_or(self.bytes, |filtering| filtering.bytes)
    }

    /// Sets what is done to trailers before they are written.
    pub(crate) fn guard_trailers(&mut self, rules: &TrailerRules) {
        if rules.is_empty() {
            return;
        }
        match &mut self.source {
            Source::Chunked(chunks) => chunks.trailers = rules.clone(),
            Source::Frames(frames) => frames.trailers = rules.clone(),
            Source::Length(_) | Source::UntilClose | Source::Finished => {}
        }
    }

    /// What is known of the bytes that are still to come from the source: `None` where only its end will tell.
    pub(crate) fn left(&self) -> Option<u64> {
        match &self.source {
            Source::Finished => Some(0),
            Source::Length(left) => Some(*left),
            Source::Frames(frames) => frames.left,
            Source::Chunked(_) | Source::UntilClose => None,
        }
    }

    /// Whether the source's body was read to its end and all of it written.
    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        matches!((&self.source, &self.end), (Source::Finished, End::Told))
            && self.encoded.is_none()
            && !self.is_filtering()
    }

    /// Whether the source's body was read to its end.
    pub(crate) fn source_finished(&self) -> bool {
        matches!(self.source, Source::Finished)
    }

    /// From now on the rest is read and forgotten.
    pub(crate) fn discard(&mut self, spares: &Spares) {
        self.sink = Sink::Discard;
        self.end = End::Told;
        self.filtering = None;
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

    /// Whether that is progress: the sink took all that was there, or enough of it.
    fn sink_took(&mut self, count: usize, is_all: bool) {
        self.taken += count;
        if is_all || self.taken >= PROGRESS_BYTES {
            self.taken = 0;
            self.moved = true;
        }
    }

    /// What of the source's buffer can be written as it is.
    pub(crate) fn raw_ready(&self, filled: usize) -> usize {
        match (&self.source, self.sink) {
            _ if self.filtering.is_some() => 0,
            (Source::Length(left), Sink::Raw | Sink::Frames) => {
                usize::try_from(*left).unwrap_or(usize::MAX).min(filled)
            }
            (Source::UntilClose | Source::Frames(_), Sink::Raw | Sink::Frames) => filled,
            (Source::Chunked(_) | Source::Finished, _) | (_, Sink::Chunked | Sink::Discard) => 0,
        }
    }

    /// Whether the body ends with these bytes of [`raw_ready`](Self::raw_ready).
    pub(crate) fn ends_with(&self, raw: usize, from: &Wire) -> bool {
        match &self.source {
            Source::Length(left) => *left == raw as u64,
            Source::Frames(frames) => frames.left.is_none_or(|left| left == raw as u64) && from.is_last(),
            Source::Chunked(_) | Source::UntilClose | Source::Finished => false,
        }
    }

    /// Accounts for bytes of [`raw_ready`](Self::raw_ready) that were written; `is_end` where the body
    /// [ends with them](Self::ends_with) and the sink was told so.
    pub(crate) fn wrote_raw(&mut self, count: usize, is_end: bool) {
        self.moved = true;
        self.account_for(count, is_end);
    }

    fn account_for(&mut self, count: usize, is_end: bool) {
        self.bytes += count as u64;
        match &mut self.source {
            _ if is_end => self.source = Source::Finished,
            Source::Length(left) => *left -= count as u64,
            Source::Frames(Frames { left: Some(left), .. }) => *left -= count as u64,
            Source::Frames(_) | Source::Chunked(_) | Source::UntilClose | Source::Finished => {}
        }
    }

    /// Moves what can be moved; ready when the whole body is written.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Wire,
        to: &mut Wire,
        spares: &Spares,
        tap: &mut impl Tap,
    ) -> Poll<Result<(), TransferError>> {
        let buffers = &spares.buffers;
        let turn = if self.filtering.is_some() { FILTERED_TURN_BYTES } else { TURN_BYTES };
        let turn = self.bytes.saturating_add(turn);
        loop {
            if self.bytes >= turn && !self.is_finished() {
                // Two fast ends would never make it wait, and everybody else would.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.encoded.is_some() {
                ready!(self.poll_encoded(cx, to, spares))?;
                continue;
            }
            if self.is_filtering() {
                self.encode_filtered(buffers);
                continue;
            }
            if matches!(self.source, Source::Finished) {
                return Poll::Ready(self.tell_end(to));
            }
            if !from.is_empty() {
                self.blocked = Side::Sink;
                let raw = self.raw_ready(from.filled().len());
                if raw > 0 {
                    self.allow(raw as u64)?;
                    let is_end = self.ends_with(raw, from);
                    let count = ready!(to.poll_write(cx, &from.filled()[..raw], is_end))
                        .map_err(TransferError::SinkFailed)?;
                    tap.took(&from.filled()[..count]);
                    from.consume(count);
                    self.account_for(count, is_end && count == raw);
                    self.sink_took(count, count == raw);
                    continue;
                }
                self.encode(from, buffers, tap)?;
                continue;
            }
            match (&mut *from, &mut *to) {
                (Wire::H1(from), Wire::H1(to)) if self.pipe.is_some() || self.is_spliced(from, to, tap) => {
                    ready!(self.poll_pipe(cx, from, to, spares, tap))?;
                }
                (Wire::H1(from), Wire::H1(_))
                    if self.filtering.is_none()
                        && matches!(self.source, Source::Length(SPLICE_BYTES_MIN..)) =>
                {
                    ready!(self.poll_source_large(cx, from, buffers))?;
                }
                (from, _) => match self.poll_source(cx, from, buffers, tap) {
                    Poll::Pending if self.pause(tap)? => {}
                    polled => ready!(polled)?,
                },
            }
        }
    }

    /// Writes what was encoded.
    fn poll_encoded(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Wire,
        spares: &Spares,
    ) -> Poll<Result<(), TransferError>> {
        let Some(encoded) = &mut self.encoded else { return Poll::Ready(Ok(())) };
        self.blocked = Side::Sink;
        let is_last = self.end == End::Due;
        let count =
            ready!(to.poll_write(cx, encoded.filled(), is_last)).map_err(TransferError::SinkFailed)?;
        encoded.consume(count);
        let is_all = encoded.is_empty();
        self.sink_took(count, is_all);
        if is_all {
            if is_last {
                self.end = End::Told;
            }
            self.free(spares);
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the stream that the body was written to.
    fn tell_end(&mut self, to: &mut Wire) -> Result<(), TransferError> {
        match (std::mem::replace(&mut self.end, End::Told), &self.trailers) {
            (End::Told, _) => Ok(()),
            (End::DueWithTrailers, Some(trailers)) => to.end(trailers),
            (End::Due | End::DueWithTrailers, _) => to.end(&Head::default()),
        }
        .map_err(TransferError::SinkFailed)
    }

    /// Whether what is left is worth a pipe: long, and to be written as it is.
    fn is_spliced(&self, from: &Io, to: &Io, tap: &mut impl Tap) -> bool {
        if !from.socket.can_splice() || !to.socket.can_splice() {
            return false;
        }
        match (&self.source, self.sink) {
            // Once begun it goes on to the last byte: falling back would cost a system call for each buffer.
            (Source::Length(left), Sink::Raw) if self.filtering.is_none() => {
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
        to: &mut Io,
        spares: &Spares,
        tap: &mut impl Tap,
    ) -> Poll<Result<(), TransferError>> {
        let Source::Length(left) = self.source else { unreachable!("only lengths are spliced") };
        if self.pipe.is_none() {
            self.allow(left)?;
            // A pipe is held only while there is something in it: it costs two descriptors.
            self.blocked = Side::Source;
            ready!(from.socket.poll_readable(cx)).map_err(TransferError::SourceFailed)?;
            let Some(mut pipe) = spares.pipes.take() else {
                let count = ready!(from.poll_fill(cx, &spares.buffers));
                return Poll::Ready(self.filled(count, &spares.buffers, tap));
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
        let count = ready!(pipe.poll_drain(cx, &to.socket, more)).map_err(TransferError::SinkFailed)?;
        let is_all = pipe.filled() == 0;
        if is_all && let Some(pipe) = self.pipe.take() {
            spares.pipes.put(pipe);
        }
        self.sink_took(count, is_all);
        self.account_for(count, count as u64 == left);
        Poll::Ready(Ok(()))
    }

    /// Reads what is left and forgets it; for a body that was told to be [discarded](Self::discard).
    pub(crate) fn poll_discard(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Wire,
        buffers: &Buffers,
    ) -> Poll<Result<(), TransferError>> {
        debug_assert_eq!(self.sink, Sink::Discard, "there is no sink to write to");
        while !matches!(self.source, Source::Finished) {
            if from.is_empty() {
                ready!(self.poll_source(cx, from, buffers, &mut ()))?;
            } else {
                self.encode(from, buffers, &mut ())?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// A long body that cannot be spliced, as with TLS: in pieces that are worth a system call.
    fn poll_source_large(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Io,
        buffers: &Buffers,
    ) -> Poll<Result<(), TransferError>> {
        self.blocked = Side::Source;
        let count = ready!(from.poll_fill_large(cx, buffers)).map_err(TransferError::SourceFailed)?;
        self.moved = true;
        Poll::Ready(if count == 0 { Err(TransferError::SourceEnded) } else { Ok(()) })
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Wire,
        buffers: &Buffers,
        tap: &mut impl Tap,
    ) -> Poll<Result<(), TransferError>> {
        self.blocked = Side::Source;
        match ready!(from.poll_fill(cx, buffers)) {
            Ok(0) if matches!(self.source, Source::Frames(_)) => {
                self.moved = true;
                Poll::Ready(self.end_frames(from, None, buffers, tap))
            }
            result => Poll::Ready(self.filled(result, buffers, tap)),
        }
    }

    /// Goes on with what a look at the source gave.
    fn filled(
        &mut self,
        result: io::Result<usize>,
        buffers: &Buffers,
        tap: &mut impl Tap,
    ) -> Result<(), TransferError> {
        let count = result.map_err(TransferError::SourceFailed)?;
        self.moved = true;
        if count > 0 {
            return Ok(());
        }
        if !matches!(self.source, Source::UntilClose) {
            return Err(TransferError::SourceEnded);
        }
        self.conclude(None, Head::default(), &TrailerRules::default(), buffers, tap)
    }

    fn allow(&self, more: u64) -> Result<(), TransferError> {
        match &self.source {
            Source::Frames(Frames { left: Some(left), .. }) if *left < more => {
                Err(TransferError::SourceDisagrees)
            }
            _ if self.bytes.saturating_add(more) > self.limit => Err(TransferError::TooLarge),
            _ => Ok(()),
        }
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
mod tests;
