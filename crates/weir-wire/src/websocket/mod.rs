//! WebSocket frames (RFC 6455) as a tunnel uses them: binary messages that are one stream of bytes.
//!
//! Where a message begins and ends means nothing here: payload is passed on as it arrives, unmasked where it stands,
//! and no frame is ever held whole. Refused are text, extensions (none is negotiated), frames masked the wrong way
//! round, lengths that are not written in their shortest form, and control frames that are long or in pieces; the
//! error says which close code answers it.

mod boundary;
mod close;
mod decoder;
mod error;
mod handshake;
mod header;
mod mask;
#[cfg(test)]
mod tests;
mod write;

pub use boundary::Boundary;
pub use close::{Close, CloseCode};
pub use decoder::{Decoder, Piece, Step};
pub use error::WebSocketError;
pub use handshake::accept_of;
pub use header::{HEADER_BYTES_MAX, Opcode};
pub use mask::Mask;
pub use write::{
    CONTROL_FRAME_BYTES_MAX, ControlFrame, HeaderBytes, close_frame, frame_header, ping_frame, pong_frame,
};

/// Longest payload of a control frame, in bytes (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// Which end of the connection this is: a client masks what it sends, a server does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It dialled.
    Client,
    /// It answered 101.
    Server,
}
