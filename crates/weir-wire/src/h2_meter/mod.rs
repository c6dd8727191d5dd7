//! A meter under an HTTP/2 connection: reads the headers of the frames that pass and says when a peer does too much.
//!
//! HTTP/2 lets a peer cause work with frames that cost it nothing, and a library that speaks the protocol hides most of
//! them from whoever uses it. The meter sees the bytes on their way to and from the library, in any pieces; it changes
//! none of them, checks nothing that the library checks, decodes no header block, and keeps a fixed number of bytes. The
//! limits are [`Limits`]; RFC 9113 section 10.5 is what asks for them.

mod frame;
mod fresh;
mod limits;
mod reason;
mod score;

use std::sync::Arc;
use std::time::{Duration, Instant};

use frame::{Frame, Frames, Item, Kind};
pub use fresh::FRESH;
use fresh::FreshStreams;
pub use limits::Limits;
pub use reason::Reason;
use score::Score;

/// The first bytes of a client, before its first frame (RFC 9113 section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A WINDOW_UPDATE of fewer bytes is a drip.
pub const DRIP_BYTES: u32 = 32;

/// A CONTINUATION of fewer bytes that does not end its block is small.
pub const SMALL_BYTES: u32 = 1 << 10;

/// Longest frame that a peer may send: what RFC 9113 begins with, which our SETTINGS leave alone.
const FRAME_BYTES_MAX: u32 = 1 << 14;

/// How often scores are halved.
const HALVING: Duration = Duration::from_secs(1);

/// How many of them it takes to halve what a peer's faults cost.
const FAULT_HALVINGS: u64 = 64;

/// WINDOW_UPDATEs that a DATA frame of ours may be answered with, and a stream begun with: Envoy's number.
const UPDATES_PER_FRAME: i32 = 20;

/// PRIORITY frames, and unknown ones, that may come with a stream.
const EXTRAS_PER_STREAM: i32 = 10;

/// Which end of the connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The peer is a client: it opens the streams, and its bytes begin with the preface.
    Server,
    /// The peer is a server. Its resets are answers and not counted as rapid.
    Client,
}

/// What to do with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Pass,
    /// End it with GOAWAY and ENHANCE_YOUR_CALM; once said, nothing else is said any more.
    Calm(Reason),
    /// End it with GOAWAY and the code of this; the same.
    Broken(Fault),
}

/// A fault in the frames themselves, which a library need not tell from others by its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A client that pushes (section 8.4).
    Protocol,
    /// A length that the kind of frame cannot have, or beyond what may be sent (RFC 9113 section 4.2).
    FrameSize,
    /// A window beyond the largest (section 6.5.2).
    FlowControl,
    /// HEADERS or DATA on a stream that the peer itself had ended (section 5.1).
    StreamClosed,
}

impl Fault {
    /// The code of a GOAWAY (RFC 9113 section 7).
    pub fn code(self) -> u32 {
        match self {
            Self::Protocol => 1,
            Self::FlowControl => 3,
            Self::StreamClosed => 5,
            Self::FrameSize => 6,
        }
    }
}

/// The meter of one connection. About 550 bytes, and no memory elsewhere; each frame costs a few nanoseconds.
#[derive(Debug, Clone)]
pub struct Meter {
    limits: Arc<Limits>,
    side: Side,
    received: Frames,
    sent: Frames,
    halved_at: Instant,
    halvings: u64,
    fresh: FreshStreams,
    /// CONTINUATION frames and bytes of the header block that is coming in.
    block_frames: u32,
    block_bytes: u32,
    /// Whether more of it is to come.
    is_in_block: bool,
    /// Acknowledgements that the peer may send, of PINGs and of SETTINGS.
    pings_sent: u32,
    settings_sent: u32,
    /// Acknowledgements that we have not sent.
    acks_owed: u32,
    /// Whether we sent HEADERS or DATA after the last PING that counted or was free.
    is_ping_free: bool,
    scores: [Score; Reason::ALL.len()],
    verdict: Verdict,
}

impl Meter {
    /// The meter of a connection that begins at `now`.
    pub fn new(side: Side, limits: Arc<Limits>, now: Instant) -> Self {
        let preface_bytes = PREFACE.len() as u32;
        let (received, sent) = match side {
            Side::Server => (preface_bytes, 0),
            Side::Client => (0, preface_bytes),
        };
        Self {
            limits,
            side,
            received: Frames::after(received),
            sent: Frames::after(sent),
            halved_at: now,
            halvings: 0,
            fresh: FreshStreams::new(now),
            block_frames: 0,
            block_bytes: 0,
            is_in_block: false,
            pings_sent: 0,
            settings_sent: 0,
            acks_owed: 0,
            is_ping_free: true,
            scores: [Score::default(); Reason::ALL.len()],
            verdict: Verdict::Pass,
        }
    }

    /// Looks at the next bytes that came from the peer, its preface included. `now` never goes back.
    pub fn received(&mut self, mut bytes: &[u8], now: Instant) -> Verdict {
        self.halve(now);
        while self.verdict == Verdict::Pass {
            match self.received.next(&mut bytes) {
                None => return Verdict::Pass,
                Some(Item::Frame(frame)) => self.frame_received(&frame, now),
                Some(Item::Setting { is_sound: true }) => {}
                Some(Item::Setting { is_sound: false }) => self.verdict = Verdict::Broken(Fault::FlowControl),
            }
        }
        self.verdict
    }

    /// Looks at the next bytes that went to the peer: those that its socket took, not those that wait for it.
    pub fn sent(&mut self, mut bytes: &[u8], now: Instant) -> Verdict {
        self.halve(now);
        while self.verdict == Verdict::Pass {
            match self.sent.next(&mut bytes) {
                None => return Verdict::Pass,
                Some(Item::Frame(frame)) => self.count_sent(&frame, now),
                Some(Item::Setting { .. }) => {}
            }
        }
        self.verdict
    }

    /// What was said last.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether the peer has begun a header block and not ended it: nothing else can come before it has.
    pub fn is_in_block(&self) -> bool {
        self.is_in_block
    }

    /// How much of its limit `reason` has used, as of the last bytes.
    pub fn count(&self, reason: Reason) -> u32 {
        match reason {
            Reason::Continuations => self.block_frames,
            Reason::HeaderBlockBytes => self.block_bytes,
            Reason::UnreadAcks => self.acks_owed,
            _ => self.scores[reason as usize].value(),
        }
    }

    /// Judges the frame itself, then what it adds to.
    fn frame_received(&mut self, frame: &Frame, now: Instant) {
        let carries = matches!(frame.kind, Kind::Data | Kind::Headers);
        if !frame.has_sound_length(FRAME_BYTES_MAX) {
            self.verdict = Verdict::Broken(Fault::FrameSize);
        } else if frame.kind == Kind::PushPromise && self.side == Side::Server {
            self.verdict = Verdict::Broken(Fault::Protocol);
        } else if carries
            && !self.is_in_block
            && self.side == Side::Server
            && self.fresh.is_ended(frame.stream)
        {
            // Within a header block any other frame is a fault of its own, which the library tells.
            self.verdict = Verdict::Broken(Fault::StreamClosed);
        } else {
            self.count_received(frame, now);
            if frame.kind == Kind::ResetStream || (carries && frame.ends_stream()) {
                self.fresh.end(frame.stream);
            }
        }
    }

    fn count_received(&mut self, frame: &Frame, now: Instant) {
        match frame.kind {
            Kind::Data => self.data_received(frame),
            Kind::Headers => {
                if self.side == Side::Server && self.fresh.opens(frame.stream) {
                    self.fresh.open(frame.stream, now);
                    self.score(Reason::WindowUpdates).credit(UPDATES_PER_FRAME);
                    self.score(Reason::Priorities).credit(EXTRAS_PER_STREAM);
                    self.score(Reason::UnknownFrames).credit(EXTRAS_PER_STREAM);
                }
                (self.block_frames, self.block_bytes) = (0, 0);
                self.block_received(frame);
            }
            Kind::Continuation => {
                self.block_frames += 1;
                self.judge(Reason::Continuations);
                if frame.length < SMALL_BYTES && !frame.ends_headers() {
                    self.add(Reason::SmallContinuations);
                }
                self.block_received(frame);
            }
            Kind::ResetStream => {
                self.add(Reason::Resets);
                if self.fresh.take(frame.stream, now) {
                    self.add(Reason::RapidResets);
                }
            }
            Kind::Settings if frame.is_ack() => self.ack_received(Reason::Settings),
            Kind::Ping if frame.is_ack() => self.ack_received(Reason::Pings),
            Kind::Settings => {
                self.add(Reason::Settings);
                self.owe_ack();
            }
            Kind::Ping => {
                if !std::mem::take(&mut self.is_ping_free) {
                    self.add(Reason::Pings);
                }
                self.owe_ack();
            }
            Kind::WindowUpdate => {
                self.add(Reason::WindowUpdates);
                if frame.number() < DRIP_BYTES {
                    self.add(Reason::WindowDrips);
                }
            }
            Kind::Priority => self.add(Reason::Priorities),
            Kind::Unknown => self.add(Reason::UnknownFrames),
            Kind::PushPromise | Kind::GoAway => {}
        }
    }

    fn count_sent(&mut self, frame: &Frame, now: Instant) {
        if matches!(frame.kind, Kind::Headers | Kind::Data) && frame.ends_stream() {
            self.score(Reason::Resets).forgive(1);
        }
        match frame.kind {
            Kind::Headers => {
                self.fresh.take(frame.stream, now);
                self.is_ping_free = true;
            }
            Kind::Data => {
                self.score(Reason::WindowUpdates).credit(UPDATES_PER_FRAME);
                self.is_ping_free = true;
            }
            Kind::ResetStream => {
                self.fresh.take(frame.stream, now);
                match frame.number() {
                    // PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR, COMPRESSION_ERROR,
                    // ENHANCE_YOUR_CALM: each names a fault of the peer.
                    1 | 3 | 5 | 6 | 9 | 11 => self.add(Reason::ForcedResets),
                    // REFUSED_STREAM.
                    7 => self.add(Reason::RefusedStreams),
                    _ => {}
                }
            }
            Kind::Settings | Kind::Ping if frame.is_ack() => {
                self.acks_owed = self.acks_owed.saturating_sub(1);
            }
            Kind::Settings => self.settings_sent = self.settings_sent.saturating_add(1),
            Kind::Ping => self.pings_sent = self.pings_sent.saturating_add(1),
            Kind::WindowUpdate | Kind::Priority | Kind::Continuation => {}
            Kind::PushPromise | Kind::GoAway | Kind::Unknown => {}
        }
    }

    fn data_received(&mut self, frame: &Frame) {
        if frame.data_bytes() > 0 {
            self.score(Reason::EmptyData).forgive(1);
        } else if !frame.ends_stream() {
            self.add(Reason::EmptyData);
        }
    }

    fn block_received(&mut self, frame: &Frame) {
        self.is_in_block = !frame.ends_headers();
        self.block_bytes = self.block_bytes.saturating_add(frame.length);
        self.judge(Reason::HeaderBlockBytes);
    }

    /// An acknowledgement of something that we sent is free.
    fn ack_received(&mut self, reason: Reason) {
        let sent = if reason == Reason::Pings { &mut self.pings_sent } else { &mut self.settings_sent };
        match sent.checked_sub(1) {
            Some(left) => *sent = left,
            None => self.add(reason),
        }
    }

    fn owe_ack(&mut self) {
        self.acks_owed = self.acks_owed.saturating_add(1);
        self.judge(Reason::UnreadAcks);
    }

    fn score(&mut self, reason: Reason) -> &mut Score {
        &mut self.scores[reason as usize]
    }

    fn add(&mut self, reason: Reason) {
        self.score(reason).add();
        self.judge(reason);
    }

    /// The first reason stands.
    fn judge(&mut self, reason: Reason) {
        if self.verdict == Verdict::Pass && self.count(reason) > self.limits.of(reason) {
            self.verdict = Verdict::Calm(reason);
        }
    }

    fn halve(&mut self, now: Instant) {
        let times = (now.duration_since(self.halved_at).as_millis() / HALVING.as_millis()) as u32;
        if times == 0 {
            return;
        }
        self.halved_at += HALVING * times;
        let before = self.halvings / FAULT_HALVINGS;
        self.halvings += u64::from(times);
        let fault_times = (self.halvings / FAULT_HALVINGS - before) as u32;
        for reason in Reason::ALL {
            let is_fault = reason == Reason::ForcedResets;
            self.score(reason).halve(if is_fault { fault_times } else { times });
        }
    }
}

#[cfg(test)]
mod tests;
