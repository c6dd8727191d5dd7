/// Who caused an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The client sent something that cannot be served, or went away.
    Client,
    /// The endpoint failed, stalled or answered nonsense.
    Upstream,
    /// Weir itself: a limit, a drain, a fault of ours.
    Gateway,
    /// Whoever configured it.
    Operator,
}

impl Origin {
    /// The word used in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Gateway => "gateway",
            Self::Operator => "operator",
        }
    }
}

/// Whether a failed attempt may be tried again, judged by how far it had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Something was answered, or the fault is not the endpoint's.
    Never,
    /// The endpoint may have acted on the request.
    IfIdempotent,
    /// Not one byte of the request was sent.
    Always,
}
