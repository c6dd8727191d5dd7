use std::time::{Duration, Instant};

use super::frame::{Flags, Header, Kind};
use super::session::Session;
use super::stream::{Opening, Sending, Stream};
use super::{FRAME_HEADER_BYTES, GoAway, INITIAL_WINDOW_BYTES, RESETS_MAX, STRAYS_MAX, YamuxError};

/// What the peer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// It opened a stream; the owner lets go of it some time.
    Opened(u32),
    /// Data of a stream, never empty; the owner keeps it and says when it is taken ([`Session::consume`]).
    Data(u32, &'a [u8]),
    /// The peer sends no more on the stream: all of its data came.
    Ended(u32),
    /// The peer aborted the stream; the owner lets go of it.
    Reset {
        /// Which.
        stream: u32,
        /// Whether the peer never took it: nothing of what was sent has been looked at.
        was_refused: bool,
    },
    /// The peer takes no more streams; where the reason is not [`GoAway::Normal`], the session is over.
    GoAway(GoAway),
    /// A ping was answered after so long.
    RoundTrip(Duration),
}

/// Where the input stands.
#[derive(Debug, Default)]
pub(super) struct Input {
    header: [u8; FRAME_HEADER_BYTES],
    filled: usize,
    /// The frame whose data is arriving.
    body: Option<Body>,
}

#[derive(Debug, Clone, Copy)]
struct Body {
    stream: u32,
    left: usize,
    flags: Flags,
    /// Whether the data belongs to a stream that has no use for it.
    is_discarded: bool,
    /// Whether it is the first that is heard of a stream of ours.
    is_first: bool,
}

impl Input {
    /// The next header; none while it is not whole.
    fn header(&mut self, input: &mut &[u8]) -> Result<Option<Header>, YamuxError> {
        let taken = (FRAME_HEADER_BYTES - self.filled).min(input.len());
        let (bytes, rest) = input.split_at(taken);
        self.header[self.filled..self.filled + taken].copy_from_slice(bytes);
        *input = rest;
        self.filled += taken;
        if self.filled < FRAME_HEADER_BYTES {
            return Ok(None);
        }
        self.filled = 0;
        Header::parse(&self.header).map(Some)
    }
}

impl Session {
    /// Takes bytes from the front of `input` until they mean something; none when all are taken. To be called again
    /// until it says none.
    ///
    /// # Errors
    ///
    /// [`YamuxError`]: the session is over; [`terminate`](Self::terminate) tells the peer.
    pub fn receive<'a>(
        &mut self,
        now: Instant,
        input: &mut &'a [u8],
    ) -> Result<Option<Event<'a>>, YamuxError> {
        loop {
            if let Some(stream) = self.refused.pop_front() {
                return Ok(Some(Event::Reset { stream, was_refused: true }));
            }
            if self.control.resets() > RESETS_MAX + self.limits.streams_max {
                return Err(YamuxError::ResetFlood);
            }
            let event = match self.input.body.take() {
                Some(body) if body.left > 0 => {
                    if input.is_empty() {
                        self.input.body = Some(body);
                        return Ok(None);
                    }
                    self.data(body, input)
                }
                Some(body) => self.end_frame(body),
                None => match self.input.header(input)? {
                    None => return Ok(None),
                    Some(header) => self.begin_frame(now, header)?,
                },
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    fn begin_frame<'a>(&mut self, now: Instant, header: Header) -> Result<Option<Event<'a>>, YamuxError> {
        match header.kind {
            Kind::Ping if header.flags.has(Flags::SYN) => {
                self.control.pong(header.length)?;
                Ok(None)
            }
            Kind::Ping => Ok(self.pong(now, header.length)),
            Kind::GoAway => {
                self.is_peer_going_away = true;
                self.refuse_waiting();
                Ok(Some(Event::GoAway(GoAway::parse(header.length))))
            }
            Kind::Data | Kind::WindowUpdate if header.stream == 0 => Err(YamuxError::StreamZero),
            Kind::Data | Kind::WindowUpdate => self.stream_frame(now, header),
        }
    }

    fn stream_frame<'a>(&mut self, now: Instant, header: Header) -> Result<Option<Event<'a>>, YamuxError> {
        let id = header.stream;
        let is_opened = if header.flags.has(Flags::SYN) { self.accept(now, id)? } else { false };
        let is_first = self.acknowledged(id);
        let bytes = if header.kind == Kind::Data { header.length } else { 0 };
        let mut body =
            Body { stream: id, left: bytes as usize, flags: header.flags, is_discarded: false, is_first };
        match self.streams.get_mut(&id) {
            Some(stream) if stream.is_known_to_peer() && !stream.is_reset => {
                stream.window.receive(bytes)?;
                if header.kind == Kind::WindowUpdate {
                    stream.credit = stream.credit.saturating_add(header.length);
                    self.ready.add(id, stream);
                }
                if stream.is_released() && bytes > 0 {
                    // Nobody will read it, and the peer should not go on.
                    body.is_discarded = true;
                    self.reset(id);
                    self.gone(id);
                }
            }
            _ => {
                body.is_discarded = true;
                self.stray(&header, bytes)?;
            }
        }
        self.input.body = Some(body);
        Ok(is_opened.then_some(Event::Opened(id)))
    }

    /// The peer opens a stream; whether it is taken.
    fn accept(&mut self, now: Instant, id: u32) -> Result<bool, YamuxError> {
        if self.role.opens(id) {
            return Err(YamuxError::WrongParity);
        }
        if self.streams.contains_key(&id) {
            return Err(YamuxError::DuplicateOpen);
        }
        self.highest_accepted = self.highest_accepted.max(id);
        if self.is_going_away || self.accepted >= self.limits.accepted_max {
            self.counts.refused += 1;
            self.discardable += u64::from(INITIAL_WINDOW_BYTES);
            self.control.reset(id);
            return Ok(false);
        }
        self.accepted += 1;
        self.counts.accepted += 1;
        self.streams.insert(id, Stream::new(now, Opening::Accepted));
        self.talk(id);
        Ok(true)
    }

    /// A frame for a stream without an entry, or whose entry waits for its owner only.
    fn stray(&mut self, header: &Header, bytes: u32) -> Result<(), YamuxError> {
        let id = header.stream;
        if !self.was_opened(id) {
            self.strays += 1;
            if self.strays > STRAYS_MAX {
                return Err(YamuxError::StrayFlood);
            }
            if !header.flags.has(Flags::RST) {
                self.control.reset(id);
            }
            self.discardable += u64::from(INITIAL_WINDOW_BYTES);
        }
        self.discardable =
            self.discardable.checked_sub(u64::from(bytes)).ok_or(YamuxError::WindowExceeded)?;
        Ok(())
    }

    fn data<'a>(&mut self, mut body: Body, input: &mut &'a [u8]) -> Option<Event<'a>> {
        let (bytes, rest) = input.split_at(body.left.min(input.len()));
        *input = rest;
        body.left -= bytes.len();
        self.input.body = Some(body);
        // The owner may have let go while the frame arrived.
        let is_wanted = !body.is_discarded
            && self.streams.get(&body.stream).is_some_and(|stream| !stream.is_released() && !stream.is_reset);
        is_wanted.then_some(Event::Data(body.stream, bytes))
    }

    fn end_frame<'a>(&mut self, body: Body) -> Option<Event<'a>> {
        let id = body.stream;
        let stream = self.streams.get_mut(&id).filter(|stream| !body.is_discarded && !stream.is_reset)?;
        if body.flags.has(Flags::RST) {
            // Without entry, or with one that says so: what still comes is thrown away.
            self.discardable += u64::from(stream.window.close());
            stream.is_reset = true;
            if stream.is_released() {
                self.gone(id);
                return None;
            }
            return Some(Event::Reset { stream: id, was_refused: body.is_first });
        }
        // Some peers send their end twice.
        if body.flags.has(Flags::FIN) && !stream.has_ended {
            stream.has_ended = true;
            stream.window.close();
            if stream.is_released() {
                if stream.sending == Sending::Closed {
                    self.gone(id);
                }
                return None;
            }
            return Some(Event::Ended(id));
        }
        None
    }

    fn pong<'a>(&mut self, now: Instant, value: u32) -> Option<Event<'a>> {
        let (_, sent) = self.pinged.filter(|(asked, _)| *asked == value)?;
        let sent = sent?;
        self.pinged = None;
        let measured = now.saturating_duration_since(sent);
        // The least of late: a queue in front of the answer is not the path's length, yet a path may change.
        let shortest = self.round_trip.map_or(measured, |known| measured.min(known + known / 8));
        self.round_trip = Some(shortest);
        Some(Event::RoundTrip(measured))
    }
}
