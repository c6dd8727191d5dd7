use super::{CONTROL_BYTES_MAX, CloseCode, HEADER_BYTES_MAX, Mask, Opcode};

/// Longest control frame: a header with a mask, and [`CONTROL_BYTES_MAX`] of payload.
pub const CONTROL_FRAME_BYTES_MAX: usize = 6 + CONTROL_BYTES_MAX;

/// The header of a frame, ready to be sent.
#[derive(Debug, Clone, Copy)]
pub struct HeaderBytes {
    bytes: [u8; HEADER_BYTES_MAX],
    length: usize,
}

impl HeaderBytes {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// A whole control frame, ready to be sent.
#[derive(Debug, Clone, Copy)]
pub struct ControlFrame {
    bytes: [u8; CONTROL_FRAME_BYTES_MAX],
    length: usize,
}

impl ControlFrame {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn new(opcode: Opcode, mask: Option<Mask>, payload: &[u8]) -> Self {
        debug_assert!(payload.len() <= CONTROL_BYTES_MAX, "callers cut what they send");
        let header = frame_header(opcode, mask, payload.len() as u64);
        let mut frame = Self { bytes: [0; CONTROL_FRAME_BYTES_MAX], length: header.length + payload.len() };
        frame.bytes[..header.length].copy_from_slice(header.as_slice());
        let place = &mut frame.bytes[header.length..header.length + payload.len()];
        place.copy_from_slice(payload);
        if let Some(mask) = mask {
            mask.apply(place, 0);
        }
        frame
    }
}

/// The header of a whole frame with `payload` bytes; a client gives a mask and applies it to the payload itself.
pub fn frame_header(opcode: Opcode, mask: Option<Mask>, payload: u64) -> HeaderBytes {
    let mut bytes = [0; HEADER_BYTES_MAX];
    bytes[0] = 0x80 | opcode.bits();
    let mut length = 2;
    bytes[1] = match payload {
        0..=125 => payload as u8,
        126..=0xffff => {
            bytes[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
            length += 2;
            126
        }
        _ => {
            bytes[2..10].copy_from_slice(&payload.to_be_bytes());
            length += 8;
            127
        }
    };
    if let Some(mask) = mask {
        bytes[1] |= 0x80;
        bytes[length..length + 4].copy_from_slice(&mask.key());
        length += 4;
    }
    HeaderBytes { bytes, length }
}

/// A ping with `payload`, cut to [`CONTROL_BYTES_MAX`].
pub fn ping_frame(mask: Option<Mask>, payload: &[u8]) -> ControlFrame {
    ControlFrame::new(Opcode::Ping, mask, &payload[..payload.len().min(CONTROL_BYTES_MAX)])
}

/// The pong that answers a ping with `payload`.
pub fn pong_frame(mask: Option<Mask>, payload: &[u8]) -> ControlFrame {
    ControlFrame::new(Opcode::Pong, mask, &payload[..payload.len().min(CONTROL_BYTES_MAX)])
}

/// A close frame with its reason, cut at a character to what fits; without a code the frame is empty.
pub fn close_frame(mask: Option<Mask>, code: Option<CloseCode>, reason: &str) -> ControlFrame {
    let Some(code) = code else { return ControlFrame::new(Opcode::Close, mask, &[]) };
    let mut end = reason.len().min(CONTROL_BYTES_MAX - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = &reason[..end];
    let mut payload = [0; CONTROL_BYTES_MAX];
    payload[..2].copy_from_slice(&code.get().to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
    ControlFrame::new(Opcode::Close, mask, &payload[..2 + reason.len()])
}
