use std::io;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use weir_net::StreamFault;
use weir_net::tls::{TlsFault, TlsFaultReason};
use weir_wire::http1::{HeadScanner, Known, Version};

use super::limits::Limits;
use super::{ForwardError, frames, upgrade};
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::pipeline::earlier;
use crate::shared::Place;
use crate::transfer::{Side, Transfer};
use crate::wire::Wire;

/// Most interim responses before one final.
const INTERIM_MAX: u32 = 16;

/// The state of one attempt while its request is sent and its answer awaited.
pub(super) struct Exchanging<'a> {
    connection: &'a mut Connection,
    exchange: &'a mut Exchange,
    body: &'a mut Transfer,
    io: &'a mut Wire,
    /// The stream's place, where the connection is shared.
    place: Option<&'a Place>,
    limits: &'a Limits,
    /// Bytes of `exchange.up` that were written.
    written: usize,
    /// The endpoint takes no more of the request; its answer may still come.
    sink_gone: bool,
    scanner: HeadScanner,
    interim: u32,
    /// When the request was last moved on: the response's clock starts there.
    moved_at: Instant,
}

impl<'a> Exchanging<'a> {
    pub(super) fn new(
        connection: &'a mut Connection,
        exchange: &'a mut Exchange,
        body: &'a mut Transfer,
        io: &'a mut Wire,
        place: Option<&'a Place>,
        limits: &'a Limits,
        now: Instant,
    ) -> Self {
        let scanner = HeadScanner::default();
        Self {
            connection,
            exchange,
            body,
            io,
            place,
            limits,
            written: 0,
            sink_gone: false,
            scanner,
            interim: 0,
            moved_at: now,
        }
    }

    /// Bytes of `exchange.up` that were written.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Moves what can be moved; ready when the final head stands in the exchange.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ForwardError>> {
        loop {
            self.poll_request(cx)?;
            self.poll_interim(cx);
            match self.poll_response(cx) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                // An interim response was read: there may be more.
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.watch_client(cx)?;
                    return self.poll_clock(cx);
                }
            }
        }
    }

    /// Writes the head, then whatever of the body the client has sent.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), ForwardError> {
        while self.written < self.exchange.up.len() {
            let is_last = self.body.ends_with_replay();
            match self.io.poll_write(cx, &self.exchange.up[self.written..], is_last) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(count)) => {
                    self.written += count;
                    if is_last && self.written == self.exchange.up.len() {
                        self.body.told_end();
                    }
                }
                Poll::Ready(Err(error)) if self.written == 0 && !self.io.has_sent_part() => {
                    return Err(ForwardError::ClosedBeforeSend(error));
                }
                Poll::Ready(Err(_)) => {
                    self.written = self.exchange.up.len();
                    self.give_up_sending();
                }
            }
        }
        if self.sink_gone || self.body.is_finished() {
            return Ok(());
        }
        let spares = &self.connection.worker.base.spares;
        match self.body.poll(cx, &mut self.connection.io, self.io, spares, &mut self.exchange.replay) {
            Poll::Ready(Ok(())) => self.await_head(),
            Poll::Pending => {}
            Poll::Ready(Err(error)) => match ForwardError::of_request_body(error) {
                Some(error) => return Err(error),
                None => self.give_up_sending(),
            },
        }
        Ok(())
    }

    /// The endpoint takes no more of the request, but it may have answered before it stopped reading.
    fn give_up_sending(&mut self) {
        self.sink_gone = true;
        self.await_head();
    }

    /// From now on the head alone is waited for: the body's clock may have been the longer one.
    fn await_head(&mut self) {
        self.moved_at = Instant::now();
        let limit = self.limits.within(self.limits.response, self.moved_at);
        self.connection.deadline.set(self.moved_at, limit);
    }

    /// Passes interim responses on; what the client does not take at once goes before the final head.
    fn poll_interim(&mut self, cx: &mut Context<'_>) {
        while !self.exchange.out.is_empty() {
            match self.connection.io.poll_write(cx, &self.exchange.out, false) {
                Poll::Ready(Ok(count)) => drop(self.exchange.out.drain(..count)),
                // A client that is gone is found out by reading from it.
                Poll::Ready(Err(_)) | Poll::Pending => return,
            }
        }
    }

    /// Reads one head: true for the final one, false for an interim one.
    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, ForwardError>> {
        if let (Wire::H2(stream), Some(place)) = (&mut *self.io, self.place) {
            let head = ready!(stream.poll_head(cx)).map_err(|error| ForwardError::of_stream(error, place))?;
            frames::response(&head, &mut self.exchange.response, self.limits.head.fields)?;
            if self.exchange.response.status == 101 {
                // There is none in HTTP/2 (RFC 9113 section 8.6).
                return Poll::Ready(Err(ForwardError::BadHead("it switches protocols")));
            }
            return Poll::Ready(self.judge_status());
        }
        loop {
            if !self.io.is_empty() {
                let scanned = self.scanner.scan(self.io.filled(), self.limits.head.bytes);
                match scanned.map_err(|_| ForwardError::BadHead("it is too long or not HTTP"))? {
                    Some(length) => return Poll::Ready(self.read_head(length)),
                    None if !self.io.io().make_room(self.limits.head.bytes + weir_net::BUFFER_BYTES) => {
                        return Poll::Ready(Err(ForwardError::BadHead("it is too long")));
                    }
                    None => {}
                }
            }
            match self.io.poll_fill(cx, &self.connection.worker.base.spares.buffers) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(Ok(_) | Err(_)) if !self.io.is_empty() => {
                    return Poll::Ready(Err(ForwardError::BadHead("it ends in the middle")));
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(ForwardError::ClosedEarly)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(ended_early(&error))),
            }
        }
    }

    fn read_head(&mut self, length: usize) -> Result<bool, ForwardError> {
        let response = &mut self.exchange.response;
        response.parse(&self.io.filled()[..length], &self.limits.head)?;
        self.io.consume(length);
        self.scanner = HeadScanner::default();
        self.judge_status()
    }

    /// Whether the head that was read is the final one.
    fn judge_status(&mut self) -> Result<bool, ForwardError> {
        match self.exchange.response.status {
            101 => {
                upgrade::check(self.exchange)?;
                Ok(true)
            }
            100..=199 => {
                self.interim += 1;
                if self.interim > INTERIM_MAX {
                    return Err(ForwardError::BadHead("there are too many interim responses"));
                }
                self.moved_at = Instant::now();
                self.queue_interim();
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    fn queue_interim(&mut self) {
        let exchange = &mut *self.exchange;
        // HTTP/1.0 has no interim responses; a 100 that nobody waits for would only confuse.
        let wanted = exchange.request.version() != Version::Http10
            && (exchange.response.status != 100 || exchange.expects_continue);
        if !wanted {
            return;
        }
        exchange.response.fields.strip_hop_by_hop();
        // An interim response has no body, whatever it says.
        exchange.response.fields.remove(Known::ContentLength);
        if let Wire::H2(stream) = &mut self.connection.io {
            // A client that is gone is found out elsewhere.
            let _gone = stream.send_interim(exchange.response.status, &exchange.response.fields);
            return;
        }
        exchange.response.write_status_line(&mut exchange.out);
        exchange.response.fields.write_fields(&mut exchange.out);
        exchange.out.extend_from_slice(b"\r\n");
    }

    /// Notices that the client has gone: on HTTP/1.1 once there is nothing of the request to wait for, on a stream at any
    /// time, also while the endpoint takes nothing of its body.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Result<(), ForwardError> {
        if !self.body.source_finished() && !self.connection.io.is_framed() {
            return Ok(());
        }
        if self.connection.is_gone(cx) { Err(ForwardError::ClientGone) } else { Ok(()) }
    }

    /// Judges the clocks: the client's while its body is awaited, else the endpoint's.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ForwardError>> {
        if self.connection.worker.base.is_stopping() {
            return Poll::Ready(Err(ForwardError::ShuttingDown));
        }
        let writing = self.written < self.exchange.up.len();
        let streaming = !writing && !self.sink_gone && !self.body.is_finished();
        if !streaming {
            // Nothing moved since the clock was set, unless the last of the body has just been written.
            if !self.connection.deadline.is_expired(cx) {
                return Poll::Pending;
            }
            let now = Instant::now();
            let due = self.moved_at + self.limits.response;
            if now < due && self.limits.total.is_none_or(|total| now < total) {
                self.connection.deadline.set(now, self.limits.within(due - now, now));
                return if self.connection.deadline.is_expired(cx) {
                    self.poll_clock(cx)
                } else {
                    Poll::Pending
                };
            }
            if let Some(place) = self.place {
                place.doubt(now - self.moved_at);
            }
            return Poll::Ready(Err(self.limits.expired(ForwardError::ResponseTimeout)));
        }
        let now = Instant::now();
        let due = self.body.due(now, self.limits.body_idle, self.limits.upstream_idle);
        self.moved_at = now;
        if now >= earlier(due, self.limits.total) {
            let error = match self.body.waiting(now).0 {
                Side::Source => ForwardError::ClientTimeout,
                Side::Sink => ForwardError::WriteTimeout,
            };
            return Poll::Ready(Err(self.limits.expired(error)));
        }
        self.connection.deadline.set(now, earlier(due, self.limits.total) - now);
        let _registered = self.connection.deadline.is_expired(cx);
        Poll::Pending
    }
}

/// What it means that reading failed before the first byte of an answer.
fn ended_early(error: &io::Error) -> ForwardError {
    match StreamFault::of(error) {
        Some(StreamFault::Refused) => return ForwardError::AgentRefused,
        Some(StreamFault::Reset) => return ForwardError::AgentAborted,
        Some(StreamFault::Lost) => return ForwardError::AgentLost,
        None => {}
    }
    match TlsFault::within(error) {
        // With TLS 1.3 a server looks at our certificate when for us the handshake is over.
        Some(fault) if fault.reason() == TlsFaultReason::CertificateRefused => ForwardError::Tls(fault),
        _ => ForwardError::ClosedEarly,
    }
}
