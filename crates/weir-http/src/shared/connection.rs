use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use weir_net::Socket;
use weir_task::Deadline;

use super::Tie;
use super::flow::{Flow, Pulse};
use super::places::STREAMS_MAX;

/// What one answer may have on its way that its client has not taken: enough for 200 Mbit/s at 10 ms, and the memory
/// that a client which stops reading holds.
pub(super) const STREAM_WINDOW_BYTES: u32 = 256 << 10;

/// Room for the window of every stream: clients that stop reading never hold up the others of a connection. 25 MiB.
const CONNECTION_WINDOW_BYTES: u32 = STREAMS_MAX * STREAM_WINDOW_BYTES;

/// What of a request's body may wait for its connection to write it.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// How long a connection with open streams may be silent before its peer is asked for a sign of life.
///
/// gRPC servers take more than one question in five minutes as abuse and close the connection
/// (`GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS`). A request that times out asks at once.
pub(crate) const SILENCE: Duration = Duration::from_secs(305);

/// How long a peer may take to give a sign of life.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams that were reset and whose late frames are still expected, and for how long: frames for streams that are
/// forgotten end the connection.
const RESET_STREAMS_MAX: usize = 1_024;
const RESET_STREAM_TIME: Duration = Duration::from_secs(5);

/// The largest frame that is accepted: each may hold up the others of a connection for its length.
const FRAME_BYTES_MAX: u32 = 16 << 10;

/// Streams that the h2 crate lets through before the peer's settings have come.
///
/// More than [`Places`](super::places::Places) lets through, and no number that a peer would say.
const UNSETTLED: usize = 0x5e77_1ed0;

/// A connection that was opened and is to be driven.
pub(super) struct Opened {
    connection: h2::client::Connection<Flow, Bytes>,
    ping: Option<PingPong>,
    pulse: Arc<Pulse>,
    deadline: Deadline,
}

/// What streams are opened with.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) send: SendRequest<Bytes>,
    pub(super) pulse: Arc<Pulse>,
}

/// Begins HTTP/2 on a connection: our preface is written, the peer's is not waited for.
///
/// # Errors
///
/// What the socket says; nothing of a request was sent.
pub(super) async fn open(
    socket: Socket,
    deadline: Deadline,
    header_bytes: usize,
) -> Result<(Link, Opened), h2::Error> {
    let pulse = Pulse::new(deadline.waker());
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .reset_stream_duration(RESET_STREAM_TIME)
        .initial_max_send_streams(UNSETTLED);
    let (send, mut connection) = builder.handshake(Flow::new(socket, Arc::clone(&pulse))).await?;
    let ping = connection.ping_pong();
    let link = Link { send, pulse: Arc::clone(&pulse) };
    Ok((link, Opened { connection, ping, pulse, deadline }))
}

impl Opened {
    /// Drives the connection until it ends. Its streams learn from itself why it did.
    pub(super) async fn drive(self, tie: &Tie) {
        let Self { mut connection, ping, pulse, deadline } = self;
        let mut limit = UNSETTLED;
        let mut seen = pulse.reads();
        let mut is_ending = false;
        let mut life = Life { ping, reads: seen, asked: false, is_owed: false };
        deadline.set(Instant::now(), SILENCE);
        poll_fn(|cx| {
            let ended = Pin::new(&mut connection).poll(cx);
            let reads = pulse.reads();
            if reads != seen {
                seen = reads;
                let allowed = connection.max_concurrent_send_streams();
                if allowed != limit {
                    limit = allowed;
                    tie.settled(u32::try_from(allowed).unwrap_or(u32::MAX));
                    pulse.settle();
                }
                if !is_ending && tie.refuses(cx) {
                    is_ending = true;
                    tie.ending();
                }
            }
            if ended.is_ready() { Poll::Ready(()) } else { life.poll_lost(cx, &pulse, &deadline, tie) }
        })
        .await;
        pulse.settle();
    }
}

/// What is known of whether the peer is still there.
struct Life {
    ping: Option<PingPong>,
    /// Times that something was read, as of the last look, or when the peer was asked.
    reads: u64,
    asked: bool,
    /// An answer to a PING is still to come.
    is_owed: bool,
}

impl Life {
    /// Asks a silent peer for a sign of life; ready when it gave none.
    fn poll_lost(&mut self, cx: &mut Context<'_>, pulse: &Pulse, deadline: &Deadline, tie: &Tie) -> Poll<()> {
        let reads = pulse.reads();
        if self.asked && reads != self.reads {
            // Whatever came is a sign.
            self.asked = false;
            self.reads = reads;
            tie.suspect(false);
            deadline.set(Instant::now(), SILENCE);
        }
        // The answer to a question that came late, so that another can be asked.
        if self.is_owed
            && let Some(ping) = &mut self.ping
        {
            self.is_owed = ping.poll_pong(cx).is_pending();
        }
        let wanted = pulse.take_asked() && !self.asked;
        if !wanted && !deadline.is_expired(cx) {
            return Poll::Pending;
        }
        if self.asked {
            tie.lost();
            return Poll::Ready(());
        }
        let is_silent = reads == self.reads && tie.is_busy();
        self.reads = reads;
        if wanted || is_silent {
            self.asked = true;
            tie.suspect(true);
            if let Some(ping) = &mut self.ping {
                // Fails only while one is on its way, which is as good; wakes this task, which then writes it.
                let _sent = ping.send_ping(Ping::opaque());
                self.is_owed = true;
            }
            deadline.set(Instant::now(), PING_TIMEOUT);
        } else {
            deadline.set(Instant::now(), SILENCE);
        }
        // Registers for the moment just set.
        let _registered = deadline.is_expired(cx);
        Poll::Pending
    }
}
