use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::tls::{Alpn, TlsFacts, TlsStream};
use crate::{Buffer, ByteStream};

/// A connected byte stream, whatever carries it.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A unix stream socket.
    Unix(UnixStream),
    /// TLS on one of them.
    Tls(Box<TlsStream>),
    /// A stream that is no socket of this process.
    Stream(Box<dyn ByteStream>),
}

macro_rules! each {
    ($self:expr, $socket:ident => $body:expr, $tls:ident => $within:expr, $stream:ident => $beside:expr) => {
        match $self {
            Self::Tcp($socket) => $body,
            Self::Unix($socket) => $body,
            Self::Tls($tls) => $within,
            Self::Stream($stream) => $beside,
        }
    };
}

impl Socket {
    /// Connects over TCP, without delay for small writes.
    ///
    /// # Errors
    ///
    /// What connect(2) says.
    pub async fn connect_tcp(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Connects to a unix socket.
    ///
    /// # Errors
    ///
    /// What connect(2) says.
    pub async fn connect_unix(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).await.map(Self::Unix)
    }

    /// Reads into the buffer's room; 0 at the end of the stream. The room must not be empty.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        self.poll_read_some(cx, buffer, usize::MAX)
    }

    /// Reads at most `max` bytes into the buffer's room; 0 at the end of the stream. Neither may be zero.
    pub fn poll_read_some(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        max: usize,
    ) -> Poll<io::Result<usize>> {
        let room = buffer.room();
        let max = max.min(room.len());
        debug_assert!(max > 0, "a read without room looks like the end");
        if let Self::Tls(tls) = self {
            return tls.poll_read_some(cx, buffer, max);
        }
        let mut room = ReadBuf::new(&mut room[..max]);
        ready!(self.poll_read_buf(cx, &mut room))?;
        let count = room.filled().len();
        buffer.advance(count);
        Poll::Ready(Ok(count))
    }

    /// Reads into memory of another kind; nothing at the end of the stream.
    pub fn poll_read_buf(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_read(cx, into), tls => tls.poll_read_buf(cx, into), stream => {
            let count = ready!(stream.poll_read(cx, into.initialize_unfilled()))?;
            into.advance(count);
            Poll::Ready(Ok(()))
        })
    }

    /// Writes what the kernel takes.
    ///
    /// After [`Poll::Pending`] it must be called again with bytes that begin with the same ones: they may be encrypted
    /// already. The count is of bytes that the kernel has taken, so that nothing needs a flush.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, s => Pin::new(s).poll_write(cx, bytes), tls => tls.poll_write(cx, bytes), stream => stream.poll_write(cx, bytes))
    }

    /// Writes what the kernel takes of several pieces; they stand for their bytes, as with
    /// [`poll_write`](Self::poll_write).
    pub fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(
            self,
            s => Pin::new(s).poll_write_vectored(cx, pieces),
            tls => tls.poll_write_vectored(cx, pieces),
            stream => {
                let first = pieces.iter().find(|piece| !piece.is_empty());
                stream.poll_write(cx, first.map_or(&[], |piece| piece))
            }
        )
    }

    /// Whether the peer may have a part of the last write although that write is not over, or has failed.
    pub fn has_sent_part(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.has_sent_part())
    }

    /// Ends the writing direction, within TLS with a word.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_shutdown(cx), tls => tls.poll_shutdown(cx), stream => stream.poll_shutdown(cx))
    }

    /// Waits until there is something to read, the end of the stream or an error among it.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => s.poll_read_ready(cx), tls => tls.poll_readable(cx), stream => stream.poll_readable(cx))
    }

    /// Reads without waiting; [`io::ErrorKind::WouldBlock`] where there is nothing.
    ///
    /// Costs no system call where the runtime has not heard of anything to read.
    ///
    /// # Errors
    ///
    /// What read(2) says.
    pub fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        each!(self, s => s.try_read(bytes), tls => tls.try_read(bytes), stream => stream.try_read(bytes))
    }

    /// Whether a connection that should be silent is so: open, and nothing came.
    ///
    /// Asks the kernel, not the runtime's memory of what it heard: costs one system call.
    pub fn is_silent(&mut self) -> bool {
        let fd = match self {
            Self::Tcp(stream) => (*stream).as_fd(),
            Self::Unix(stream) => (*stream).as_fd(),
            Self::Tls(tls) => return tls.is_silent(),
            Self::Stream(stream) => return stream.is_silent(),
        };
        let mut byte = [0u8; 1];
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        matches!(rustix::net::recv(fd, &mut byte, flags), Err(error) if error == rustix::io::Errno::AGAIN)
    }

    /// Reads at once what the kernel has, whatever the runtime has heard.
    pub(crate) fn receive_now(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let flags = rustix::net::RecvFlags::DONTWAIT;
        let received = match self {
            Self::Tcp(stream) => rustix::net::recv(stream, bytes, flags),
            Self::Unix(stream) => rustix::net::recv(stream, bytes, flags),
            Self::Tls(tls) => return tls.try_read(bytes),
            Self::Stream(stream) => return stream.try_read(bytes),
        };
        received.map(|(count, _)| count).map_err(io::Error::from)
    }

    /// Writes in passing what is taken at once; what is not is lost.
    pub(crate) fn send_now(&mut self, bytes: &[u8]) {
        let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
        match self {
            Self::Tcp(stream) => _ = rustix::net::send(stream, bytes, flags),
            Self::Unix(stream) => _ = rustix::net::send(stream, bytes, flags),
            Self::Tls(_) | Self::Stream(_) => {
                _ = self.poll_write(&mut Context::from_waker(Waker::noop()), bytes);
            }
        }
    }

    /// What the connection has failed with, where nobody was told yet.
    pub fn take_error(&self) -> Option<io::Error> {
        each!(self, s => s.take_error().ok().flatten(), tls => tls.socket().take_error(), stream => stream.take_error())
    }

    /// The socket's own address; none on unix sockets.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) | Self::Stream(_) => None,
            Self::Tls(tls) => tls.socket().local_addr(),
        }
    }

    /// Whether its bytes pass as they are, so that the kernel can move them by itself.
    pub fn can_splice(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Unix(_))
    }

    /// Whether it may serve another request once one was answered.
    pub fn may_be_kept(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => true,
            Self::Tls(tls) => tls.socket().may_be_kept(),
            Self::Stream(stream) => stream.may_be_kept(),
        }
    }

    /// What the TLS handshake has settled; none where there was none.
    pub fn tls(&self) -> Option<&Arc<TlsFacts>> {
        match self {
            Self::Tls(tls) => Some(tls.facts()),
            Self::Tcp(_) | Self::Unix(_) | Self::Stream(_) => None,
        }
    }

    /// The protocol that a TLS handshake has settled.
    pub fn alpn(&self) -> Option<Alpn> {
        self.tls().and_then(|facts| facts.alpn)
    }

    /// Lets the kernel look after the peer: asks a silent one whether it is there, gives up one that acknowledges
    /// nothing for so long.
    pub fn set_options(&self, keepalive: Option<Duration>, user_timeout: Option<Duration>) {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Unix(_) | Self::Stream(_) => return,
            Self::Tls(tls) => return tls.socket().set_options(keepalive, user_timeout),
        };
        let socket = socket2::SockRef::from(stream);
        // A socket that refuses an option works without it.
        if let Some(idle) = keepalive {
            let _unset = socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(idle));
        }
        if user_timeout.is_some() {
            let _unset = socket.set_tcp_user_timeout(user_timeout);
        }
    }

    /// Makes the close of this socket a reset, so that the peer cannot take what it got for the whole.
    pub fn reset_on_close(&mut self) {
        match self {
            Self::Tls(tls) => tls.give_up(),
            Self::Stream(stream) => stream.reset_on_close(),
            Self::Tcp(_) | Self::Unix(_) => {}
        }
        self.linger_no_more();
    }

    fn linger_no_more(&self) {
        match self {
            // A socket that refuses the option is closed in the ordinary way.
            Self::Tcp(stream) => _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)),
            // A stream has been told before.
            Self::Unix(_) | Self::Stream(_) => {}
            Self::Tls(tls) => tls.socket().linger_no_more(),
        }
    }

    /// Waits as `operation`, a non-blocking system call on this socket, needs for reading.
    ///
    /// # Errors
    ///
    /// What the operation says, but [`io::ErrorKind::WouldBlock`]; [`io::ErrorKind::InvalidInput`] where the socket's
    /// bytes are not those of the stream, as with TLS.
    pub fn poll_read_with<T>(
        &self,
        cx: &mut Context<'_>,
        mut operation: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let operated = each!(
                self,
                s => {
                    ready!(s.poll_read_ready(cx))?;
                    s.try_io(tokio::io::Interest::READABLE, || operation(s.as_fd()))
                },
                _tls => return Poll::Ready(Err(io::ErrorKind::InvalidInput.into())),
                _stream => return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()))
            );
            match operated {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Waits as `operation`, a non-blocking system call on this socket, needs for writing.
    ///
    /// # Errors
    ///
    /// As with [`poll_read_with`](Self::poll_read_with).
    pub fn poll_write_with<T>(
        &self,
        cx: &mut Context<'_>,
        mut operation: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let operated = each!(
                self,
                s => {
                    ready!(s.poll_write_ready(cx))?;
                    s.try_io(tokio::io::Interest::WRITABLE, || operation(s.as_fd()))
                },
                _tls => return Poll::Ready(Err(io::ErrorKind::InvalidInput.into())),
                _stream => return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()))
            );
            match operated {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}
