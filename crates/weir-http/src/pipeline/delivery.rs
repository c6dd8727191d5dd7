use std::io::IoSlice;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use weir_base::ErrorCode;

use super::earlier;
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::forward::Forwarded;
use crate::transfer::{Side, Transfer, TransferError};
use crate::wire::Wire;

/// An answer on its way: the head, then the body, while the rest of the request may still be coming.
pub(super) struct Delivery<'a> {
    pub(super) response: Transfer,
    pub(super) request: &'a mut Transfer,
    pub(super) forwarded: &'a mut Forwarded,
    /// Bytes of the head that were written.
    pub(super) written: usize,
    pub(super) since: Instant,
}

impl Delivery<'_> {
    /// Moves what can be moved; ready when the answer is sent, or the code of why it is cut.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        exchange: &mut Exchange,
    ) -> Poll<Result<(), ErrorCode>> {
        if let Poll::Ready(result) = self.poll_response(cx, connection, exchange) {
            return Poll::Ready(result);
        }
        if let Err(code) = self.poll_request(cx, connection, exchange) {
            return Poll::Ready(Err(code));
        }
        self.poll_clock(cx, connection, exchange)
    }

    fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        exchange: &mut Exchange,
    ) -> Poll<Result<(), ErrorCode>> {
        while self.written < exchange.out.len() {
            let head = &exchange.out[self.written..];
            let from = &mut self.forwarded.io;
            let raw = self.response.raw_ready(from.filled().len());
            let result = match &mut connection.io {
                Wire::H1(to) if raw > 0 => {
                    let pieces = [IoSlice::new(head), IoSlice::new(&from.filled()[..raw])];
                    ready!(to.socket.poll_write_vectored(cx, &pieces))
                }
                to => ready!(to.poll_write(cx, head, self.response.is_finished())),
            };
            let Ok(count) = result else { return Poll::Ready(Err(ErrorCode::ClientGone)) };
            let of_head = count.min(head.len());
            self.written += of_head;
            if count > of_head {
                let of_body = count - of_head;
                let is_end = self.response.ends_with(of_body, from);
                from.consume(of_body);
                self.response.wrote_raw(of_body, is_end);
            }
        }
        let spares = &connection.worker.base.spares;
        let result =
            ready!(self.response.poll(cx, &mut self.forwarded.io, &mut connection.io, spares, &mut ()));
        Poll::Ready(result.map_err(|error| match error {
            TransferError::SinkFailed(_) => ErrorCode::ClientGone,
            TransferError::SourceEnded
            | TransferError::SourceFailed(_)
            | TransferError::SourceMalformed(_)
            | TransferError::SourceDisagrees
            | TransferError::Refused(_) => ErrorCode::UpstreamCut,
            // Answers have no limit, and none of their trailers is denied.
            TransferError::TooLarge | TransferError::TrailerDenied => ErrorCode::Internal,
        }))
    }

    /// Goes on sending the request to an endpoint that answers early; notices a client that has gone.
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        exchange: &mut Exchange,
    ) -> Result<(), ErrorCode> {
        if (self.request.source_finished() || connection.io.is_framed()) && connection.is_gone(cx) {
            return Err(ErrorCode::ClientGone);
        }
        self.poll_earlier(cx, connection, exchange);
        if !exchange.up.is_empty() || self.request.is_finished() {
            return Ok(());
        }
        let spares = &connection.worker.base.spares;
        let to = &mut self.forwarded.io;
        match self.request.poll(cx, &mut connection.io, to, spares, &mut exchange.replay) {
            Poll::Ready(Err(TransferError::SinkFailed(_))) => {
                // It has answered and reads no more: the rest is nobody's.
                self.request.discard(spares);
                self.forwarded.persistent = false;
                Ok(())
            }
            Poll::Ready(Err(TransferError::SourceEnded | TransferError::SourceFailed(_))) => {
                Err(ErrorCode::ClientGone)
            }
            Poll::Ready(Err(
                TransferError::SourceMalformed(_)
                | TransferError::SourceDisagrees
                | TransferError::Refused(_),
            )) => Err(ErrorCode::BadRequest),
            Poll::Ready(Err(TransferError::TooLarge)) => Err(ErrorCode::BodyTooLarge),
            Poll::Ready(Err(TransferError::TrailerDenied)) => Err(ErrorCode::HeaderDenied),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// Writes what of the request was to be written before the answer's head came.
    fn poll_earlier(&mut self, cx: &mut Context<'_>, connection: &Connection, exchange: &mut Exchange) {
        while !exchange.up.is_empty() {
            let is_last = self.request.ends_with_replay();
            match self.forwarded.io.poll_write(cx, &exchange.up, is_last) {
                Poll::Pending => return,
                Poll::Ready(Ok(count)) => {
                    exchange.up.drain(..count);
                    if is_last && exchange.up.is_empty() {
                        self.request.told_end();
                    }
                }
                Poll::Ready(Err(_)) => {
                    exchange.up.clear();
                    self.request.discard(&connection.worker.base.spares);
                    self.forwarded.persistent = false;
                }
            }
        }
    }

    fn poll_clock(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        exchange: &Exchange,
    ) -> Poll<Result<(), ErrorCode>> {
        if connection.worker.base.is_stopping() {
            return Poll::Ready(Err(ErrorCode::ShuttingDown));
        }
        let now = Instant::now();
        let idle = self.forwarded.idle;
        let head_pending = self.written < exchange.out.len();
        if !head_pending {
            self.since = now;
        }
        let (due, code) = if head_pending {
            (self.since + idle.client, ErrorCode::ClientGone)
        } else {
            let due = self.response.due(now, idle.upstream, idle.client);
            match self.response.waiting(now).0 {
                Side::Source => (due, ErrorCode::UpstreamCut),
                Side::Sink => (due, ErrorCode::ClientGone),
            }
        };
        // While the rest of the request still moves, the endpoint may wait for it before it goes on.
        let due =
            if self.request.is_finished() { due } else { due.max(self.request.waiting(now).1 + idle.client) };
        let until = earlier(due, self.forwarded.total);
        if now >= until {
            return Poll::Ready(Err(if until < due { ErrorCode::TotalTimeout } else { code }));
        }
        connection.deadline.set(now, until - now);
        let _registered = connection.deadline.is_expired(cx);
        Poll::Pending
    }
}
