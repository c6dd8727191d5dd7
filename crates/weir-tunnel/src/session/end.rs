use std::io;

use weir_wire::websocket::{CloseCode, WebSocketError};
use weir_wire::yamux::YamuxError;

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
pub enum SessionEnd {
    /// The peer closed it.
    #[error("the peer closed the session")]
    PeerClosed,
    /// The connection ended without a word.
    #[error("the connection ended")]
    Disconnected,
    /// Reading or writing failed.
    #[error("the connection failed: {0}")]
    Failed(io::Error),
    /// Nothing came for so long that the peer is taken for gone.
    #[error("nothing was heard of the peer for too long")]
    Silent,
    /// Nothing could be written for so long.
    #[error("the peer takes nothing")]
    Stalled,
    /// The peer broke the WebSocket protocol.
    #[error("the peer broke the protocol: {0}")]
    WebSocket(WebSocketError),
    /// The peer broke yamux.
    #[error("the peer broke the protocol: {0}")]
    Yamux(YamuxError),
    /// The peer said that it has failed, or that we have broken the protocol.
    #[error("the peer gave the session up")]
    GivenUp,
    /// Another session of the same agent took its place.
    #[error("another session of the agent took its place")]
    Replaced,
    /// An operator ended it.
    #[error("an operator ended the session")]
    Kicked,
    /// Its token is no longer valid.
    #[error("the agent's token is no longer valid")]
    Revoked,
    /// This process drains.
    #[error("this end is shutting down")]
    Draining,
}

impl SessionEnd {
    /// The word in logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::PeerClosed => "closed",
            Self::Disconnected => "disconnected",
            Self::Failed(_) => "failed",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
            Self::WebSocket(_) | Self::Yamux(_) => "protocol",
            Self::GivenUp => "given_up",
            Self::Replaced => "replaced",
            Self::Kicked => "kicked",
            Self::Revoked => "revoked",
            Self::Draining => "draining",
        }
    }

    /// What the close frame says; none where there is nobody to tell.
    pub(super) fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::PeerClosed | Self::GivenUp => Some(CloseCode::NORMAL),
            Self::Disconnected | Self::Failed(_) | Self::Silent | Self::Stalled => None,
            Self::WebSocket(error) => Some(error.close_code()),
            Self::Yamux(_) => Some(CloseCode::PROTOCOL_ERROR),
            Self::Replaced => CloseCode::application(4001),
            Self::Kicked => CloseCode::application(4002),
            Self::Revoked => CloseCode::application(4003),
            Self::Draining => Some(CloseCode::GOING_AWAY),
        }
    }
}
