//! Frames written and read by hand, so that a peer may behave in any way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::*;

pub(super) const DATA: u8 = 0;
pub(super) const UPDATE: u8 = 1;
pub(super) const PING: u8 = 2;
pub(super) const GO_AWAY: u8 = 3;
pub(super) const SYN: u16 = 1;
pub(super) const ACK: u16 = 2;
pub(super) const FIN: u16 = 4;
pub(super) const RST: u16 = 8;

pub(super) fn frame(kind: u8, flags: u16, stream: u32, length: u32) -> Vec<u8> {
    let mut bytes = vec![0, kind];
    bytes.extend(flags.to_be_bytes());
    bytes.extend(stream.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes
}

pub(super) fn data(flags: u16, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(DATA, flags, stream, payload.len() as u32);
    bytes.extend(payload);
    bytes
}

/// An event, with its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Opened(u32),
    Data(u32, usize),
    Ended(u32),
    Reset(u32),
    Refused(u32),
    GoAway(GoAway),
    RoundTrip(Duration),
}

/// A session whose peer is the test.
pub(super) struct End {
    pub(super) session: Session,
    pub(super) now: Instant,
}

pub(super) const LIMITS: Limits =
    Limits { streams_max: 1_000, accepted_max: 1_000, window_bytes_max: 16 << 20 };

impl End {
    pub(super) fn new(role: Role, limits: Limits) -> Self {
        let now = Instant::now();
        let budget = Arc::new(WindowBudget::new(64 << 20));
        Self { session: Session::new(role, limits, budget, now), now }
    }

    /// What the session makes of the bytes; data of one stream in a row is counted together.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Result<Vec<Heard>, YamuxError> {
        let mut input = bytes;
        let mut heard = Vec::new();
        while let Some(event) = self.session.receive(self.now, &mut input)? {
            let next = match event {
                Event::Opened(id) => Heard::Opened(id),
                Event::Data(id, bytes) => match heard.last_mut() {
                    Some(Heard::Data(last, count)) if *last == id => {
                        *count += bytes.len();
                        continue;
                    }
                    _ => Heard::Data(id, bytes.len()),
                },
                Event::Ended(id) => Heard::Ended(id),
                Event::Reset { stream, was_refused: false } => Heard::Reset(stream),
                Event::Reset { stream, was_refused: true } => Heard::Refused(stream),
                Event::GoAway(reason) => Heard::GoAway(reason),
                Event::RoundTrip(time) => Heard::RoundTrip(time),
            };
            heard.push(next);
        }
        assert!(input.is_empty(), "all is taken");
        Ok(heard)
    }

    /// The next frames as (type, flags, stream, length), until none comes.
    pub(super) fn say(&mut self) -> Vec<(u8, u16, u32, u32)> {
        let mut said = Vec::new();
        while let Some(frame) = self.session.next_frame(self.now, usize::MAX) {
            let h = frame.header;
            let number = |at: usize| u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]);
            said.push((h[1], u16::from_be_bytes([h[2], h[3]]), number(4), number(8)));
            match frame.payload {
                Some((id, bytes)) => assert_eq!((h[1], number(4), number(8)), (DATA, id, bytes as u32)),
                None => assert_ne!(h[1], DATA),
            }
        }
        said
    }
}
