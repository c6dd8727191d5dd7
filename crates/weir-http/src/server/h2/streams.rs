use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use weir_base::ErrorCode;
use weir_net::ProxyProtocol;
use weir_task::DeadlineWaker;

use super::request;
use super::stats::ResetBy;
use crate::connection::{Client, Connection, Patience};
use crate::pipeline;
use crate::wire::{H2Stream, Wire};
use crate::worker::HttpWorker;

/// The streams of one connection, each a task of its own on the connection's worker.
pub(super) struct Streams {
    client: Arc<Client>,
    worker: Arc<HttpWorker>,
    count: Arc<Count>,
}

/// How many are open.
struct Count {
    open: AtomicU32,
    /// Wakes the connection's task when there are none any more.
    waker: DeadlineWaker,
}

impl Streams {
    pub(super) fn new(client: Arc<Client>, worker: Arc<HttpWorker>, waker: DeadlineWaker) -> Self {
        Self { client, worker, count: Arc::new(Count { open: AtomicU32::new(0), waker }) }
    }

    pub(super) fn open(&self) -> u32 {
        self.count.open.load(Ordering::Relaxed)
    }

    /// Serves the request of a stream.
    pub(super) fn begin(
        &self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        patience: Patience,
    ) {
        self.count.open.fetch_add(1, Ordering::Relaxed);
        self.worker.shared.stats.h2.stream_began(self.worker.base.shard);
        let (head, body) = request.into_parts();
        let conversation = Conversation {
            connection: Connection {
                io: Wire::H2(Box::new(H2Stream::accepted(body, respond))),
                client: Arc::clone(&self.client),
                worker: Arc::clone(&self.worker),
                deadline: self.worker.take_deadline(),
                requests: 0,
                now: Instant::now(),
                patience,
                expects: ProxyProtocol::Off,
                shakes: None,
            },
            count: Arc::clone(&self.count),
        };
        // Boxed here: what is spawned is moved half a dozen times.
        tokio::spawn(Box::pin(serve(conversation, head)));
    }
}

/// A stream while it is served; counted until it is dropped.
struct Conversation {
    connection: Connection,
    count: Arc<Count>,
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.count_reset();
        let worker = &self.connection.worker;
        worker.put_deadline(self.connection.deadline.clone());
        worker.shared.stats.h2.stream_ended(worker.base.shard);
        if self.count.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.count.waker.wake();
        }
    }
}

impl Conversation {
    /// Counts the stream where it did not come to its end.
    fn count_reset(&mut self) {
        let Wire::H2(stream) = &mut self.connection.io else { return };
        let worker = &self.connection.worker;
        let reset = match stream.broken_off() {
            Some(code) => Some((ResetBy::Gateway, code)),
            None => match stream.poll_reset(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(code)) => Some((ResetBy::Client, code)),
                Poll::Ready(Err(_)) | Poll::Pending => None,
            },
        };
        if let Some((by, code)) = reset {
            worker.shared.stats.h2.stream_reset(worker.base.shard, by, code);
        }
    }
}

async fn serve(mut conversation: Conversation, head: http::request::Parts) {
    let connection = &mut conversation.connection;
    let worker = Arc::clone(&connection.worker);
    let mut exchange = worker.take_exchange(connection.now);
    let read = request::read(&head, &mut exchange.request, &connection.patience.head);
    exchange.connect = head.extensions.get::<h2::ext::Protocol>().map(|protocol| protocol.as_str().into());
    drop(head);
    if let (Err(reject), Wire::H2(stream)) = (&read, &mut connection.io)
        && matches!(reject.code, ErrorCode::BadRequest | ErrorCode::BadHost)
    {
        // A malformed request is the stream's error (RFC 9113 section 8.1.1); why it was one stands in the access line.
        stream.reset(Reason::PROTOCOL_ERROR);
    }
    // What becomes of the connection is not for one of its streams to say.
    let _next = pipeline::handle(connection, &mut exchange, read).await;
    worker.put_exchange(exchange);
}
