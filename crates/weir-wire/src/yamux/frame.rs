use super::YamuxError;

/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 12;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    WindowUpdate,
    Ping,
    GoAway,
}

/// The flags of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flags(u16);

impl Flags {
    pub(super) const NONE: Self = Self(0);
    pub(super) const SYN: Self = Self(1);
    pub(super) const ACK: Self = Self(2);
    pub(super) const FIN: Self = Self(4);
    pub(super) const RST: Self = Self(8);

    pub(super) const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) flags: Flags,
    /// 0 for the session itself.
    pub(super) stream: u32,
    /// Bytes of data, further window, a ping's value or a [`GoAway`].
    pub(super) length: u32,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; FRAME_HEADER_BYTES]) -> Result<Self, YamuxError> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = *bytes;
        if version != 0 {
            return Err(YamuxError::Version);
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            _ => return Err(YamuxError::Kind),
        };
        Ok(Self {
            kind,
            flags: Flags(u16::from_be_bytes([f0, f1])),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }

    pub(super) fn encode(self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[1] = match self.kind {
            Kind::Data => 0,
            Kind::WindowUpdate => 1,
            Kind::Ping => 2,
            Kind::GoAway => 3,
        };
        bytes[2..4].copy_from_slice(&self.flags.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.stream.to_be_bytes());
        bytes[8..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }
}

/// A frame to be sent: its header, and how many bytes of a stream's data follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The header.
    pub header: [u8; FRAME_HEADER_BYTES],
    /// The stream and how many of its offered bytes, which its owner holds; those must be sent right behind.
    pub payload: Option<(u32, usize)>,
}

impl Frame {
    pub(super) fn control(kind: Kind, flags: Flags, stream: u32, length: u32) -> Self {
        Self { header: Header { kind, flags, stream, length }.encode(), payload: None }
    }

    pub(super) fn data(stream: u32, bytes: usize) -> Self {
        let length = u32::try_from(bytes).expect("a frame carries at most DATA_BYTES_MAX");
        let header = Header { kind: Kind::Data, flags: Flags::NONE, stream, length };
        Self { header: header.encode(), payload: Some((stream, bytes)) }
    }
}

/// Why an end takes no more streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoAway {
    /// It stops or drains; open streams go on.
    Normal,
    /// The other end broke the protocol.
    ProtocolError,
    /// It failed.
    InternalError,
}

impl GoAway {
    pub(super) const fn code(self) -> u32 {
        match self {
            Self::Normal => 0,
            Self::ProtocolError => 1,
            Self::InternalError => 2,
        }
    }

    /// A code of nobody counts as a failure.
    pub(super) const fn parse(code: u32) -> Self {
        match code {
            0 => Self::Normal,
            1 => Self::ProtocolError,
            _ => Self::InternalError,
        }
    }
}
