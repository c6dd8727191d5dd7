use super::Reason;

/// How much of each a peer may do before it is asked to calm down.
///
/// But for the three that say otherwise, each bounds a score that rises by one with each frame of its kind and is halved
/// every second: a limit of 200 lets through a burst of 200, or 100 a second for ever. The defaults leave room for what
/// browsers, gRPC and load generators do; sozu and Envoy have limits of the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests that the peer cancels within [`FRESH`](super::FRESH) of sending them and before their answer began.
    ///
    /// Default 200: leaving a page cancels up to 100 images at once, an attack cancels thousands a second.
    pub rapid_resets_max: u32,
    /// Streams that the peer cancels, beyond as many that we ended. Default 1000: an endpoint that hangs makes a client
    /// with a short deadline cancel all its calls.
    pub resets_max: u32,
    /// Streams that we reset because of the peer's faults. Default 100; halved only about once a minute, since no sound
    /// client makes any.
    pub forced_resets_max: u32,
    /// Streams that we refuse because too many are open. Default 100: a client may open as many as it
    /// likes until our SETTINGS reach it.
    pub refused_streams_max: u32,
    /// PINGs with no HEADERS or DATA of ours since the one before. Default 100; those that measure the path of an answer
    /// (gRPC) are free.
    pub pings_max: u32,
    /// SETTINGS frames. Default 50: most clients send one.
    pub settings_max: u32,
    /// PRIORITY frames beyond ten for each stream that is opened. Default 100.
    pub priorities_max: u32,
    /// Frames of unknown kinds beyond ten for each stream that is opened. Default 100: browsers send some to keep others
    /// honest.
    pub unknown_frames_max: u32,
    /// DATA frames without data and END_STREAM, beyond as many with data. Default 100.
    pub empty_data_max: u32,
    /// WINDOW_UPDATE frames beyond 20 for each DATA frame of ours and for each stream that is opened. Default 500.
    pub window_updates_max: u32,
    /// WINDOW_UPDATE frames of less than [`DRIP_BYTES`](super::DRIP_BYTES). Default 2000: only the simplest clients grant
    /// each byte anew.
    pub window_drips_max: u32,
    /// CONTINUATION frames of one header block. Default 8: seven hold 128 KiB with the HEADERS before them.
    pub continuations_max: u32,
    /// CONTINUATION frames of less than [`SMALL_BYTES`](super::SMALL_BYTES) that do not end their block. Default 20.
    pub small_continuations_max: u32,
    /// Bytes of one header block as sent, padding included. Default 128 KiB, twice what a request's head may have: one
    /// that is a little too large is answered, a bomb ends the connection.
    pub header_block_bytes_max: u32,
    /// PING and SETTINGS frames that we read and whose acknowledgements we could not write yet. Default 1000.
    pub unread_acks_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rapid_resets_max: 200,
            resets_max: 1_000,
            forced_resets_max: 100,
            refused_streams_max: 100,
            pings_max: 100,
            settings_max: 50,
            priorities_max: 100,
            unknown_frames_max: 100,
            empty_data_max: 100,
            window_updates_max: 500,
            window_drips_max: 2_000,
            continuations_max: 8,
            small_continuations_max: 20,
            header_block_bytes_max: 128 << 10,
            unread_acks_max: 1_000,
        }
    }
}

impl Limits {
    /// The limit that `reason` is about.
    pub fn of(&self, reason: Reason) -> u32 {
        match reason {
            Reason::RapidResets => self.rapid_resets_max,
            Reason::Resets => self.resets_max,
            Reason::ForcedResets => self.forced_resets_max,
            Reason::RefusedStreams => self.refused_streams_max,
            Reason::Pings => self.pings_max,
            Reason::Settings => self.settings_max,
            Reason::Priorities => self.priorities_max,
            Reason::UnknownFrames => self.unknown_frames_max,
            Reason::EmptyData => self.empty_data_max,
            Reason::WindowUpdates => self.window_updates_max,
            Reason::WindowDrips => self.window_drips_max,
            Reason::Continuations => self.continuations_max,
            Reason::SmallContinuations => self.small_continuations_max,
            Reason::HeaderBlockBytes => self.header_block_bytes_max,
            Reason::UnreadAcks => self.unread_acks_max,
        }
    }
}
