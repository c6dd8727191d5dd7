//! TLS as a client over any stream, for the few connections that are not a worker's.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ClientConnection;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{ClientTls, TlsFault};
use crate::tls::Alpn;

/// A stream within TLS whose handshake is over. Holds the buffers of rustls, some tens of KiB, unlike a worker's
/// [`TlsStream`](crate::tls::TlsStream).
#[derive(Debug)]
pub struct ClientStream<S> {
    inner: S,
    tls: ClientConnection,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientStream<S> {
    /// Shakes hands on `inner` with who must be `name`. Waits as long as the server does: the caller bounds it.
    ///
    /// # Errors
    ///
    /// [`TlsFault`].
    pub async fn connect(inner: S, tls: &ClientTls, name: ServerName<'static>) -> Result<Self, TlsFault> {
        let tls = ClientConnection::new(Arc::clone(&tls.config), name);
        let mut stream = Self { inner, tls: tls.map_err(|error| TlsFault::from(&error))? };
        let shaken = std::future::poll_fn(|cx| {
            while stream.tls.is_handshaking() {
                ready!(stream.poll_send(cx))?;
                if stream.tls.is_handshaking() && ready!(stream.poll_receive(cx))? == 0 {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
            }
            stream.poll_send(cx)
        });
        match shaken.await {
            Ok(()) => Ok(stream),
            Err(error) => Err(TlsFault::from(&error)),
        }
    }

    /// The protocol that both sides have agreed on.
    pub fn alpn(&self) -> Option<Alpn> {
        self.tls.alpn_protocol().map(Alpn::from_bytes)
    }

    /// Sends the records that are ready.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            ready!(waiting(self.tls.write_tls(&mut Now { inner: &mut self.inner, cx })))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Receives records and works on them; 0 at the end of the connection.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = ready!(waiting(self.tls.read_tls(&mut Now { inner: &mut self.inner, cx })))?;
        if let Err(error) = self.tls.process_new_packets() {
            // The server is told why, if it takes that at once.
            let _sent = self.poll_send(cx);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
        Poll::Ready(Ok(count))
    }
}

/// A result of what does not wait, as one of what does.
fn waiting<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

/// A stream as rustls reads and writes it: without waiting.
struct Now<'a, 'c, S> {
    inner: &'a mut S,
    cx: &'a mut Context<'c>,
}

impl<S: AsyncRead + Unpin> Read for Now<'_, '_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut into = ReadBuf::new(into);
        match Pin::new(&mut *self.inner).poll_read(self.cx, &mut into) {
            Poll::Ready(result) => result.map(|()| into.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S: AsyncWrite + Unpin> Write for Now<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.inner).poll_write(self.cx, bytes) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.tls.reader().read(into.initialize_unfilled()) {
                Ok(count) => {
                    into.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // An end without a word is an error that the reader tells after the connection has ended.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let _count = ready!(self.poll_receive(cx))?;
                    // What TLS itself has to answer; what does not go now goes with the next write.
                    let _sent = self.poll_send(cx)?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Nothing piles up: what was taken before goes first.
        ready!(self.poll_send(cx))?;
        let count = self.tls.writer().write(bytes)?;
        let _sent = self.poll_send(cx)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.send_close_notify();
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
