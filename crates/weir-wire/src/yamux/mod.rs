//! yamux: many streams over one connection, as hashicorp's `spec.md` has it, as a state machine without a socket.
//!
//! [`Session`] is either end. It takes bytes however they are cut ([`Session::receive`]) and says what they mean; it
//! says which frame comes next ([`Session::next_frame`]) and leaves the payload with its owner. It keeps no byte of
//! data and never waits: a stream whose reader is slow holds back that stream's window alone.
//!
//! Kept apart: the end of a stream (FIN) and its abortion (RST), which may follow an end. Bounded: streams, opens that
//! are not acknowledged, windows (each, a session's, the process's), answers that wait to be sent. What the peer does
//! beyond a limit of streams is refused with RST; only what breaks the protocol ends the session.
//!
//! What goes out suits the least of the peers known: a frame has at most one flag, an open carries no data, a reset
//! and an end are window updates of zero.

mod budget;
mod control;
mod error;
mod frame;
mod ready;
mod receive;
mod session;
mod stream;
#[cfg(test)]
mod tests;
mod transmit;
mod window;

use std::time::Duration;

pub use budget::WindowBudget;
pub use error::{OpenError, YamuxError};
pub use frame::{FRAME_HEADER_BYTES, Frame, GoAway};
pub use receive::Event;
pub use session::{Counts, Limits, Role, Session};

/// Window of a stream before its first window update, in bytes; fixed by the protocol.
pub const INITIAL_WINDOW_BYTES: u32 = 256 << 10;

/// Longest data that one frame carries, in bytes: 13 ms of a 10 Mbit/s line, two frames to a message of 32 KiB.
pub const DATA_BYTES_MAX: usize = (16 << 10) - 16;

/// Opens that the peer has not acknowledged at a time; further ones wait. What every known peer has room for.
pub const UNACKNOWLEDGED_MAX: usize = 256;

/// Answers to pings that wait to be sent; a peer that asks for more breaks off the session.
pub const PONGS_MAX: usize = 64;

/// Resets that wait to be sent, beyond those of our own streams; a peer that makes more of them necessary breaks off
/// the session.
pub const RESETS_MAX: usize = 4_096;

/// Streams that a peer may speak of without ever having opened them.
pub const STRAYS_MAX: u32 = 256;

/// How long a stream that was let go may stand still, its peer's end missing, before it is reset.
pub const LINGER: Duration = Duration::from_secs(30);

/// How often windows that are larger than their use are taken back.
pub const WINDOW_REVIEW: Duration = Duration::from_secs(10);
