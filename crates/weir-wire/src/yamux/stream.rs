use std::time::Instant;

use super::INITIAL_WINDOW_BYTES;
use super::window::ReceiveWindow;

/// One stream of a session.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) opening: Opening,
    pub(super) sending: Sending,
    /// Whether the peer has sent its end.
    pub(super) has_ended: bool,
    /// Whether the peer has reset it: the entry stays until the owner lets go.
    pub(super) is_reset: bool,
    /// The owner has let go; until when the peer's end is waited for.
    pub(super) released_until: Option<Instant>,
    /// What may be sent.
    pub(super) credit: u32,
    /// What the owner has to send.
    pub(super) offered: usize,
    pub(super) window: ReceiveWindow,
    /// Whether it stands in the queue of streams with control frames.
    pub(super) is_in_control: bool,
    /// Whether it stands among the streams with data.
    pub(super) is_ready: bool,
    /// What it may send before it is another's turn.
    pub(super) deficit: usize,
}

/// How far a stream is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// Ours: too many others are not acknowledged.
    Waiting,
    /// Ours: SYN is to be sent.
    Unsent,
    /// Ours: SYN was sent.
    Unacknowledged,
    /// The peer's: ACK is to be sent.
    Accepted,
    Open,
}

/// What is left to be said on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    Open,
    /// FIN follows what was offered.
    Closing,
    /// FIN was sent.
    Closed,
}

impl Stream {
    pub(super) const fn new(now: Instant, opening: Opening) -> Self {
        Self {
            opening,
            sending: Sending::Open,
            has_ended: false,
            is_reset: false,
            released_until: None,
            credit: INITIAL_WINDOW_BYTES,
            offered: 0,
            window: ReceiveWindow::new(now),
            is_in_control: false,
            is_ready: false,
            deficit: 0,
        }
    }

    /// Whether the owner has let go.
    pub(super) const fn is_released(&self) -> bool {
        self.released_until.is_some()
    }

    /// Whether the peer has heard of it.
    pub(super) const fn is_known_to_peer(&self) -> bool {
        !matches!(self.opening, Opening::Waiting | Opening::Unsent)
    }

    /// Whether neither side has anything left to say.
    pub(super) const fn is_over(&self) -> bool {
        self.is_reset || (self.has_ended && matches!(self.sending, Sending::Closed))
    }

    /// What of the offered bytes may be sent.
    pub(super) fn sendable(&self) -> usize {
        if self.is_reset || !self.is_known_to_peer() { 0 } else { self.offered.min(self.credit as usize) }
    }

    /// Whether a control frame is to be sent.
    pub(super) fn has_control(&self) -> bool {
        if self.is_reset {
            return false;
        }
        match self.opening {
            Opening::Waiting => false,
            Opening::Unsent | Opening::Accepted => true,
            Opening::Unacknowledged | Opening::Open => {
                (self.sending == Sending::Closing && self.offered == 0)
                    || (!self.has_ended && !self.is_released() && self.window.due() > 0)
            }
        }
    }
}
