use weir_telemetry::Tally;

/// Why a datagram was not sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// No endpoint is available, or none became free in time.
    NoEndpoint,
    /// Too many datagrams wait for an endpoint.
    QueueFull,
    /// Every endpoint refused it.
    Refused,
    /// The listener takes no new sessions any more.
    Draining,
    /// The kernel's buffer for sending was full.
    BufferFull,
    /// It is longer than a datagram may be.
    Oversize,
    /// No descriptor or no port was left for a session's socket.
    NoDescriptor,
    /// The kernel would not send it, for another reason.
    SendFailed,
    /// It claims to come from the very address it came to, so that its answer would be the next question.
    OwnAddress,
    /// It is an answer beyond those that are expected.
    Surplus,
}

impl DropReason {
    pub(crate) const ALL: [Self; 10] = [
        Self::NoEndpoint,
        Self::QueueFull,
        Self::Refused,
        Self::Draining,
        Self::BufferFull,
        Self::Oversize,
        Self::NoDescriptor,
        Self::SendFailed,
        Self::OwnAddress,
        Self::Surplus,
    ];

    /// The word used in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NoEndpoint => "no_endpoint",
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Draining => "draining",
            Self::BufferFull => "buffer_full",
            Self::Oversize => "oversize",
            Self::NoDescriptor => "no_descriptor",
            Self::SendFailed => "send_failed",
            Self::OwnAddress => "own_address",
            Self::Surplus => "surplus",
        }
    }
}

/// What the sessions of a listener did on one worker, beside what is counted of connections too.
#[derive(Debug, Default)]
pub(crate) struct UdpTallies {
    /// Sessions that began.
    pub(crate) sessions: Tally,
    /// Sessions that went on with another endpoint after a refusal.
    pub(crate) moved: Tally,
    /// Sockets of unanswered sessions that were closed before their time.
    pub(crate) cooled_briefly: Tally,
    /// Sessions that ended without a line in the log, as too many others had one.
    pub(crate) lines_left_out: Tally,
    /// Datagrams from clients, those that were dropped among them.
    pub(crate) datagrams_in: Tally,
    /// Datagrams from endpoints, those that were dropped among them.
    pub(crate) datagrams_out: Tally,
    /// Datagrams that were not sent on, by [`DropReason`].
    pub(crate) dropped: [Tally; DropReason::ALL.len()],
}

impl UdpTallies {
    /// Datagrams that were not sent on for this reason.
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].get()
    }

    pub(super) fn count_drop(&self, reason: DropReason, count: u64) {
        self.dropped[reason as usize].add(count);
    }
}
