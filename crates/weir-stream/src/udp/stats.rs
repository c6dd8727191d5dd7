use weir_telemetry::Tally;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word used in logs and metrics.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// Why a datagram was not sent on.
    DropReason {
        /// The session table is full, and no session of this worker could give way.
        TableFull = "table-full",
        /// No endpoint is available, or none became free in time.
        NoEndpoint = "no-endpoint",
        /// Too many datagrams wait for an endpoint.
        QueueFull = "queue-full",
        /// Every endpoint refused it.
        Refused = "refused",
        /// The listener takes no new sessions any more.
        Draining = "draining",
        /// The kernel's buffer for sending was full.
        BufferFull = "buffer-full",
        /// It is longer than a datagram may be.
        Oversize = "oversize",
        /// No descriptor was left for a session's socket.
        NoDescriptor = "no-descriptor",
        /// The kernel would not send it, for another reason.
        SendFailed = "send-failed",
    }
}

words! {
    /// Why a session ended.
    EndReason {
        /// Nothing came or went for the idle timeout.
        Idle = "idle",
        /// All expected answers came.
        Answered = "answered",
        /// It gave way to another in a full table.
        Evicted = "evicted",
        /// Every endpoint refused it.
        Refused = "refused",
        /// No endpoint was available, or none became free in time.
        NoEndpoint = "no-endpoint",
        /// Its endpoint was taken out of the configuration.
        EndpointRemoved = "endpoint-removed",
        /// Its endpoint went down.
        EndpointDown = "endpoint-down",
        /// The listener's time was over.
        Drained = "drained",
        /// No descriptor was left for its socket.
        NoDescriptor = "no-descriptor",
    }
}

/// What a listener did on one worker.
#[derive(Debug, Default)]
pub struct UdpTallies {
    /// Sessions that began.
    pub sessions: Tally,
    /// Sessions that ended, by [`EndReason`].
    pub ended: [Tally; EndReason::ALL.len()],
    /// Sessions that went on with another endpoint after a refusal.
    pub moved: Tally,
    /// Datagrams from clients, those that were dropped among them.
    pub datagrams_in: Tally,
    /// Datagrams from endpoints, those that were dropped among them.
    pub datagrams_out: Tally,
    /// Bytes from clients.
    pub bytes_in: Tally,
    /// Bytes from endpoints.
    pub bytes_out: Tally,
    /// Datagrams that were not sent on, by [`DropReason`].
    pub dropped: [Tally; DropReason::ALL.len()],
}

impl UdpTallies {
    /// Datagrams that were not sent on for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].get()
    }

    /// Sessions that ended for this reason.
    pub fn ended(&self, reason: EndReason) -> u64 {
        self.ended[reason as usize].get()
    }

    pub(super) fn count_drop(&self, reason: DropReason, count: u64) {
        self.dropped[reason as usize].add(count);
    }
}
