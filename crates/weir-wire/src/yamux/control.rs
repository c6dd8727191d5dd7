use std::collections::VecDeque;

use super::frame::{Flags, Frame, Kind};
use super::{GoAway, PONGS_MAX, YamuxError};

/// Frames of the session itself and resets, which go before everything else.
#[derive(Debug, Default)]
pub(super) struct Control {
    pongs: VecDeque<u32>,
    /// The value of a ping that is to be sent.
    pub(super) ping: Option<u32>,
    resets: VecDeque<u32>,
    pub(super) go_away: Option<GoAway>,
}

impl Control {
    /// Nothing but why the session is over.
    pub(super) fn last_words(reason: GoAway) -> Self {
        Self { go_away: Some(reason), ..Self::default() }
    }

    pub(super) fn pong(&mut self, value: u32) -> Result<(), YamuxError> {
        if self.pongs.len() >= PONGS_MAX {
            return Err(YamuxError::PingFlood);
        }
        self.pongs.push_back(value);
        Ok(())
    }

    pub(super) fn reset(&mut self, id: u32) {
        self.resets.push_back(id);
    }

    /// Resets that wait to be sent.
    pub(super) fn resets(&self) -> usize {
        self.resets.len()
    }

    pub(super) fn next(&mut self) -> Option<Frame> {
        if let Some(value) = self.pongs.pop_front() {
            return Some(Frame::control(Kind::Ping, Flags::ACK, 0, value));
        }
        if let Some(value) = self.ping.take() {
            return Some(Frame::control(Kind::Ping, Flags::SYN, 0, value));
        }
        if let Some(id) = self.resets.pop_front() {
            return Some(Frame::control(Kind::WindowUpdate, Flags::RST, id, 0));
        }
        let reason = self.go_away.take()?;
        Some(Frame::control(Kind::GoAway, Flags::NONE, 0, reason.code()))
    }
}
