/// What a peer did too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Requests cancelled right after they were sent and before they were answered (CVE-2023-44487).
    RapidResets,
    /// Streams cancelled, whenever it was.
    Resets,
    /// Streams that had to be reset because of the peer's faults (CVE-2025-8671).
    ForcedResets,
    /// Streams opened beyond the limit that was announced.
    RefusedStreams,
    /// PING frames, and acknowledgements of PINGs that nobody sent (CVE-2019-9512).
    Pings,
    /// SETTINGS frames (CVE-2019-9515).
    Settings,
    /// PRIORITY and PRIORITY_UPDATE frames (CVE-2019-9513).
    Priorities,
    /// Frames of unknown kinds.
    UnknownFrames,
    /// DATA frames without data that do not end their stream (CVE-2019-9518).
    EmptyData,
    /// WINDOW_UPDATE frames that no DATA accounts for.
    WindowUpdates,
    /// WINDOW_UPDATE frames that grant next to nothing (CVE-2019-9511).
    WindowDrips,
    /// Pieces of header blocks in one block (CVE-2024-27316).
    Continuations,
    /// Pieces of header blocks that are empty or tiny, and not the last of their block.
    SmallContinuations,
    /// Bytes of one header block.
    HeaderBlockBytes,
    /// PING and SETTINGS frames whose acknowledgements the peer does not read (CVE-2019-9512, CVE-2019-9515).
    UnreadAcks,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 15] = [
        Self::RapidResets,
        Self::Resets,
        Self::ForcedResets,
        Self::RefusedStreams,
        Self::Pings,
        Self::Settings,
        Self::Priorities,
        Self::UnknownFrames,
        Self::EmptyData,
        Self::WindowUpdates,
        Self::WindowDrips,
        Self::Continuations,
        Self::SmallContinuations,
        Self::HeaderBlockBytes,
        Self::UnreadAcks,
    ];

    /// The stable name, as in metrics and in logs; its limit is named the same with `_max` behind it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RapidResets => "rapid_resets",
            Self::Resets => "resets",
            Self::ForcedResets => "forced_resets",
            Self::RefusedStreams => "refused_streams",
            Self::Pings => "pings",
            Self::Settings => "settings",
            Self::Priorities => "priorities",
            Self::UnknownFrames => "unknown_frames",
            Self::EmptyData => "empty_data",
            Self::WindowUpdates => "window_updates",
            Self::WindowDrips => "window_drips",
            Self::Continuations => "continuations",
            Self::SmallContinuations => "small_continuations",
            Self::HeaderBlockBytes => "header_block_bytes",
            Self::UnreadAcks => "unread_acks",
        }
    }
}
