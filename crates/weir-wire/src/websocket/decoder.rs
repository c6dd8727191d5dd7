use std::ops::Range;

use super::header::Header;
use super::{Close, Mask, Opcode, Role, WebSocketError};

/// Reads the frames that a peer sends.
///
/// Holds where it stands within a frame and nothing of the bytes: headers and control frames, at most 139 bytes, stay
/// with the caller until they are whole.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    state: State,
    /// Whether a message has begun whose last piece is still to come.
    is_within_message: bool,
}

#[derive(Debug)]
enum State {
    Header,
    Payload { left: u64, offset: u64, mask: Option<Mask> },
    Closed,
}

/// What the first bytes of an input are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// How many of them are used up by it; those come no more.
    pub used: usize,
    /// What they are.
    pub piece: Piece,
}

/// A piece of what a peer sends; ranges are places in the decoded bytes, which are unmasked there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// No more than the beginning of something: more bytes are needed behind those that are not used up.
    Incomplete,
    /// Payload of a binary message, whatever part of it; never empty.
    Data(Range<usize>),
    /// A ping, with what a pong has to repeat.
    Ping(Range<usize>),
    /// A pong.
    Pong(Range<usize>),
    /// A close frame; no bytes are taken behind it.
    Close(Close),
}

impl Decoder {
    /// A decoder at the end with this role.
    pub const fn new(role: Role) -> Self {
        Self { role, state: State::Header, is_within_message: false }
    }

    /// Takes the next piece from the beginning of `bytes`, unmasking it where it stands.
    ///
    /// # Errors
    ///
    /// [`WebSocketError`]: what the peer did wrong. Later calls need not be meaningful.
    pub fn step(&mut self, bytes: &mut [u8]) -> Result<Step, WebSocketError> {
        let mut used = 0;
        loop {
            match &mut self.state {
                State::Closed if bytes.len() == used => return Ok(Step { used, piece: Piece::Incomplete }),
                State::Closed => return Err(WebSocketError::AfterClose),
                State::Payload { left: 0, .. } => self.state = State::Header,
                State::Payload { left, offset, mask } => {
                    let there = bytes.len() - used;
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(there);
                    if count == 0 {
                        return Ok(Step { used, piece: Piece::Incomplete });
                    }
                    let place = used..used + count;
                    if let Some(mask) = mask {
                        mask.apply(&mut bytes[place.clone()], *offset);
                    }
                    *left -= count as u64;
                    *offset += count as u64;
                    return Ok(Step { used: place.end, piece: Piece::Data(place) });
                }
                State::Header => {
                    let Some(header) = Header::parse(&bytes[used..], self.role)? else {
                        return Ok(Step { used, piece: Piece::Incomplete });
                    };
                    if header.opcode.is_control() {
                        let piece = self.control(&header, bytes, used)?;
                        return Ok(piece.unwrap_or(Step { used, piece: Piece::Incomplete }));
                    }
                    self.begin(&header)?;
                    used += header.length;
                }
            }
        }
    }

    /// Enters a data frame.
    const fn begin(&mut self, header: &Header) -> Result<(), WebSocketError> {
        if self.is_within_message != matches!(header.opcode, Opcode::Continuation) {
            return Err(WebSocketError::Fragment);
        }
        self.is_within_message = !header.is_final;
        self.state = State::Payload { left: header.payload, offset: 0, mask: header.mask };
        Ok(())
    }

    /// The control frame at `start`, when it is whole.
    fn control(
        &mut self,
        header: &Header,
        bytes: &mut [u8],
        start: usize,
    ) -> Result<Option<Step>, WebSocketError> {
        let begin = start + header.length;
        let end = begin + usize::try_from(header.payload).expect("a control frame's length was checked");
        if bytes.len() < end {
            return Ok(None);
        }
        if let Some(mask) = header.mask {
            mask.apply(&mut bytes[begin..end], 0);
        }
        let piece = match header.opcode {
            Opcode::Ping => Piece::Ping(begin..end),
            Opcode::Pong => Piece::Pong(begin..end),
            Opcode::Close | Opcode::Continuation | Opcode::Binary => {
                self.state = State::Closed;
                Piece::Close(Close::parse(bytes, begin..end)?)
            }
        };
        Ok(Some(Step { used: end, piece }))
    }
}
