use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use weir_base::ErrorCode;
use weir_net::Spares;
use weir_wire::websocket::{Boundary, CloseCode, Mask, close_frame};

use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::forward::IdleLimits;
use crate::transfer::{Tap, Transfer, TransferError};
use crate::wire::Wire;

/// Two ends joined that speak WebSocket, or of which one at least is a stream of HTTP/2.
///
/// Follows the frames of both directions, so that it can say goodbye between two of them.
pub(super) struct Joined<'a> {
    connection: &'a mut Connection,
    exchange: &'a mut Exchange,
    upstream: &'a mut Wire,
    idle: IdleLimits,
    to_upstream: Direction,
    to_client: Direction,
    /// Bytes of the head that were written.
    written: usize,
}

/// What one side says to the other, up to its end.
struct Direction {
    transfer: Transfer,
    frames: Frames,
    is_ended: bool,
}

/// Where the frames of one direction begin and end.
#[derive(Default)]
struct Frames(Boundary);

impl Tap for Frames {
    fn took(&mut self, bytes: &[u8]) {
        self.0.pass(bytes);
    }

    fn lets_pass(&mut self, _: u64) -> bool {
        false
    }
}

impl Direction {
    /// Passes on what there is; ready when the end was passed on too.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Wire,
        to: &mut Wire,
        spares: &Spares,
    ) -> Poll<Result<(), TransferError>> {
        if !self.is_ended {
            ready!(self.transfer.poll(cx, from, to, spares, &mut self.frames))?;
            if let Wire::H1(to) = to {
                // A peer that has gone already cannot be told; its own direction says so.
                let _gone = ready!(to.socket.poll_shutdown(cx));
            }
            self.is_ended = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl<'a> Joined<'a> {
    pub(super) fn new(
        connection: &'a mut Connection,
        exchange: &'a mut Exchange,
        upstream: &'a mut Wire,
        idle: IdleLimits,
    ) -> Self {
        let now = Instant::now();
        let direction = |from: &Wire, to: &Wire| Direction {
            transfer: Transfer::until_end(from, to, now),
            frames: Frames::default(),
            is_ended: false,
        };
        let to_upstream = direction(&connection.io, upstream);
        let to_client = direction(upstream, &connection.io);
        Self { connection, exchange, upstream, idle, to_upstream, to_client, written: 0 }
    }

    /// Ready when both directions have ended, or with the code of why they were cut.
    pub(super) async fn run(mut self) -> Option<ErrorCode> {
        self.connection.deadline.set(Instant::now(), self.idle.upgrade);
        let mut seen = 0;
        let end = poll_fn(|cx| self.poll(cx, &mut seen)).await;
        if end.is_none() && self.connection.worker.base.is_stopping() {
            poll_fn(|cx| self.poll_goodbye(cx)).await;
        }
        let spares = &self.connection.worker.base.spares;
        self.to_upstream.transfer.free(spares);
        self.to_client.transfer.free(spares);
        self.exchange.record.bytes_in = self.to_upstream.transfer.bytes;
        self.exchange.record.bytes_out = self.to_client.transfer.bytes;
        end
    }

    fn poll(&mut self, cx: &mut Context<'_>, seen: &mut u64) -> Poll<Option<ErrorCode>> {
        if let Poll::Ready(end) = self.poll_both(cx) {
            return Poll::Ready(end);
        }
        if !self.to_client.is_ended && self.connection.io.is_framed() && self.connection.is_gone(cx) {
            return Poll::Ready(Some(ErrorCode::ClientGone));
        }
        let moved = self.to_upstream.transfer.bytes + self.to_client.transfer.bytes;
        if moved != *seen {
            *seen = moved;
            self.connection.deadline.set(Instant::now(), self.idle.upgrade);
        }
        let is_over = self.connection.deadline.is_expired(cx) || self.connection.worker.base.is_stopping();
        if is_over { Poll::Ready(None) } else { Poll::Pending }
    }

    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<Option<ErrorCode>> {
        let client = &mut self.connection.io;
        while self.written < self.exchange.out.len() {
            match ready!(client.poll_write(cx, &self.exchange.out[self.written..], false)) {
                Ok(count) => self.written += count,
                Err(_) => return Poll::Ready(Some(ErrorCode::ClientGone)),
            }
        }
        let spares = &self.connection.worker.base.spares;
        let up = match self.to_upstream.poll(cx, client, self.upstream, spares) {
            Poll::Ready(Err(error)) => {
                // A server that leaves without reading on may have said something before.
                let _rest = self.to_client.poll(cx, self.upstream, client, spares);
                return Poll::Ready(Some(blame(&error, true)));
            }
            polled => polled.is_ready(),
        };
        match self.to_client.poll(cx, self.upstream, client, spares) {
            Poll::Ready(Err(error)) => Poll::Ready(Some(blame(&error, false))),
            Poll::Ready(Ok(())) if up => Poll::Ready(None),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Joined<'_> {
    /// Tells both ends that the gateway goes away (RFC 6455 section 7.4.1), as far as they take it at once and where no
    /// frame is under way.
    fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_whole = self.written == self.exchange.out.len();
        if is_whole && !self.to_client.is_ended && self.to_client.frames.0.is_between() {
            let frame = close_frame(None, Some(CloseCode::GOING_AWAY), "");
            let _sent = self.connection.io.poll_write(cx, frame.as_slice(), true);
        }
        if !self.to_upstream.is_ended && self.to_upstream.frames.0.is_between() {
            let random = self.connection.worker.base.random().to_be_bytes();
            let mask = Mask::new([random[0], random[1], random[2], random[3]]);
            let frame = close_frame(Some(mask), Some(CloseCode::GOING_AWAY), "");
            let _sent = self.upstream.poll_write(cx, frame.as_slice(), true);
        }
        Poll::Ready(())
    }
}

/// Whose fault it is that a direction cannot go on.
fn blame(error: &TransferError, is_from_client: bool) -> ErrorCode {
    match matches!(error, TransferError::SinkFailed(_)) == is_from_client {
        true => ErrorCode::UpstreamCut,
        false => ErrorCode::ClientGone,
    }
}
