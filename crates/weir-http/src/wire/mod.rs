//! What a request is read from and an answer written to, whatever version of HTTP carries it.

mod ends;
mod fields;
mod io;
mod stream;

use std::io::Result;
use std::task::{Context, Poll};

use weir_net::{Buffers, Socket};
use weir_wire::http1::{ChunkError, Head};

pub(crate) use ends::Ends;
pub(crate) use fields::{response, written};
pub(crate) use io::Io;
pub(crate) use stream::H2Stream;

/// One end of a conversation: of a client, or of an endpoint.
///
/// The same few operations for every version, so that there is one pipeline. What is `filled` is the message as it is
/// framed: on HTTP/1.1 all bytes of the connection, on HTTP/2 the data of the stream.
#[derive(Debug)]
pub(crate) enum Wire {
    /// A connection of its own.
    H1(Io),
    /// One stream of a connection that others share.
    H2(Box<H2Stream>),
}

impl Wire {
    /// The bytes that were read and not yet used.
    #[inline]
    pub(crate) fn filled(&self) -> &[u8] {
        match self {
            Self::H1(io) => io.filled(),
            Self::H2(stream) => stream.filled(),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::H1(io) => io.is_empty(),
            Self::H2(stream) => stream.filled().is_empty(),
        }
    }

    /// Marks `count` bytes as used; on HTTP/2 the peer may send as many more.
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        match self {
            Self::H1(io) => io.consume(count),
            Self::H2(stream) => stream.consume(count),
        }
    }

    /// Reads more; 0 at the end of the connection or of the stream. All that was read must have been used on HTTP/2;
    /// on HTTP/1.1 there must be room.
    #[inline]
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, buffers: &Buffers) -> Poll<Result<usize>> {
        match self {
            Self::H1(io) => io.poll_fill(cx, buffers),
            Self::H2(stream) => stream.poll_fill(cx),
        }
    }

    /// Whether nothing follows what is filled, not even trailers; where that cannot be told yet it is false.
    pub(crate) fn is_last(&self) -> bool {
        match self {
            Self::H1(_) => false,
            Self::H2(stream) => stream.is_last(),
        }
    }

    /// The trailers that came behind the last byte; none on HTTP/1.1, where they are part of the body's framing.
    ///
    /// # Errors
    ///
    /// [`ChunkError`] where there are more of them than a body may have.
    pub(crate) fn take_trailers(&mut self, into: &mut Head) -> std::result::Result<(), ChunkError> {
        match self {
            Self::H1(_) => Ok(()),
            Self::H2(stream) => stream.take_trailers(into),
        }
    }

    /// Writes what is taken at the moment. With `is_last` nothing follows these bytes: once all of them are written the
    /// stream is ended, which on HTTP/1.1 their framing has told.
    #[inline]
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        is_last: bool,
    ) -> Poll<Result<usize>> {
        match self {
            Self::H1(io) => io.socket.poll_write(cx, bytes),
            Self::H2(stream) => stream.poll_write(cx, bytes, is_last),
        }
    }

    /// Whether the peer may have something of what could not be written: on a stream that is not known.
    pub(crate) fn has_sent_part(&self) -> bool {
        match self {
            Self::H1(io) => io.socket.has_sent_part(),
            Self::H2(_) => true,
        }
    }

    /// Ends a stream behind what was written, with trailers where there are any. On HTTP/1.1 the framing does that.
    pub(crate) fn end(&mut self, trailers: &Head) -> Result<()> {
        match self {
            Self::H1(_) => Ok(()),
            Self::H2(stream) => stream.end(trailers),
        }
    }

    /// Breaks off, so that the peer cannot take what it got for the whole.
    pub(crate) fn cut(&mut self, reason: h2::Reason) {
        match self {
            Self::H1(io) => io.socket.reset_on_close(),
            Self::H2(stream) => stream.reset(reason),
        }
    }

    /// Gives an endpoint's connection up in the middle. A socket's close tells that by itself; a stream of a tunnel is
    /// aborted, as its close would be an end.
    pub(crate) fn abandon(&mut self) {
        if let Self::H1(Io { socket: Socket::Stream(stream), .. }) = self {
            stream.reset_on_close();
        }
    }

    /// Whether it may serve another request.
    pub(crate) fn may_be_kept(&self) -> bool {
        match self {
            Self::H1(io) => io.socket.may_be_kept(),
            Self::H2(_) => true,
        }
    }

    /// Whether a body on this wire comes, and is written, as data frames.
    #[inline]
    pub(crate) fn is_framed(&self) -> bool {
        matches!(self, Self::H2(_))
    }

    /// Forgets the bytes that were read and not yet used, and gives the buffer back.
    pub(crate) fn drop_bytes(&mut self, buffers: &Buffers) {
        match self {
            Self::H1(io) => io.drop_bytes(buffers),
            Self::H2(stream) => stream.consume(stream.filled().len()),
        }
    }

    /// The connection itself.
    ///
    /// # Panics
    ///
    /// On HTTP/2: only the server of HTTP/1.1 connections and the client of its own ask.
    #[inline]
    pub(crate) fn io(&mut self) -> &mut Io {
        match self {
            Self::H1(io) => io,
            Self::H2(_) => unreachable!("a stream of HTTP/2 is never served as a connection of HTTP/1.1"),
        }
    }
}
