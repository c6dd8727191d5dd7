/// Bytes of a frame's header.
const HEADER_BYTES: usize = 9;

/// Most bytes of a payload that are looked at.
const START_BYTES_MAX: usize = 4;

/// Bytes of one setting.
const SETTING_BYTES: usize = 6;

/// The setting that bounds what we may send on a stream.
const INITIAL_WINDOW_SIZE: u16 = 4;

/// The kinds of frames that are told apart (RFC 9113 section 6, RFC 9218 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    ResetStream,
    Settings,
    Ping,
    WindowUpdate,
    Continuation,
    PushPromise,
    /// Ends the connection, so that nobody can send many.
    GoAway,
    Unknown,
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            2 | 0x10 => Self::Priority,
            3 => Self::ResetStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }
}

/// What is known of one frame when its first bytes have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// Bytes of the payload.
    pub(super) length: u32,
    /// Whether a PRIORITY is a PRIORITY_UPDATE.
    is_update: bool,
    /// The first bytes of the payload, zero where it has fewer or they mean nothing here.
    start: [u8; START_BYTES_MAX],
}

impl Frame {
    const ACK: u8 = 0x1;
    const END_STREAM: u8 = 0x1;
    const END_HEADERS: u8 = 0x4;
    const PADDED: u8 = 0x8;

    pub(super) fn is_ack(&self) -> bool {
        self.flags & Self::ACK != 0
    }

    pub(super) fn ends_stream(&self) -> bool {
        self.flags & Self::END_STREAM != 0
    }

    pub(super) fn ends_headers(&self) -> bool {
        self.flags & Self::END_HEADERS != 0
    }

    /// The payload's first four bytes as a number: the code of a RST_STREAM, the increment of a WINDOW_UPDATE.
    pub(super) fn number(&self) -> u32 {
        u32::from_be_bytes(self.start)
    }

    /// Bytes of a DATA frame that are not padding.
    pub(super) fn data_bytes(&self) -> u32 {
        if self.flags & Self::PADDED == 0 {
            self.length
        } else {
            self.length.saturating_sub(1 + u32::from(self.start[0]))
        }
    }

    /// Whether its length is one that its kind can have, for a reader that allows `length_max`.
    pub(super) fn has_sound_length(&self, length_max: u32) -> bool {
        self.length <= length_max
            && match self.kind {
                Kind::Priority if self.is_update => true,
                Kind::Priority => self.length == 5,
                Kind::ResetStream | Kind::WindowUpdate => self.length == 4,
                Kind::Settings if self.is_ack() => self.length == 0,
                Kind::Settings => self.length.is_multiple_of(SETTING_BYTES as u32),
                Kind::Ping => self.length == 8,
                Kind::Data | Kind::Headers | Kind::Continuation => true,
                Kind::PushPromise | Kind::GoAway | Kind::Unknown => true,
            }
    }

    /// How much of the payload has to be seen.
    fn start_bytes(kind: Kind, flags: u8) -> usize {
        match kind {
            Kind::ResetStream | Kind::WindowUpdate => START_BYTES_MAX,
            Kind::Data if flags & Self::PADDED != 0 => 1,
            _ => 0,
        }
    }
}

/// Finds the frames in bytes that come in pieces; keeps at most a header and four bytes of a payload.
#[derive(Debug, Clone)]
pub(super) struct Frames {
    /// Bytes to pass over: the rest of a payload, or the preface.
    skip: u32,
    /// Settings that follow, before what is passed over.
    settings: u32,
    kept: [u8; HEADER_BYTES + START_BYTES_MAX],
    kept_bytes: u8,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    Frame(Frame),
    /// One setting of the frame before.
    Setting {
        /// No window beyond the largest.
        is_sound: bool,
    },
}

impl Frames {
    /// Frames that begin after `preface_bytes`.
    pub(super) fn after(preface_bytes: u32) -> Self {
        Self { skip: preface_bytes, settings: 0, kept: [0; HEADER_BYTES + START_BYTES_MAX], kept_bytes: 0 }
    }

    /// The next frame, or setting of one, as soon as enough of it is there; takes what was read off `bytes`.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Item> {
        if self.settings > 0 {
            return self.next_setting(bytes);
        }
        let skipped = bytes.len().min(self.skip as usize);
        *bytes = &bytes[skipped..];
        self.skip -= skipped as u32;
        if !self.keep(bytes, HEADER_BYTES) {
            return None;
        }
        let [high, middle, low, kind, flags, stream @ ..] = *self.kept.first_chunk::<HEADER_BYTES>()?;
        let is_update = kind == 0x10;
        let (kind, length) = (Kind::of(kind), u32::from_be_bytes([0, high, middle, low]));
        let start_bytes = Frame::start_bytes(kind, flags).min(length as usize);
        if !self.keep(bytes, HEADER_BYTES + start_bytes) {
            return None;
        }
        let mut start = [0; START_BYTES_MAX];
        start[..start_bytes].copy_from_slice(&self.kept[HEADER_BYTES..][..start_bytes]);
        self.kept_bytes = 0;
        self.skip = length - start_bytes as u32;
        // The first bit is reserved, and ignored by readers.
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        let frame = Frame { kind, flags, stream, length, is_update, start };
        if kind == Kind::Settings && !frame.is_ack() {
            (self.settings, self.skip) = (length / SETTING_BYTES as u32, length % SETTING_BYTES as u32);
        }
        Some(Item::Frame(frame))
    }

    fn next_setting(&mut self, bytes: &mut &[u8]) -> Option<Item> {
        if !self.keep(bytes, SETTING_BYTES) {
            return None;
        }
        let [high, low, value @ ..] = *self.kept.first_chunk::<SETTING_BYTES>()?;
        (self.kept_bytes, self.settings) = (0, self.settings - 1);
        let window = u32::from_be_bytes(value);
        Some(Item::Setting {
            is_sound: u16::from_be_bytes([high, low]) != INITIAL_WINDOW_SIZE || window < 1 << 31,
        })
    }

    /// Keeps bytes until there are `wanted`; false when there are not yet.
    fn keep(&mut self, bytes: &mut &[u8], wanted: usize) -> bool {
        let kept = usize::from(self.kept_bytes);
        let taken = bytes.len().min(wanted.saturating_sub(kept));
        self.kept[kept..kept + taken].copy_from_slice(&bytes[..taken]);
        *bytes = &bytes[taken..];
        self.kept_bytes += taken as u8;
        usize::from(self.kept_bytes) >= wanted
    }
}
