//! Serves a client connection that speaks HTTP/2: one task for the connection, one for each of its streams.

mod link;
mod request;
mod stats;
mod streams;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, Connection as Library, Handshake};
use weir_task::Deadline;
use weir_wire::h2_meter::{Meter, Side, Verdict};

use super::closing::Closing;
use crate::connection::{Client, Connection, Patience};
use crate::plane::Http2;
use crate::wire::Wire;
use crate::worker::HttpWorker;
use link::Link;
use stats::GoAway;
pub(crate) use stats::Http2Stats;
use streams::Streams;

/// What of an answer may wait for its client's connection.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// Streams reset by the client that the library may hold before they are looked at: browsers cancel a hundred at once.
const PENDING_RESETS_MAX: usize = 200;

/// What small data frames that no stream has taken may cost, in the library's own measure, 256 less the length of each:
/// as many tiny messages as fit three windows of a stream may wait, some 32,000 in all and 10 MiB. The library's default
/// of 2,000 ends connections whose endpoint is slower than a stream of tiny messages.
const SMALL_FRAMES_BUDGET: usize = 8 << 20;

/// How long the goodbye of a connection may take to be written, and the answer to it to come where nothing else is open.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long streams may take to say that the process stops.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Serves a connection to its end; gives it back to be closed with care.
pub(super) async fn serve(connection: Box<Connection>) -> Option<Closing> {
    connection.set_idle(None);
    let Connection { io: Wire::H1(io), client, worker, deadline, .. } = *connection else { return None };
    let (settings, patience, timeouts, requests_left) = {
        let plane = worker.plane_for(&client.admitted.listener);
        let requests_max = plane.limits.requests_per_connection;
        (plane.http2.clone(), Patience::of(&plane), plane.timeouts, requests_max)
    };
    let meter = Meter::new(Side::Server, Arc::clone(&settings.meter), Instant::now());
    let link = Link::new(io, Arc::clone(&worker), meter);
    let _open = worker.shared.stats.h2.connection_opened();
    deadline.set(Instant::now(), patience.first);
    let greeting = greet(link.clone(), &settings, &patience);
    if let Some(library) = before(greeting, &link, &client, &worker, &deadline).await {
        let mut serving = Serving {
            library,
            link: link.clone(),
            streams: Streams::new(Arc::clone(&client), Arc::clone(&worker), deadline.waker()),
            client: Arc::clone(&client),
            worker: Arc::clone(&worker),
            deadline: deadline.clone(),
            patience,
            stall: timeouts.body_idle,
            requests_left,
            phase: Phase::Serve,
            idle_since: None,
            is_fresh: true,
        };
        poll_fn(|cx| serving.poll(cx)).await;
    }
    Some(Closing { io: link.into_io()?, client, worker, deadline })
}

/// The handshake: our settings are written, the client's preface is read.
fn greet(link: Link, settings: &Http2, patience: &Patience) -> Handshake<Link, Bytes> {
    // Over the connection's whole life. The meter forgets with time, but sees only resets that the socket took.
    let faults = settings.meter.forced_resets_max.saturating_add(settings.meter.refused_streams_max);
    let header_bytes = patience.head.bytes.saturating_mul(2);
    Builder::new()
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_concurrent_streams(settings.streams_max)
        // Twice what is served: what is a little too much gets an answer that says so.
        .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(Some(faults as usize))
        .data_frame_budget(SMALL_FRAMES_BUDGET)
        .enable_connect_protocol()
        .handshake(link)
}

/// Waits for the end of the handshake; none where it fails, or does not come in time.
async fn before(
    greeting: Handshake<Link, Bytes>,
    link: &Link,
    client: &Client,
    worker: &HttpWorker,
    deadline: &Deadline,
) -> Option<Library<Link, Bytes>> {
    let mut greeting = std::pin::pin!(greeting);
    poll_fn(|cx| {
        let polled = greeting.as_mut().poll(cx);
        if let Poll::Ready(Err(_)) = link.poll_out(cx) {
            return Poll::Ready(None);
        }
        // Of a client that does too much before it has said who it is, nothing more is read.
        let is_over = link.state().verdict != Verdict::Pass
            || deadline.is_expired(cx)
            || client.admitted.handle.should_close()
            || worker.base.is_stopping();
        match polled {
            Poll::Ready(result) => Poll::Ready(result.ok()),
            Poll::Pending if is_over => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A connection while it is served.
struct Serving {
    library: Library<Link, Bytes>,
    link: Link,
    streams: Streams,
    client: Arc<Client>,
    worker: Arc<HttpWorker>,
    deadline: Deadline,
    patience: Patience,
    /// How long the client may take nothing of what is written.
    stall: Duration,
    /// Streams that are still served.
    requests_left: Option<u64>,
    phase: Phase,
    /// Since when no stream is open.
    idle_since: Option<Instant>,
    /// No request has come yet.
    is_fresh: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serve,
    /// No new streams are taken once the client knows; those that are open go on.
    Leave,
    /// Streams are cut.
    Stop,
    /// The goodbye is written, and nothing else happens.
    End,
}

impl Serving {
    /// Ready when the connection is at its end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.library.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.is_fresh = false;
                    self.count_request();
                    self.streams.begin(request, respond, self.patience);
                }
                Poll::Ready(Some(Err(error))) => {
                    if error.is_library() && self.phase != Phase::End {
                        self.worker.shared.stats.h2.went_away(GoAway::Protocol);
                        self.phase = Phase::End;
                    }
                    // A goodbye that the library has said itself is still to be written.
                    return self.link.poll_out(cx).map(drop);
                }
                Poll::Ready(None) => return self.link.poll_out(cx).map(drop),
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(Err(_)) = self.link.poll_out(cx) {
            return Poll::Ready(());
        }
        self.poll_clock(cx)
    }

    fn count_request(&mut self) {
        let Some(left) = &mut self.requests_left else { return };
        *left = left.saturating_sub(1);
        if *left == 0 && self.phase == Phase::Serve {
            self.leave(GoAway::Requests);
        }
    }

    /// Says that no new streams are taken: first that it is so soon, then from which one on (RFC 9113 section 6.8).
    fn leave(&mut self, reason: GoAway) {
        self.phase = Phase::Leave;
        self.worker.shared.stats.h2.went_away(reason);
        self.library.graceful_shutdown();
        self.idle_since = None;
    }

    /// Ends the connection as soon as that is written.
    fn end(&mut self, cx: &Context<'_>, code: Reason, reason: GoAway) {
        if self.phase == Phase::Serve {
            self.worker.shared.stats.h2.went_away(reason);
        }
        self.phase = Phase::End;
        self.library.abrupt_shutdown(code);
        self.deadline.set(Instant::now(), GOODBYE);
        cx.waker().wake_by_ref();
    }

    /// Lets the streams, which have been woken, say that there is no time left; ready when that time is over too.
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.phase != Phase::Stop {
            self.phase = Phase::Stop;
            self.deadline.set(Instant::now(), LAST_WORDS);
        }
        if self.streams.open() == 0 {
            self.end(cx, Reason::NO_ERROR, GoAway::Drain);
            return Poll::Pending;
        }
        if self.deadline.is_expired(cx) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Judges how far the connection has come and how long it may go on; ready when it is over.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.phase == Phase::End {
            return if self.deadline.is_expired(cx) { Poll::Ready(()) } else { Poll::Pending };
        }
        if self.worker.base.is_stopping() {
            return self.poll_stop(cx);
        }
        let state = self.link.state();
        match state.verdict {
            Verdict::Pass => {}
            Verdict::Calm(reason) => {
                self.end(cx, Reason::ENHANCE_YOUR_CALM, GoAway::Calm(reason));
                return Poll::Pending;
            }
            Verdict::Broken(fault) => {
                self.end(cx, fault.code().into(), GoAway::Protocol);
                return Poll::Pending;
            }
        }
        if self.client.admitted.handle.should_close() {
            self.end(cx, Reason::NO_ERROR, GoAway::Shed);
            return Poll::Pending;
        }
        if self.phase == Phase::Serve
            && (self.worker.base.is_draining() || self.client.admitted.listener.is_retired())
        {
            self.leave(GoAway::Drain);
            cx.waker().wake_by_ref();
        }
        let is_idle = self.streams.open() == 0;
        if is_idle != self.idle_since.is_some() {
            self.idle_since = is_idle.then(Instant::now);
            self.client.admitted.set_idle(self.idle_since.map(|at| self.worker.base.age_ms(at)));
        }
        let idle = match self.phase {
            Phase::Leave | Phase::Stop | Phase::End => GOODBYE,
            Phase::Serve if self.is_fresh => self.patience.first,
            Phase::Serve => self.patience.next,
        };
        let due = [
            self.idle_since.map(|since| since + idle),
            state.stalled_since.map(|since| since + self.stall),
            state.block_since.map(|since| since + self.patience.first),
        ];
        let Some(due) = due.into_iter().flatten().min() else {
            self.deadline.clear();
            let _registered = self.deadline.is_expired(cx);
            return Poll::Pending;
        };
        let now = Instant::now();
        if now < due {
            self.deadline.set(now, due - now);
            let _registered = self.deadline.is_expired(cx);
            return Poll::Pending;
        }
        if state.stalled_since.is_some_and(|since| since + self.stall <= now) {
            // It reads nothing: a goodbye would not be read either.
            return Poll::Ready(());
        }
        self.end(cx, Reason::NO_ERROR, GoAway::Idle);
        Poll::Pending
    }
}
