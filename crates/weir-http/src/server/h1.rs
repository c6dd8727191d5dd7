use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use weir_base::ErrorCode;
use weir_net::tls::Alpn;
use weir_net::{ListenerState, ProxyHeaderFailure, ProxyProtocol, Refusal, Socket};
use weir_wire::http1::{HeadLimits, HeadScanner, RequestError};

use super::closing::Closing;
use super::{h2, proxy_header, tls};
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::pipeline::{self, Next, problem};
use crate::reject::Reject;
use crate::worker::HttpWorker;

/// Serves one client connection to its end.
///
/// While it waits for a request it is this future and a box, and nothing else: buffers, heads and the state of an
/// exchange exist only while there is one. What is captured is kept small on purpose: a future has room for its
/// captures beside the variables that they are moved to.
pub fn serve(
    socket: Socket,
    peer: Option<SocketAddr>,
    listener: Arc<ListenerState>,
    worker: Arc<HttpWorker>,
) -> impl Future<Output = ()> + Send {
    worker.base.shared.stats.accepted(worker.base.shard);
    let has_tls = worker.plane_for(&listener).listener(listener.id).is_some_and(|plan| plan.tls.is_some());
    let admitted = admit(socket, peer, listener, &worker);
    let admitted = admitted.map_err(|turned_away| {
        turned_away.map(|(socket, refusal)| Box::pin(refuse(socket, refusal, has_tls, worker)))
    });
    async move {
        match admitted {
            Ok(connection) => converse(connection).await,
            Err(Some(refusing)) => refusing.await,
            Err(None) => {}
        }
    }
}

/// Lets a connection in, or gives back one that is to be told which limit it ran into.
fn admit(
    socket: Socket,
    peer: Option<SocketAddr>,
    listener: Arc<ListenerState>,
    worker: &Arc<HttpWorker>,
) -> Result<Box<Connection>, Option<(Socket, Refusal)>> {
    let plane = worker.plane_for(&listener);
    let setting = plane.listener(listener.id).map_or(ProxyProtocol::Off, |plan| plan.proxy_protocol);
    let Ok(expects) = setting.expected(peer.map(|peer| peer.ip()), &plane.trusted) else {
        worker.base.proxy_header_failed(&listener, peer, ProxyHeaderFailure::UntrustedPeer);
        return Err(None);
    };
    Connection::admit(socket, peer, listener, Arc::clone(worker), expects, &plane).map_err(Some)
}

async fn converse(mut connection: Box<Connection>) {
    if connection.expects != ProxyProtocol::Off && !Box::pin(proxy_header::read(&mut connection)).await {
        return;
    }
    if let Some(tls) = connection.shakes.take() {
        match Box::pin(tls::secure(connection, tls)).await {
            Some(secured) => connection = secured,
            None => return,
        }
    }
    if connection.io.io().socket.alpn() == Some(Alpn::H2) {
        return Box::pin(switch(connection)).await;
    }
    // What came with a PROXY header begins a request; the socket may have no more to read.
    while !connection.io.is_empty() || readable(&mut connection).await {
        match Box::pin(active(&mut connection)).await {
            Active::Idle => {}
            Active::Close => return,
            Active::Linger => return Box::pin(close(connection)).await,
            Active::Http2 => return Box::pin(switch(connection)).await,
        }
    }
}

/// Closes a connection once its client has read what was sent.
async fn close(connection: Box<Connection>) {
    if let Some(closing) = Closing::of(*connection) {
        closing.linger().await;
    }
}

/// Serves a connection whose client speaks HTTP/2.
async fn switch(connection: Box<Connection>) {
    if let Some(closing) = h2::serve(connection).await {
        closing.linger().await;
    }
}

/// Waits for a request to begin; false when the connection is to be closed instead.
async fn readable(connection: &mut Connection) -> bool {
    let patience =
        if connection.requests == 0 { connection.patience.first } else { connection.patience.next };
    connection.deadline.set(connection.now, patience);
    connection.set_idle(Some(connection.now));
    let fresh = connection.requests == 0;
    let mut hurried = false;
    poll_fn(|cx| {
        match connection.io.io().socket.poll_readable(cx) {
            Poll::Ready(result) => return Poll::Ready(result.is_ok()),
            // Its descriptor is needed: whatever it was promised, others are waiting.
            Poll::Pending if connection.client.admitted.handle.should_close() => return Poll::Ready(false),
            Poll::Pending if !connection.is_ending() => {}
            // A client that has just connected was promised an answer: its request is on the way.
            Poll::Pending if fresh && !hurried => {
                hurried = true;
                connection.deadline.set(Instant::now(), FRESH_WHILE_ENDING);
            }
            Poll::Pending if fresh => {}
            // A request that has arrived is served, even where the runtime has not heard of it yet.
            Poll::Pending if !connection.io.io().socket.is_silent() => {}
            Poll::Pending => return Poll::Ready(false),
        }
        // Looked at once more now that a wake would be heard: another worker may have asked in between.
        let is_over = connection.deadline.is_expired(cx) || connection.client.admitted.handle.should_close();
        if is_over { Poll::Ready(false) } else { Poll::Pending }
    })
    .await
}

/// How long a new connection may take to send its first request when its listener ends.
pub(super) const FRESH_WHILE_ENDING: Duration = Duration::from_secs(1);

enum Active {
    Idle,
    Close,
    /// Close once the client has read what was sent.
    Linger,
    /// The client speaks HTTP/2; what it has sent is still in the buffer.
    Http2,
}

/// Serves requests until there is none begun.
async fn active(connection: &mut Connection) -> Active {
    connection.set_idle(None);
    connection.io.io().expect(&connection.worker.base.spares.buffers);
    loop {
        let worker = Arc::clone(&connection.worker);
        let mut exchange = worker.take_exchange(Instant::now());
        let head = read_head(connection, &mut exchange).await;
        let next = match head {
            Ok(()) => {
                connection.requests += 1;
                pipeline::handle(connection, &mut exchange, Ok(())).await
            }
            Err(HeadFailure::NotBegun) => Next::KeepAlive,
            Err(HeadFailure::Gone) => Next::Close,
            Err(HeadFailure::Preface) => {
                worker.put_exchange(exchange);
                return Active::Http2;
            }
            Err(HeadFailure::Reject(reject)) => {
                exchange.request.clear();
                pipeline::handle(connection, &mut exchange, Err(reject)).await
            }
        };
        worker.put_exchange(exchange);
        match next {
            Next::KeepAlive if !connection.io.is_empty() => {}
            Next::KeepAlive => {
                connection.io.io().release(&worker.base.spares.buffers);
                return Active::Idle;
            }
            Next::Close => return Active::Close,
            Next::Linger => return Active::Linger,
        }
    }
}

enum HeadFailure {
    /// Not one byte came: the wait for it is the idle connection's.
    NotBegun,
    /// The client closed or failed before a request was complete; there is nobody to answer.
    Gone,
    /// It is no request, but how HTTP/2 begins (RFC 9113 section 3.4).
    Preface,
    Reject(Reject),
}

impl<T: Into<Reject>> From<T> for HeadFailure {
    fn from(error: T) -> Self {
        Self::Reject(error.into())
    }
}

/// Reads one request head into the exchange; what follows it stays in the connection's buffer.
async fn read_head(connection: &mut Connection, exchange: &mut Exchange) -> Result<(), HeadFailure> {
    let limits = connection.patience.head;
    let patience = connection.patience.first;
    let started = exchange.record.started;
    let mut scanner = HeadScanner::default();
    let mut waiting = false;
    let mut begun = false;
    let length = poll_fn(|cx| {
        loop {
            if let Some(length) = scan(connection, &mut scanner, &mut begun, &limits)? {
                return Poll::Ready(Ok(length));
            }
            // Room for the whole head and for what is read with it.
            if !connection.io.io().make_room(limits.bytes + weir_net::BUFFER_BYTES) {
                return Poll::Ready(Err(HeadFailure::Reject(
                    Reject::new(ErrorCode::HeadersTooLarge).closing(),
                )));
            }
            match connection.io.poll_fill(cx, &connection.worker.base.spares.buffers) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(HeadFailure::Gone)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending if connection.io.is_empty() => return Poll::Ready(Err(HeadFailure::NotBegun)),
                Poll::Pending => {
                    if !std::mem::replace(&mut waiting, true) {
                        connection.deadline.set(started, patience);
                    }
                    return head_pending(connection, cx);
                }
            }
        }
    })
    .await?;
    if waiting {
        exchange.record.read_at = Instant::now();
    }
    if let Err(error) = exchange.request.parse(&connection.io.filled()[..length], &limits) {
        return Err(if is_preface(connection, error) { HeadFailure::Preface } else { error.into() });
    }
    connection.io.consume(length);
    Ok(())
}

/// Whether what was read first is no request of an unknown version, but the beginning of HTTP/2 where that is served.
fn is_preface(connection: &Connection, error: RequestError) -> bool {
    error == RequestError::UnknownVersion
        && connection.requests == 0
        && connection.io.filled().starts_with(PREFACE_HEAD)
        && connection.client.speaks_http2(&connection.worker)
}

/// The part of the preface that looks like the head of a request.
const PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

fn scan(
    connection: &mut Connection,
    scanner: &mut HeadScanner,
    begun: &mut bool,
    limits: &HeadLimits,
) -> Result<Option<usize>, HeadFailure> {
    if !*begun {
        match connection.io.filled() {
            [] | [b'\r'] => return Ok(None),
            bytes => {
                let skip = HeadScanner::leading_empty_line(bytes);
                connection.io.consume(skip);
                *begun = true;
            }
        }
    }
    if connection.io.is_empty() {
        return Ok(None);
    }
    Ok(scanner.scan(connection.io.filled(), limits.bytes)?)
}

fn head_pending(connection: &Connection, cx: &Context<'_>) -> Poll<Result<usize, HeadFailure>> {
    if connection.deadline.is_expired(cx) {
        let reject =
            Reject::because(ErrorCode::RequestTimeout, "the request head did not arrive in time").closing();
        return Poll::Ready(Err(HeadFailure::Reject(reject)));
    }
    Poll::Pending
}

/// The whole answer to a connection that is one too many: made once, written at once or not at all.
static REFUSED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let reject = Reject::because(ErrorCode::Overloaded, "too many connections are open");
    problem::unread(&reject.with_field("retry-after", "1"))
});

async fn refuse(socket: Socket, refusal: Refusal, has_tls: bool, worker: Arc<HttpWorker>) {
    worker.base.shared.stats.refused();
    worker.shared.stats.error(worker.base.shard, ErrorCode::Overloaded);
    // One address at its limit gets no more of our time than a close, and nobody a handshake to be turned away.
    if refusal != Refusal::PerIp && !has_tls {
        turn_away(socket, &REFUSED, &worker).await;
    }
}

/// Answers somebody whose request is not read, and closes.
pub(super) async fn turn_away(mut socket: Socket, answer: &[u8], worker: &HttpWorker) {
    let deadline = worker.base.deadlines.deadline();
    deadline.set(Instant::now(), Duration::from_millis(200));
    let mut io_error = false;
    poll_fn(|cx| match socket.poll_write(cx, answer) {
        Poll::Ready(result) => {
            io_error = result.is_err();
            Poll::Ready(())
        }
        Poll::Pending if deadline.is_expired(cx) => Poll::Ready(()),
        Poll::Pending => Poll::Pending,
    })
    .await;
    if io_error {
        return;
    }
    // The request is read, or its arrival would turn our close into a reset that hides the answer.
    let mut scratch = crate::wire::Io::new(socket);
    poll_fn(|cx| {
        if scratch.socket.poll_shutdown(cx).is_pending() || deadline.is_expired(cx) {
            return Poll::Ready(());
        }
        loop {
            let unused = scratch.filled().len();
            scratch.consume(unused);
            match scratch.poll_fill(cx, &worker.base.spares.buffers) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    scratch.drop_bytes(&worker.base.spares.buffers);
}

#[cfg(test)]
mod tests {
    use super::REFUSED;

    #[test]
    fn the_refusal_is_one_whole_message() {
        let text = std::str::from_utf8(&REFUSED).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        for field in ["content-type: application/problem+json", "weir-error: overloaded", "connection: close"]
        {
            assert_eq!(head.matches(field).count(), 1, "{field} in {head}");
        }
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["status"], 503);
    }
}
