use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use weir_net::{Buffers, Socket, StreamFault};
use weir_wire::yamux::{self, Event, GoAway};

use super::link::{Arrived, Link, LinkError};
use super::mailbox::Mailbox;
use super::stream::{Asks, Leave, Shared, TunnelStream};
use super::{Accept, SessionEnd, Settings};

/// A session's task: reads, writes, keeps time, and moves bytes between the connection and the streams.
pub(super) struct Driver {
    link: Link,
    mux: Mux,
    settings: Settings,
    mailbox: Arc<Mailbox>,
    /// When the peer is asked next.
    ping_at: Instant,
    heard_at: Instant,
    /// Since when nothing could be written.
    blocked_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    opens: Vec<Arc<Shared>>,
    touched: Vec<Arc<Shared>>,
}

/// The streams: the protocol's side and the side of those who use them.
struct Mux {
    session: yamux::Session,
    streams: HashMap<u32, Arc<Shared>>,
    mailbox: Arc<Mailbox>,
    accept: Accept,
}

/// Rounds of reading and writing before other tasks of the worker get their turn: 1 MiB each way.
const ROUNDS: usize = 16;

/// How long the last words may take.
const GOODBYE: Duration = Duration::from_secs(1);

impl From<LinkError> for SessionEnd {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Io(error) => Self::Failed(error),
            LinkError::Ended => Self::Disconnected,
            LinkError::Protocol(error) => Self::WebSocket(error),
        }
    }
}

impl Driver {
    pub(super) fn new(
        socket: Socket,
        ahead: &[u8],
        settings: &Settings,
        buffers: Buffers,
        accept: Accept,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        let now = now();
        let session = yamux::Session::new(settings.yamux, settings.limits, Arc::clone(&settings.budget), now);
        Self {
            link: Link::new(socket, settings.websocket, ahead, buffers),
            mux: Mux { session, streams: HashMap::new(), mailbox: Arc::clone(&mailbox), accept },
            settings: settings.clone(),
            mailbox,
            // At once: the first answer says how long the path is.
            ping_at: now,
            heard_at: now,
            blocked_since: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            opens: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// Runs until the session is over; then nothing of it is left.
    pub(super) async fn run(mut self) -> SessionEnd {
        let end = poll_fn(|cx| self.poll(cx)).await;
        self.fail_streams();
        self.say_goodbye(&end).await;
        end
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<SessionEnd> {
        for _ in 0..ROUNDS {
            match self.round(cx) {
                Ok(true) => {}
                Ok(false) => return self.poll_time(cx),
                Err(end) => return Poll::Ready(end),
            }
        }
        cx.waker().wake_by_ref();
        self.poll_time(cx)
    }

    /// Reads once, hears the streams, writes once; whether there may be more to do at once.
    fn round(&mut self, cx: &mut Context<'_>) -> Result<bool, SessionEnd> {
        let now = now();
        let (mux, heard_at) = (&mut self.mux, &mut self.heard_at);
        let has_read = match self.link.poll_read(cx, |arrived| mux.receive(now, arrived)) {
            Poll::Ready(read) => {
                read?;
                *heard_at = now;
                true
            }
            Poll::Pending => false,
        };
        self.mailbox.collect(cx.waker(), &mut self.opens, &mut self.touched);
        let has_heard = !self.opens.is_empty() || !self.touched.is_empty();
        self.opens.drain(..).for_each(|stream| mux.open(now, stream));
        self.touched.drain(..).for_each(|stream| mux.hear(now, &stream));
        let has_written = self.write(cx, now)?;
        Ok(has_read || has_heard || has_written)
    }

    /// Writes one batch; whether all of it went, so that the next may be gathered.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, SessionEnd> {
        let mux = &mut self.mux;
        if self.link.is_flushed() && !self.link.gather(|batch, room| mux.fill(now, batch, room)) {
            return Ok(false);
        }
        let mut has_moved = false;
        match self.link.poll_write(cx, &mut has_moved) {
            Poll::Ready(Ok(())) => {
                self.blocked_since = None;
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(SessionEnd::Failed(error)),
            Poll::Pending => {
                if has_moved {
                    self.blocked_since = None;
                }
                self.blocked_since.get_or_insert(now);
                Ok(false)
            }
        }
    }

    /// Does what time brings, and has itself woken when it brings more.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<SessionEnd> {
        loop {
            let now = now();
            if self.settings.offline_after.is_some_and(|limit| now >= self.heard_at + limit) {
                self.link.abort();
                return Poll::Ready(SessionEnd::Silent);
            }
            if self.blocked_since.is_some_and(|since| now >= since + self.settings.write_timeout) {
                self.link.abort();
                return Poll::Ready(SessionEnd::Stalled);
            }
            let leaving = self.mailbox.leaving();
            if let Some(until) = leaving {
                self.mux.session.go_away(GoAway::Normal);
                if (now >= until || self.mux.streams.is_empty())
                    && let Some(end) = self.mailbox.take_leave()
                {
                    return Poll::Ready(end);
                }
            }
            if now >= self.ping_at {
                self.mux.session.tick(now);
                self.mux.forget_gone();
                self.mux.session.ping();
                self.ping_at = now + self.settings.heartbeat.mul_f64(fastrand::f64().mul_add(0.2, 0.9));
            }
            // What was just decided goes out before the wait.
            match self.write(cx, now) {
                Ok(_) => {}
                Err(end) => return Poll::Ready(end),
            }
            let at = self.next_look(leaving);
            self.timer.as_mut().reset(tokio::time::Instant::from_std(at));
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn next_look(&self, leaving: Option<Instant>) -> Instant {
        let offline = self.settings.offline_after.map(|limit| self.heard_at + limit);
        let stalled = self.blocked_since.map(|since| since + self.settings.write_timeout);
        [offline, stalled, leaving].into_iter().flatten().fold(self.ping_at, Instant::min)
    }

    /// Streams end with the session, and at once.
    fn fail_streams(&mut self) {
        for stream in self.mailbox.close() {
            // Its open was never sent.
            stream.fail(StreamFault::Refused);
        }
        self.mux.streams.drain().for_each(|(_, stream)| stream.fail(StreamFault::Lost));
    }

    /// Tells the peer why, where there is anyone to tell.
    async fn say_goodbye(&mut self, end: &SessionEnd) {
        let Some(code) = end.close_code() else { return };
        let is_fault = matches!(end, SessionEnd::Yamux(_));
        self.mux.session.terminate(if is_fault { GoAway::ProtocolError } else { GoAway::Normal });
        let mut last = pin!(tokio::time::sleep(GOODBYE));
        let mut is_said = false;
        poll_fn(|cx| {
            loop {
                match self.link.poll_write(cx, &mut false) {
                    Poll::Ready(Ok(())) if is_said => return Poll::Ready(()),
                    Poll::Ready(Ok(())) => {
                        let now = now();
                        let mux = &mut self.mux;
                        self.link.gather(|batch, room| mux.fill(now, batch, room));
                        self.link.gather_close(code, end.as_str());
                        is_said = true;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => return last.as_mut().poll(cx),
                }
            }
        })
        .await;
    }
}

/// The runtime's time, which tests hold.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Mux {
    /// What has arrived, for whom it is meant.
    fn receive(&mut self, now: Instant, arrived: Arrived<'_>) -> Result<(), SessionEnd> {
        let Arrived::Data(bytes) = arrived else { return Err(SessionEnd::PeerClosed) };
        let mut input = bytes;
        while let Some(event) = self.session.receive(now, &mut input).map_err(SessionEnd::Yamux)? {
            match event {
                Event::Opened(id) => self.accept(id),
                Event::Data(id, bytes) => self.with(id, |stream| stream.deliver(bytes)),
                Event::Ended(id) => self.with(id, Shared::end),
                Event::Reset { stream, was_refused } => {
                    let fault = if was_refused { StreamFault::Refused } else { StreamFault::Reset };
                    self.with(stream, |stream| stream.fail(fault));
                }
                Event::GoAway(GoAway::Normal) => {}
                Event::GoAway(GoAway::ProtocolError | GoAway::InternalError) => {
                    return Err(SessionEnd::GivenUp);
                }
                Event::RoundTrip(_) => self.mailbox.set_round_trip(self.session.round_trip()),
            }
        }
        self.forget_gone();
        Ok(())
    }

    fn with(&self, id: u32, act: impl FnOnce(&Shared)) {
        if let Some(stream) = self.streams.get(&id) {
            act(stream);
        }
    }

    fn accept(&mut self, id: u32) {
        let shared = Shared::new();
        shared.state().id = id;
        self.streams.insert(id, Arc::clone(&shared));
        self.mailbox.entered();
        (self.accept)(TunnelStream::new(shared, Arc::clone(&self.mailbox)));
    }

    fn open(&mut self, now: Instant, stream: Arc<Shared>) {
        match self.session.open(now) {
            Ok(id) => {
                stream.state().id = id;
                self.streams.insert(id, stream);
            }
            Err(_) => {
                stream.fail(StreamFault::Refused);
                self.mailbox.left();
            }
        }
    }

    /// What a stream wants.
    fn hear(&mut self, now: Instant, stream: &Shared) {
        let (id, Asks { offered, consumed, finish, leave }) = stream.asked();
        if !self.streams.contains_key(&id) {
            return;
        }
        if offered > 0 {
            self.session.offer(id, offered);
        }
        if consumed > 0 {
            self.session.consume(now, id, consumed);
        }
        if finish {
            self.session.finish(id);
        }
        match leave {
            None => return,
            Some(Leave::Abort) => self.session.reset(id),
            Some(Leave::Orderly) => self.session.release(now, id),
        }
        // What is left of it is the protocol's, and takes nobody's place.
        self.mailbox.left();
        if !self.session.contains(id) {
            self.forget(id);
        }
    }

    /// Puts frames of at most `room` bytes behind the batch.
    fn fill(&mut self, now: Instant, batch: &mut Vec<u8>, room: usize) {
        let end = batch.len() + room;
        while let Some(frame) = self.session.next_frame(now, end - batch.len()) {
            batch.extend_from_slice(&frame.header);
            if let Some((id, count)) = frame.payload {
                self.streams.get(&id).expect("who has data to send is known").take(count, batch);
            }
        }
        self.forget_gone();
    }

    fn forget_gone(&mut self) {
        while let Some(id) = self.session.pop_gone() {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: u32) {
        self.streams.remove(&id);
    }
}
