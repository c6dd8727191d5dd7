use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};

use crate::Socket;

/// Size asked for: with it a gigabyte takes 2,000 system calls instead of 32,000.
const PIPE_BYTES: usize = 1 << 20;

/// Least size that is worth a pipe. The kernel gives an unprivileged user 64 MiB of pipes in all
/// (`/proc/sys/fs/pipe-user-pages-soft`); who asks for more than is left gets the default of 64 KiB, and then 8 KiB.
const PIPE_BYTES_MIN: usize = 64 << 10;

/// Most pipes of a worker that are in use at a time: more streams than these are copied, which costs twice as much and
/// harms nobody else.
const IN_USE_MAX: usize = 64;

/// How often a worker does without before it asks the kernel again for what it was refused.
const REFUSED_PAUSE: usize = 1_000;

/// Most unused pipes that a worker keeps: two descriptors each.
const KEPT_MAX: usize = 8;

/// A kernel buffer between two sockets: bytes pass through it without being copied to this process.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    filled: usize,
    size: usize,
    /// Held while it is in use.
    permit: Option<Permit>,
}

/// Counts a pipe as in use until it is dropped.
#[derive(Debug)]
struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        let size = match fcntl_setpipe_size(&write, PIPE_BYTES) {
            Ok(size) => size,
            Err(_) => fcntl_getpipe_size(&write)?,
        };
        if size < PIPE_BYTES_MIN {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(Self { read, write, filled: 0, size, permit: None })
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
        let result = from.poll_read_with(cx, |from| {
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
        let result = to.poll_write_with(cx, |to| {
            splice(&self.read, None, to, None, self.filled, flags).map_err(io::Error::from)
        });
        if let Poll::Ready(Ok(count)) = result {
            self.filled -= count;
        }
        result
    }
}

/// The pipes of one worker.
#[derive(Debug, Default)]
pub struct Pipes(Mutex<Stock>);

#[derive(Debug, Default)]
struct Stock {
    unused: Vec<Pipe>,
    in_use: Arc<AtomicUsize>,
    /// How often to do without until the kernel is asked again.
    pause: usize,
}

impl Pipes {
    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty pipe; none where too many are in use, or no descriptor or memory is left: then bytes are copied.
    pub fn take(&self) -> Option<Pipe> {
        let mut stock = self.stock();
        if stock.in_use.load(Ordering::Relaxed) >= IN_USE_MAX {
            return None;
        }
        let mut pipe = match stock.unused.pop() {
            Some(pipe) => pipe,
            None if stock.pause > 0 => {
                stock.pause -= 1;
                return None;
            }
            None => match Pipe::new() {
                Ok(pipe) => pipe,
                Err(_) => {
                    stock.pause = REFUSED_PAUSE;
                    return None;
                }
            },
        };
        stock.in_use.fetch_add(1, Ordering::Relaxed);
        pipe.permit = Some(Permit(Arc::clone(&stock.in_use)));
        Some(pipe)
    }

    /// Takes a pipe back; one that still holds bytes is closed, and they with it.
    pub fn put(&self, mut pipe: Pipe) {
        pipe.permit = None;
        let mut stock = self.stock();
        if pipe.filled == 0 && stock.unused.len() < KEPT_MAX {
            stock.unused.push(pipe);
        }
    }

    /// Closes half of the unused pipes; called now and then, so that a burst's descriptors go back.
    pub fn shrink(&self) {
        let mut stock = self.stock();
        let half = stock.unused.len() / 2;
        stock.unused.truncate(half);
    }

    /// Closes all unused pipes; how many descriptors that freed.
    pub fn shed(&self) -> usize {
        self.stock().unused.drain(..).count() * 2
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

    #[test]
    fn no_more_pipes_are_in_use_than_a_worker_may_have() {
        let pipes = Pipes::default();
        let mut taken: Vec<Pipe> = std::iter::from_fn(|| pipes.take()).collect();
        assert_eq!(taken.len(), IN_USE_MAX);
        pipes.put(taken.pop().unwrap());
        drop(taken.pop());
        let again = [pipes.take(), pipes.take(), pipes.take()];
        assert!(again[..2].iter().all(Option::is_some) && again[2].is_none());
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
