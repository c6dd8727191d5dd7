use std::io;
use std::task::{Context, Poll, ready};

use crate::{Buffer, Buffers, Socket};

/// Two streams joined: what one sends the other gets, until both directions have ended.
///
/// Each direction ends on its own: the end of one is passed on as a half-close after its bytes are flushed,
/// and the other goes on. No buffer is held while there is nothing to pass on.
#[derive(Debug, Default)]
pub struct Relay {
    to_upstream: Flow,
    to_client: Flow,
}

#[derive(Debug, Default)]
struct Flow {
    state: FlowState,
    buffer: Option<Buffer>,
    bytes: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum FlowState {
    #[default]
    Open,
    /// The source has ended; the end is still to be passed on.
    Ending,
    Ended,
}

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayTotals {
    /// From the client to the upstream.
    pub to_upstream: u64,
    /// From the upstream to the client.
    pub to_client: u64,
}

impl Relay {
    /// A relay that first passes on what was already read from, or is to be said to, each side.
    pub fn new(for_upstream: Buffer, for_client: Buffer) -> Self {
        let flow = |buffer| Flow { buffer: Some(buffer), ..Flow::default() };
        Self { to_upstream: flow(for_upstream), to_client: flow(for_client) }
    }

    /// Passes on what there is; ready when both directions have ended or one failed.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Socket,
        upstream: &mut Socket,
        buffers: &Buffers,
    ) -> Poll<RelayEnd> {
        let up = self.to_upstream.poll(cx, client, upstream, buffers);
        let down = self.to_client.poll(cx, upstream, client, buffers);
        match (up, down) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(RelayEnd::Finished),
            (Poll::Ready(Err(FlowError::Source(e))), _) | (_, Poll::Ready(Err(FlowError::Sink(e)))) => {
                Poll::Ready(RelayEnd::ClientFailed(e))
            }
            (Poll::Ready(Err(FlowError::Sink(e))), _) | (_, Poll::Ready(Err(FlowError::Source(e)))) => {
                Poll::Ready(RelayEnd::UpstreamFailed(e))
            }
            _ => Poll::Pending,
        }
    }

    /// Gives the buffers back.
    pub fn free(&mut self, buffers: &Buffers) {
        for flow in [&mut self.to_upstream, &mut self.to_client] {
            if let Some(buffer) = flow.buffer.take() {
                buffers.put(buffer);
            }
        }
    }

    /// Bytes passed on so far.
    pub fn totals(&self) -> RelayTotals {
        RelayTotals { to_upstream: self.to_upstream.bytes, to_client: self.to_client.bytes }
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
        buffers: &Buffers,
    ) -> Poll<Result<(), FlowError>> {
        loop {
            if let Some(buffer) = self.buffer.as_mut().filter(|buffer| !buffer.is_empty()) {
                let count = ready!(sink.poll_write(cx, buffer.filled())).map_err(FlowError::Sink)?;
                buffer.consume(count);
                self.bytes += count as u64;
                continue;
            }
            match self.state {
                FlowState::Ended => return Poll::Ready(Ok(())),
                FlowState::Ending => {
                    // A peer that has gone already cannot be told; its own direction says so.
                    let _gone = ready!(sink.poll_shutdown(cx));
                    self.state = FlowState::Ended;
                }
                FlowState::Open => {
                    let read = ready!(self.poll_source(cx, source, buffers)).map_err(FlowError::Source)?;
                    if read == 0 {
                        self.state = FlowState::Ending;
                    }
                }
            }
        }
    }

    /// Reads into the empty buffer; where nothing was read the buffer goes back, whatever the socket had promised.
    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Socket,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        let mut read = source.poll_readable(cx).map_ok(|()| 0);
        if let Poll::Ready(Ok(_)) = read {
            read = source.poll_read(cx, self.buffer.get_or_insert_with(|| buffers.take()));
        }
        if !matches!(read, Poll::Ready(Ok(1..)))
            && let Some(buffer) = self.buffer.take()
        {
            buffers.put(buffer);
        }
        read
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
        let buffers = Buffers::default();
        let mut early = buffers.take();
        early.room()[..3].copy_from_slice(b"hi ");
        early.advance(3);
        let mut relay = Relay::new(early, buffers.take());
        let (mut client_side, mut upstream_side) = (Socket::Unix(client_side), Socket::Unix(upstream_side));
        let running = tokio::spawn(async move {
            let end = poll_fn(|cx| relay.poll(cx, &mut client_side, &mut upstream_side, &buffers)).await;
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
}
