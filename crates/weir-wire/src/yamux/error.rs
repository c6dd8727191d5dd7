use thiserror::Error;

/// What the peer did that ends the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum YamuxError {
    /// A version other than 0: the peer speaks something else.
    #[error("a frame has an unknown version")]
    Version,
    /// A type that is not assigned.
    #[error("a frame has an unknown type")]
    Kind,
    /// Data or a window for stream 0, which is the session itself.
    #[error("a frame of a stream names stream 0")]
    StreamZero,
    /// More data than the window allows.
    #[error("a stream has more data than its window")]
    WindowExceeded,
    /// A stream is opened that is open.
    #[error("a stream is opened twice")]
    DuplicateOpen,
    /// A stream is opened with a number that belongs to this end.
    #[error("a stream is opened with a number of the other side")]
    WrongParity,
    /// More pings than [`PONGS_MAX`](super::PONGS_MAX) while their answers could not be sent.
    #[error("too many pings wait for an answer")]
    PingFlood,
    /// More than [`RESETS_MAX`](super::RESETS_MAX) resets became necessary while none could be sent.
    #[error("too many streams had to be reset at once")]
    ResetFlood,
    /// Frames for more than [`STRAYS_MAX`](super::STRAYS_MAX) streams that were never opened.
    #[error("too many frames are for streams that were never opened")]
    StrayFlood,
}

/// Why no stream is opened. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The peer has announced that it takes no more streams, or this end has.
    #[error("the session takes no more streams")]
    GoingAway,
    /// [`Limits::streams_max`](super::Limits::streams_max) are open.
    #[error("the session has as many streams as it may")]
    TooManyStreams,
    /// All 2^31 numbers have been used.
    #[error("the session has no more stream numbers")]
    Exhausted,
}
