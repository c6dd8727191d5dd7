use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};
use weir_wire::http1::{ChunkError, Head};

use super::{Ends, fields};

/// One stream of an HTTP/2 connection, of a client or to an endpoint.
///
/// Credit goes back to the peer only for bytes that were used, so a stream that is not read on pauses its sender and
/// no other stream.
pub(crate) struct H2Stream {
    recv: Recv,
    send: Send,
    /// Nothing more can be written.
    is_send_ended: bool,
    /// Why we broke off, if we did.
    broken_off: Option<Reason>,
    /// Data that was read and not yet used.
    chunk: Bytes,
    trailers: Option<HeaderMap>,
    /// Which answers of the connection were whole; none on the server's side, where requests come.
    ends: Option<Arc<Ends>>,
}

enum Recv {
    /// The answer's head has not come yet.
    Head(ResponseFuture),
    Body(RecvStream),
    Ended,
}

enum Send {
    /// The answer's head is not written yet.
    Head(SendResponse<Bytes>),
    Body(SendStream<Bytes>),
}

/// Most bytes that go into a stream at once: as many as a data frame may have by default.
const PIECE_BYTES_MAX: usize = 16 << 10;

impl H2Stream {
    /// The server's side, once the head of a request was read.
    pub(crate) fn accepted(body: RecvStream, respond: SendResponse<Bytes>) -> Self {
        Self {
            recv: Recv::Body(body),
            send: Send::Head(respond),
            is_send_ended: false,
            broken_off: None,
            chunk: Bytes::new(),
            trailers: None,
            ends: None,
        }
    }

    /// The client's side, once the head of a request was written; `is_ended` where it has no body.
    pub(crate) fn requested(
        answer: ResponseFuture,
        body: SendStream<Bytes>,
        is_ended: bool,
        ends: Arc<Ends>,
    ) -> Self {
        Self {
            recv: Recv::Head(answer),
            send: Send::Body(body),
            is_send_ended: is_ended,
            broken_off: None,
            chunk: Bytes::new(),
            trailers: None,
            ends: Some(ends),
        }
    }

    #[inline]
    pub(crate) fn filled(&self) -> &[u8] {
        &self.chunk
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.chunk.advance(count);
        if let Recv::Body(recv) = &mut self.recv {
            // Of a stream that is gone there is nothing to give back.
            let _gone = recv.flow_control().release_capacity(count);
        }
    }

    /// Reads the next data; 0 at the end of the stream, when its trailers were read.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        debug_assert!(self.chunk.is_empty(), "what was read before is used first");
        let recv = match &mut self.recv {
            Recv::Body(recv) => recv,
            Recv::Head(_) | Recv::Ended => return Poll::Ready(Ok(0)),
        };
        loop {
            match ready!(recv.poll_data(cx)) {
                // A frame without data says nothing, unless the stream ends with it.
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    self.chunk = data;
                    return Poll::Ready(Ok(self.chunk.len()));
                }
                // A server that has answered the whole and wants no more of the request says so after the answer's end
                // (RFC 9113 section 8.1), which the library then no longer tells.
                Some(Err(error))
                    if is_without_error(&error)
                        && self
                            .ends
                            .as_ref()
                            .is_some_and(|ends| ends.was_whole(recv.stream_id().as_u32())) =>
                {
                    self.recv = Recv::Ended;
                    return Poll::Ready(Ok(0));
                }
                Some(Err(error)) => return Poll::Ready(Err(failed(error))),
                None => break,
            }
        }
        self.trailers = ready!(recv.poll_trailers(cx)).map_err(failed)?;
        self.recv = Recv::Ended;
        Poll::Ready(Ok(0))
    }

    /// Whether the stream ended with what is filled, and without trailers.
    pub(crate) fn is_last(&self) -> bool {
        match &self.recv {
            Recv::Body(recv) => recv.is_end_stream(),
            Recv::Head(_) => false,
            Recv::Ended => self.trailers.is_none(),
        }
    }

    pub(crate) fn take_trailers(&mut self, into: &mut Head) -> std::result::Result<(), ChunkError> {
        self.trailers.take().map_or(Ok(()), |trailers| fields::read_trailers(&trailers, into))
    }

    /// Waits for the head of an endpoint's answer, interim ones first; the wait is over with the final one.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<std::result::Result<Response<()>, h2::Error>> {
        let Recv::Head(answer) = &mut self.recv else {
            unreachable!("the head of an answer is read once, by who has sent the request")
        };
        if let Poll::Ready(Some(interim)) = answer.poll_informational(cx) {
            return Poll::Ready(interim);
        }
        let (head, body) = ready!(Pin::new(answer).poll(cx))?.into_parts();
        self.recv = Recv::Body(body);
        Poll::Ready(Ok(Response::from_parts(head, ())))
    }

    /// Writes an interim answer.
    pub(crate) fn send_interim(&mut self, status: u16, fields: &Head) -> Result<()> {
        match &mut self.send {
            Send::Head(respond) => {
                respond.send_informational(fields::response(status, fields::written(fields))).map_err(failed)
            }
            Send::Body(_) => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    /// Writes the head of the answer; `is_last` where it has no body.
    pub(crate) fn send_head(&mut self, head: Response<()>, is_last: bool) -> Result<()> {
        let Send::Head(respond) = &mut self.send else { return Err(ErrorKind::BrokenPipe.into()) };
        let body = respond.send_response(head, is_last).map_err(failed)?;
        self.send = Send::Body(body);
        self.is_send_ended = is_last;
        Ok(())
    }

    /// Writes as much as the peer's windows and the bound of the stream's own buffer allow.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        is_last: bool,
    ) -> Poll<Result<usize>> {
        let room = ready!(self.poll_room(cx, bytes.len()))?;
        let count = room.min(bytes.len());
        self.send_data(Bytes::copy_from_slice(&bytes[..count]), is_last && count == bytes.len())?;
        Poll::Ready(Ok(count))
    }

    /// Waits for room for up to `wanted` bytes.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize>> {
        let send = self.body()?;
        let wanted = wanted.min(PIECE_BYTES_MAX);
        send.reserve_capacity(wanted);
        loop {
            match send.capacity() {
                0 => {}
                room => return Poll::Ready(Ok(room.min(wanted))),
            }
            match ready!(send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(failed(error))),
                None => return Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
            }
        }
    }

    fn send_data(&mut self, data: Bytes, is_last: bool) -> Result<()> {
        self.body()?.send_data(data, is_last).map_err(failed)?;
        self.is_send_ended = is_last;
        Ok(())
    }

    /// Where a body is written, while it can be.
    fn body(&mut self) -> Result<&mut SendStream<Bytes>> {
        match &mut self.send {
            Send::Body(body) if !self.is_send_ended => Ok(body),
            Send::Head(_) | Send::Body(_) => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    /// Ends the stream behind what was written.
    pub(crate) fn end(&mut self, trailers: &Head) -> Result<()> {
        if trailers.is_empty() {
            return self.send_data(Bytes::new(), true);
        }
        self.body()?.send_trailers(fields::written(trailers)).map_err(failed)?;
        self.is_send_ended = true;
        Ok(())
    }

    /// Ends the stream in both directions at once.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.broken_off = Some(reason);
        match &mut self.send {
            Send::Head(respond) => respond.send_reset(reason),
            Send::Body(send) => send.send_reset(reason),
        }
    }

    /// Why we broke off, if we did.
    pub(crate) fn broken_off(&self) -> Option<Reason> {
        self.broken_off
    }

    /// Whether the peer has reset the stream or the connection is lost; otherwise the task is woken when that happens.
    pub(crate) fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_reset(cx).is_ready()
    }

    /// Waits for the peer to reset the stream, or for the connection to be lost.
    pub(crate) fn poll_reset(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<std::result::Result<Reason, h2::Error>> {
        match &mut self.send {
            Send::Head(respond) => respond.poll_reset(cx),
            Send::Body(send) => send.poll_reset(cx),
        }
    }
}

/// Whether a peer's reset says that all is well.
fn is_without_error(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

/// The error as one of reading and writing: the library's own verdict on the peer is told from a reset by the peer.
fn failed(error: h2::Error) -> Error {
    let kind = if error.is_library() { ErrorKind::InvalidData } else { ErrorKind::ConnectionReset };
    Error::new(kind, error)
}

impl std::fmt::Debug for H2Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H2Stream").field("filled", &self.chunk.len()).finish_non_exhaustive()
    }
}
