use thiserror::Error;

use super::CloseCode;

/// Why what the peer sent is not taken. The connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WebSocketError {
    /// A reserved bit is set, and no extension was negotiated.
    #[error("a frame has a reserved bit set")]
    ReservedBit,
    /// An opcode that is not assigned.
    #[error("a frame has an unknown opcode")]
    Opcode,
    /// A text message; a tunnel is binary.
    #[error("a text message came where binary ones belong")]
    Text,
    /// The client does not mask, or the server does.
    #[error("a frame is masked where it must not be, or is not where it must be")]
    Masking,
    /// A length of 2^63 or more, or one not written in its shortest form.
    #[error("a frame has a malformed length")]
    Length,
    /// A control frame in pieces, or with more than [`CONTROL_BYTES_MAX`](super::CONTROL_BYTES_MAX) bytes.
    #[error("a control frame is too long or in pieces")]
    Control,
    /// A continuation of nothing, or a new message within one.
    #[error("the pieces of a message are out of order")]
    Fragment,
    /// A close frame of one byte, or with a code that may not be sent.
    #[error("a close frame holds no valid code")]
    CloseCode,
    /// The reason of a close frame is not UTF-8.
    #[error("the reason of a close frame is not UTF-8")]
    CloseReason,
    /// A frame behind a close frame.
    #[error("a frame follows a close frame")]
    AfterClose,
}

impl WebSocketError {
    /// The close code that answers it.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Text => CloseCode::UNSUPPORTED,
            Self::CloseReason => CloseCode::INVALID_PAYLOAD,
            Self::ReservedBit
            | Self::Opcode
            | Self::Masking
            | Self::Length
            | Self::Control
            | Self::Fragment
            | Self::CloseCode
            | Self::AfterClose => CloseCode::PROTOCOL_ERROR,
        }
    }
}
