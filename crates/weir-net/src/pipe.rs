use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};

use crate::Socket;

/// Size asked for: with it a gigabyte takes 2,000 system calls instead of 32,000. An unprivileged user may be
/// given less, then the kernel's default of 64 KiB is what there is.
const PIPE_BYTES: usize = 1 << 20;

/// Most unused pipes that a worker keeps: two descriptors each.
const KEPT_MAX: usize = 8;

/// A kernel buffer between two sockets: bytes pass through it without being copied to this process.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    filled: usize,
    size: usize,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        let size = match fcntl_setpipe_size(&write, PIPE_BYTES) {
            Ok(size) => size,
            Err(_) => fcntl_getpipe_size(&write)?,
        };
        Ok(Self { read, write, filled: 0, size })
    }

    /// Bytes that are in the pipe.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Moves up to `max` bytes from a socket into an empty pipe; 0 at the end of the stream.
    ///
    /// Filled only when empty: how many bytes a pipe still takes depends on how they came, so that a full one
    /// cannot be told from a silent socket.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, from: &Socket, max: usize) -> Poll<io::Result<usize>> {
        debug_assert_eq!(self.filled, 0, "a pipe is filled when it is empty");
        let max = max.min(self.size);
        let result = from.poll_read_with(cx, || {
            splice(from, None, &self.write, None, max, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)
                .map_err(io::Error::from)
        });
        if let Poll::Ready(Ok(count)) = result {
            self.filled = count;
        }
        result
    }

    /// Moves bytes from the pipe to a socket. `more` says that further bytes follow soon.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, to: &Socket, more: bool) -> Poll<io::Result<usize>> {
        let mut flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        if more {
            flags |= SpliceFlags::MORE;
        }
        let result = to.poll_write_with(cx, || {
            splice(&self.read, None, to, None, self.filled, flags).map_err(io::Error::from)
        });
        if let Poll::Ready(Ok(count)) = result {
            self.filled -= count;
        }
        result
    }
}

/// Unused pipes of one worker.
#[derive(Debug, Default)]
pub struct Pipes(Mutex<Vec<Pipe>>);

impl Pipes {
    /// An empty pipe; none where no descriptor is left, and then bytes are copied.
    pub fn take(&self) -> Option<Pipe> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.or_else(|| Pipe::new().ok())
    }

    /// Takes a pipe back; one that still holds bytes is closed, and they with it.
    pub fn put(&self, pipe: Pipe) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pipe.filled == 0 && kept.len() < KEPT_MAX {
            kept.push(pipe);
        }
    }

    /// Closes half of the unused pipes; called now and then, so that a burst's descriptors go back.
    pub fn shrink(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let half = kept.len() / 2;
        kept.truncate(half);
    }

    /// Closes all unused pipes; how many descriptors that freed.
    pub fn shed(&self) -> usize {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.drain(..).count() * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn bytes_pass_from_socket_to_socket() {
        let (mut source, from) = UnixStream::pair().unwrap();
        let (to, mut sink) = UnixStream::pair().unwrap();
        let (from, to) = (Socket::Unix(from), Socket::Unix(to));
        let pipes = Pipes::default();
        let mut pipe = pipes.take().unwrap();
        source.write_all(b"through the kernel").await.unwrap();
        let count = poll_fn(|cx| pipe.poll_fill(cx, &from, 7)).await.unwrap();
        assert_eq!((count, pipe.filled()), (7, 7));
        poll_fn(|cx| pipe.poll_drain(cx, &to, false)).await.unwrap();
        let mut got = [0; 7];
        sink.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"through");
        pipes.put(pipe);
        assert_eq!(pipes.shed(), 2);
    }

    #[tokio::test]
    async fn the_end_of_the_source_is_seen() {
        let (source, from) = UnixStream::pair().unwrap();
        drop(source);
        let from = Socket::Unix(from);
        let mut pipe = Pipes::default().take().unwrap();
        assert_eq!(poll_fn(|cx| pipe.poll_fill(cx, &from, 7)).await.unwrap(), 0);
    }
}
