use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use weir_task::Deadline;

use crate::connection::{Client, Connection};
use crate::wire::{Io, Wire};
use crate::worker::HttpWorker;

/// How long a connection that is being closed still reads, so that the client sees the answer and not a reset.
const LINGER: Duration = Duration::from_secs(2);

/// Most bytes that a connection that is being closed still reads.
const LINGER_BYTES_MAX: usize = 256 << 10;

/// A client connection over which nothing more is said; counted as open until it is dropped.
pub(super) struct Closing {
    pub(super) io: Io,
    pub(super) client: Arc<Client>,
    pub(super) worker: Arc<HttpWorker>,
    pub(super) deadline: Deadline,
}

impl Closing {
    /// The connection of a conversation over HTTP/1.1.
    pub(super) fn of(connection: Connection) -> Option<Self> {
        let Connection { io, client, worker, deadline, .. } = connection;
        let Wire::H1(io) = io else { return None };
        Some(Self { io, client, worker, deadline })
    }

    /// Ends the writing side and reads what the client still sends, for a while (RFC 9112 section 9.6).
    pub(super) async fn linger(mut self) {
        self.deadline.set(Instant::now(), LINGER);
        let buffers = &self.worker.base.spares.buffers;
        let mut read = 0;
        let mut shut = false;
        poll_fn(|cx| {
            loop {
                if self.deadline.is_expired(cx) || read > LINGER_BYTES_MAX {
                    return Poll::Ready(());
                }
                if !shut {
                    match self.io.socket.poll_shutdown(cx) {
                        Poll::Ready(Ok(())) => shut = true,
                        Poll::Ready(Err(_)) => return Poll::Ready(()),
                        Poll::Pending => return Poll::Pending,
                    }
                }
                let unused = self.io.filled().len();
                self.io.consume(unused);
                match self.io.poll_fill(cx, buffers) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(count)) => read += count,
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        self.io.drop_bytes(buffers);
        drop(self.client);
    }
}
