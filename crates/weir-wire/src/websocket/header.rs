use super::{CONTROL_BYTES_MAX, Mask, Role, WebSocketError};

/// Longest header of a frame: two bytes, a length of eight and a mask of four.
pub const HEADER_BYTES_MAX: usize = 14;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// The next piece of a message.
    Continuation,
    /// A binary message, or the first piece of one.
    Binary,
    /// The end.
    Close,
    /// A question whether the peer is there.
    Ping,
    /// The answer.
    Pong,
}

impl Opcode {
    pub(super) const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    pub(super) const fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }

    const fn parse(bits: u8) -> Result<Self, WebSocketError> {
        match bits {
            0x0 => Ok(Self::Continuation),
            0x1 => Err(WebSocketError::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xa => Ok(Self::Pong),
            _ => Err(WebSocketError::Opcode),
        }
    }
}

/// The header of a frame that the peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of the header itself.
    pub(super) length: usize,
    pub(super) opcode: Opcode,
    /// Whether it is the last piece of its message.
    pub(super) is_final: bool,
    pub(super) mask: Option<Mask>,
    /// Bytes of payload; less than 2^63.
    pub(super) payload: u64,
}

impl Header {
    /// Reads the header that `bytes` begin with; none while it is not whole. What is wrong is found at the first byte
    /// that shows it.
    pub(super) fn parse(bytes: &[u8], reader: Role) -> Result<Option<Self>, WebSocketError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(WebSocketError::ReservedBit);
        }
        let opcode = Opcode::parse(first & 0xf)?;
        let is_final = first & FIN != 0;
        if opcode.is_control() && !is_final {
            return Err(WebSocketError::Control);
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if (second & MASKED != 0) != (reader == Role::Server) {
            return Err(WebSocketError::Masking);
        }
        let short = second & !MASKED;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(WebSocketError::Control);
        }
        let Some((payload, behind)) = length(short, &bytes[2..])? else { return Ok(None) };
        let (mask, length) = match reader {
            Role::Client => (None, 2 + behind),
            Role::Server => match bytes[2 + behind..].first_chunk() {
                None => return Ok(None),
                Some(key) => (Some(Mask::new(*key)), 2 + behind + 4),
            },
        };
        Ok(Some(Self { length, opcode, is_final, mask, payload }))
    }
}

/// The length and how many further bytes it took.
fn length(short: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, WebSocketError> {
    let (length, taken, least) = match short {
        126 => match bytes.first_chunk() {
            None => return Ok(None),
            Some(long) => (u64::from(u16::from_be_bytes(*long)), 2, 126),
        },
        127 => match bytes.first_chunk() {
            None => return Ok(None),
            Some(long) => (u64::from_be_bytes(*long), 8, 1 << 16),
        },
        short => (u64::from(short), 0, 0),
    };
    if length < least || length >= 1 << 63 {
        return Err(WebSocketError::Length);
    }
    Ok(Some((length, taken)))
}
