use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use crate::rate::Rate;
use crate::{BUFFER_BYTES, Buffer, LARGE_BUFFER_BYTES, Pipe, Socket, Spares};

/// Two streams joined: what one sends the other gets, until both directions have ended.
///
/// Each direction ends on its own: the end of one is passed on as a half-close after its bytes are flushed,
/// and the other goes on. No buffer is held while there is nothing to pass on.
///
/// What comes in small pieces is copied through a pooled buffer. A direction that fills a whole buffer at once goes
/// over to splice(2) through a pooled pipe, and back when a piece is small again.
#[derive(Debug, Default)]
pub struct Relay {
    to_upstream: Flow,
    to_client: Flow,
}

#[derive(Debug, Default)]
struct Flow {
    state: FlowState,
    mode: Mode,
    buffer: Option<Buffer>,
    pipe: Option<Pipe>,
    /// Whether so much comes that is copied to the end that it is worth a large buffer.
    is_bulk: bool,
    /// Successive pieces that would have been cheaper to copy.
    small_pieces: u8,
    bytes: u64,
    rate: Option<Box<Rate>>,
    /// When to look after the source while its bytes cannot be passed on.
    watch: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum FlowState {
    #[default]
    Open,
    /// The source has ended; the end is still to be passed on.
    Ending,
    Ended,
}

/// How bytes pass.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Copied; spliced once there are enough of them.
    #[default]
    Copy,
    Splice,
    /// Copied to the end: one of the two cannot be spliced.
    CopyAlways,
}

/// Most bytes that a direction passes on before other tasks of the worker get their turn: about a millisecond's work.
const TURN_BYTES: usize = 4 << 20;

/// How often the source of a direction that is held back is asked whether it is still there: as long as there is
/// something of it to read, nothing else tells.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Successive small pieces after which a direction copies again. One alone is the tail of a segment, and what follows it
/// is large.
const SMALL_PIECES_MAX: u8 = 4;

/// How a relay ended.
#[derive(Debug)]
pub enum RelayEnd {
    /// Both directions ended in order.
    Finished,
    /// Reading from or writing to the client failed.
    ClientFailed(io::Error),
    /// Reading from or writing to the upstream failed.
    UpstreamFailed(io::Error),
}

/// Bytes passed on so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RelayTotals {
    /// From the client to the upstream.
    pub to_upstream: u64,
    /// From the upstream to the client.
    pub to_client: u64,
}

/// Which directions have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RelayEnds {
    /// The client has said all that it will.
    pub client: bool,
    /// The upstream has said all that it will.
    pub upstream: bool,
}

impl Relay {
    /// A relay that first passes on what was already read from, or is to be said to, each side.
    pub fn new(for_upstream: Buffer, for_client: Buffer) -> Self {
        let flow = |buffer| Flow { buffer: Some(buffer), ..Flow::default() };
        Self { to_upstream: flow(for_upstream), to_client: flow(for_client) }
    }

    /// The same, at most so many bytes a second from the client and from the upstream.
    #[must_use]
    pub fn limited(mut self, upload: Option<u64>, download: Option<u64>, now: Instant) -> Self {
        let rate = |limit: Option<u64>| limit.map(|limit| Box::new(Rate::new(limit, now)));
        self.to_upstream.rate = rate(upload);
        self.to_client.rate = rate(download);
        self
    }

    /// Passes on what there is; ready when both directions have ended or one failed, and then both are to be closed.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Socket,
        upstream: &mut Socket,
        spares: &Spares,
    ) -> Poll<RelayEnd> {
        // A socket tells of its failure once, and looks ended from then on: who has heard it must not ask again, or the
        // other side would see an end before the reset.
        let up = match self.to_upstream.poll(cx, client, upstream, spares, self.to_client.state) {
            Poll::Ready(Err(FlowError::Source(e))) => return Poll::Ready(RelayEnd::ClientFailed(e)),
            Poll::Ready(Err(FlowError::Sink(e))) => {
                // A server that answers and leaves without reading on resets the connection behind its answer.
                self.to_client.pass_rest(cx, upstream, client, spares);
                return Poll::Ready(RelayEnd::UpstreamFailed(e));
            }
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
        };
        match self.to_client.poll(cx, upstream, client, spares, self.to_upstream.state) {
            Poll::Ready(Err(FlowError::Source(e))) => Poll::Ready(RelayEnd::UpstreamFailed(e)),
            Poll::Ready(Err(FlowError::Sink(e))) => Poll::Ready(RelayEnd::ClientFailed(e)),
            Poll::Ready(Ok(())) if up => Poll::Ready(RelayEnd::Finished),
            _ => Poll::Pending,
        }
    }

    /// Gives the buffers and pipes back.
    pub fn free(&mut self, spares: &Spares) {
        for flow in [&mut self.to_upstream, &mut self.to_client] {
            flow.put_buffer(spares);
            flow.put_pipe(spares);
        }
    }

    /// Bytes passed on so far.
    pub fn totals(&self) -> RelayTotals {
        RelayTotals { to_upstream: self.to_upstream.bytes, to_client: self.to_client.bytes }
    }

    /// Which directions have ended, their bytes flushed.
    pub fn ends(&self) -> RelayEnds {
        RelayEnds {
            client: self.to_upstream.state == FlowState::Ended,
            upstream: self.to_client.state == FlowState::Ended,
        }
    }
}

enum FlowError {
    Source(io::Error),
    Sink(io::Error),
}

impl Flow {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Socket,
        sink: &mut Socket,
        spares: &Spares,
        other: FlowState,
    ) -> Poll<Result<(), FlowError>> {
        let mut turn = TURN_BYTES;
        loop {
            match self.flush(cx, sink) {
                Poll::Ready(flushed) => flushed.map_err(FlowError::Sink)?,
                Poll::Pending => return self.poll_fault(cx, source).map(|e| Err(FlowError::Source(e))),
            }
            match self.state {
                FlowState::Ended => return Poll::Ready(Ok(())),
                // Both sockets are closed next, which tells the same.
                FlowState::Ending if other == FlowState::Ended => self.state = FlowState::Ended,
                FlowState::Ending => {
                    // A peer that has gone already cannot be told; its own direction says so.
                    let _gone = ready!(sink.poll_shutdown(cx));
                    self.state = FlowState::Ended;
                }
                FlowState::Open if turn == 0 => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                FlowState::Open => {
                    if self.mode == Mode::Copy && !(source.can_splice() && sink.can_splice()) {
                        self.mode = Mode::CopyAlways;
                    }
                    let Poll::Ready(read) = self.poll_source(cx, source, spares) else {
                        // Whatever the source had promised: what waits holds no memory and no descriptor.
                        self.put_buffer(spares);
                        self.put_pipe(spares);
                        return Poll::Pending;
                    };
                    if self.mode != Mode::Splice && self.pipe.as_ref().is_some_and(|pipe| pipe.filled() == 0)
                    {
                        self.put_pipe(spares);
                    }
                    let read = read.map_err(FlowError::Source)?;
                    turn = turn.saturating_sub(read);
                    if let Some(rate) = &mut self.rate {
                        rate.took(read);
                    }
                    if read == 0 {
                        self.put_buffer(spares);
                        self.put_pipe(spares);
                        self.state = FlowState::Ending;
                    }
                }
            }
        }
    }

    /// Passes on what a source that has failed had said before, as far as the sink takes it, and no end.
    fn pass_rest(&mut self, cx: &mut Context<'_>, source: &mut Socket, sink: &mut Socket, spares: &Spares) {
        let mut left = TURN_BYTES;
        while left > 0 && self.state == FlowState::Open && matches!(self.flush(cx, sink), Poll::Ready(Ok(())))
        {
            match self.poll_source(cx, source, spares) {
                Poll::Ready(Ok(count @ 1..)) => left = left.saturating_sub(count),
                _ => return,
            }
        }
    }

    /// Writes what was read.
    fn flush(&mut self, cx: &mut Context<'_>, sink: &mut Socket) -> Poll<io::Result<()>> {
        while let Some(buffer) = self.buffer.as_mut().filter(|buffer| !buffer.is_empty()) {
            let count = ready!(sink.poll_write(cx, buffer.filled()))?;
            buffer.consume(count);
            self.bytes += count as u64;
        }
        while let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.filled() > 0) {
            let count = ready!(pipe.poll_drain(cx, sink, false))?;
            self.bytes += count as u64;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the source has failed; asks it now and then, for the time in which nothing is read from it.
    fn poll_fault(&mut self, cx: &mut Context<'_>, source: &Socket) -> Poll<io::Error> {
        loop {
            let watch = self.watch.get_or_insert_with(|| Box::pin(tokio::time::sleep(WATCH_EVERY)));
            ready!(watch.as_mut().poll(cx));
            self.watch = None;
            if let Some(error) = source.take_error() {
                return Poll::Ready(error);
            }
        }
    }

    /// Reads something, where nothing is left to write; 0 at the end of the stream.
    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Socket,
        spares: &Spares,
    ) -> Poll<io::Result<usize>> {
        let max = match &mut self.rate {
            Some(rate) => ready!(rate.poll_allowance(cx)),
            None => usize::MAX,
        };
        if self.mode == Mode::Splice {
            ready!(source.poll_readable(cx))?;
            match self.hold_pipe(spares) {
                None => self.mode = Mode::Copy,
                Some(pipe) => match ready!(pipe.poll_fill(cx, source, max)) {
                    // Not every kind of socket can be spliced.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.mode = Mode::CopyAlways,
                    result => {
                        self.small_pieces = match result {
                            Ok(count) if count < BUFFER_BYTES => self.small_pieces + 1,
                            _ => 0,
                        };
                        if self.small_pieces == SMALL_PIECES_MAX {
                            self.small_pieces = 0;
                            self.mode = Mode::Copy;
                        }
                        return Poll::Ready(result);
                    }
                },
            }
        }
        ready!(source.poll_readable(cx))?;
        let is_bulk = self.is_bulk;
        let buffer = self
            .buffer
            .get_or_insert_with(|| if is_bulk { spares.buffers.take_large() } else { spares.buffers.take() });
        if is_bulk && buffer.size() < LARGE_BUFFER_BYTES {
            spares.buffers.put(std::mem::replace(buffer, spares.buffers.take_large()));
        }
        // Whole records of TLS, where it is written so.
        let count = ready!(source.poll_read_some(cx, buffer, max.min(4 * BUFFER_BYTES)))?;
        self.is_bulk = self.mode == Mode::CopyAlways && count >= BUFFER_BYTES;
        if count >= BUFFER_BYTES && self.mode == Mode::Copy {
            self.mode = Mode::Splice;
        }
        Poll::Ready(Ok(count))
    }

    /// The pipe in place of the buffer, which is empty; none where there is none to be had.
    fn hold_pipe(&mut self, spares: &Spares) -> Option<&mut Pipe> {
        if self.pipe.is_none() {
            self.pipe = Some(spares.pipes.take()?);
            self.put_buffer(spares);
        }
        self.pipe.as_mut()
    }

    fn put_buffer(&mut self, spares: &Spares) {
        if let Some(buffer) = self.buffer.take() {
            spares.buffers.put(buffer);
        }
    }

    fn put_pipe(&mut self, spares: &Spares) {
        if let Some(pipe) = self.pipe.take() {
            spares.pipes.put(pipe);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn each_direction_ends_on_its_own_after_its_bytes() {
        let (mut client, client_side) = UnixStream::pair().unwrap();
        let (mut upstream, upstream_side) = UnixStream::pair().unwrap();
        let spares = Spares::default();
        let mut early = spares.buffers.take();
        early.room()[..3].copy_from_slice(b"hi ");
        early.advance(3);
        let mut relay = Relay::new(early, spares.buffers.take());
        let (mut client_side, mut upstream_side) = (Socket::Unix(client_side), Socket::Unix(upstream_side));
        let running = tokio::spawn(async move {
            let end = poll_fn(|cx| relay.poll(cx, &mut client_side, &mut upstream_side, &spares)).await;
            (end, relay.totals())
        });
        client.write_all(b"there").await.unwrap();
        client.shutdown().await.unwrap();
        let mut got = Vec::new();
        upstream.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"hi there");
        upstream.write_all(&vec![7; 100_000]).await.unwrap();
        drop(upstream);
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got.len(), 100_000);
        let (end, totals) = running.await.unwrap();
        assert!(matches!(end, RelayEnd::Finished), "{end:?}");
        assert_eq!(totals, RelayTotals { to_upstream: 8, to_client: 100_000 });
    }

    /// Passes three million bytes to the client; whether any of them were spliced.
    async fn is_bulk_spliced(spares: Spares) -> bool {
        let (mut client, client_side) = UnixStream::pair().unwrap();
        let (mut upstream, upstream_side) = UnixStream::pair().unwrap();
        let mut relay = Relay::new(spares.buffers.take(), spares.buffers.take());
        let (mut client_side, mut upstream_side) = (Socket::Unix(client_side), Socket::Unix(upstream_side));
        let running = tokio::spawn(async move {
            let end = poll_fn(|cx| relay.poll(cx, &mut client_side, &mut upstream_side, &spares)).await;
            relay.free(&spares);
            let has_left_a_pipe = spares.pipes.shed() > 0;
            (end, relay.totals().to_client, has_left_a_pipe)
        });
        let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        let expected = sent.clone();
        client.shutdown().await.unwrap();
        let writing = tokio::spawn(async move {
            upstream.write_all(&sent[..5]).await.unwrap();
            upstream.write_all(&sent[5..]).await.unwrap();
        });
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        writing.await.unwrap();
        assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
        let (end, count, spliced) = running.await.unwrap();
        assert!(matches!(end, RelayEnd::Finished), "{end:?}");
        assert_eq!(count, 3_000_000);
        spliced
    }

    #[tokio::test]
    async fn what_comes_in_bulk_is_spliced_and_keeps_its_order_and_its_end() {
        assert!(is_bulk_spliced(Spares::default()).await);
    }

    #[tokio::test]
    async fn where_no_pipe_is_to_be_had_bulk_is_copied() {
        let spares = Spares::default();
        let _in_use: Vec<Pipe> = std::iter::from_fn(|| spares.pipes.take()).collect();
        assert!(!is_bulk_spliced(spares).await);
    }
}
