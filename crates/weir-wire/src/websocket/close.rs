use std::ops::Range;

use super::WebSocketError;

/// Why a connection is closed (RFC 6455 section 7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(u16);

impl CloseCode {
    /// All is done.
    pub const NORMAL: Self = Self(1000);
    /// The end goes away: a process stops, or drains.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// The peer sent a kind of message that is not taken here.
    pub const UNSUPPORTED: Self = Self(1003);
    /// A text, such as a close reason, was not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A rule of this end forbids what the peer does.
    pub const POLICY: Self = Self(1008);
    /// This end failed.
    pub const INTERNAL_ERROR: Self = Self(1011);

    /// A code of an application, 4000 to 4999; none for other numbers.
    pub const fn application(code: u16) -> Option<Self> {
        if code >= 4000 && code <= 4999 { Some(Self(code)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// A code that may stand in a frame; 1004 to 1006 and 1015 may not, nor numbers nobody assigned.
    pub const fn received(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }
}

/// What a close frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The code; none where the frame is empty.
    pub code: Option<CloseCode>,
    /// Where the reason stands in the bytes that were decoded; it is UTF-8.
    pub reason: Range<usize>,
}

impl Close {
    /// Reads the unmasked payload of a close frame, which stands at `place` of what is decoded.
    pub(super) fn parse(bytes: &[u8], place: Range<usize>) -> Result<Self, WebSocketError> {
        let payload = &bytes[place.clone()];
        if payload.is_empty() {
            return Ok(Self { code: None, reason: place });
        }
        let Some((code, reason)) = payload.split_first_chunk() else { return Err(WebSocketError::CloseCode) };
        let code = CloseCode::received(u16::from_be_bytes(*code)).ok_or(WebSocketError::CloseCode)?;
        if std::str::from_utf8(reason).is_err() {
            return Err(WebSocketError::CloseReason);
        }
        Ok(Self { code: Some(code), reason: place.start + 2..place.end })
    }
}
