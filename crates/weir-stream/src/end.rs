use weir_base::{ErrorCode, Origin};
use weir_telemetry::Level;

/// Who ended a connection or a session, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both directions ended in order, the client's first.
    ClientClosed,
    /// Both directions ended in order, the upstream's first.
    UpstreamClosed,
    /// The client's connection was reset or failed.
    ClientReset,
    /// The upstream's connection was reset or failed.
    UpstreamReset,
    /// Nothing moved for `idle_timeout`.
    IdleTimeout,
    /// One direction had ended, and nothing moved in the other for `half_close_timeout`.
    HalfCloseTimeout,
    /// The client went away before it was connected to an endpoint.
    ClientGone,
    /// Its ClientHello is malformed.
    BadHello,
    /// The TLS handshake with it failed.
    TlsFailed,
    /// No route matches, and there is no `forward`.
    NoRoute,
    /// No endpoint could be picked.
    NoEndpoint,
    /// Every endpoint is at its cap, and the queue is full.
    QueueFull,
    /// Every endpoint stayed at its cap for the queue's whole timeout.
    QueueTimeout,
    /// Every endpoint that was tried refused the connection, or could not be reached.
    ConnectFailed,
    /// There was no TLS to the last endpoint that was tried.
    UpstreamTlsFailed,
    /// The last endpoint that was tried did not take the connection in time.
    ConnectTimeout,
    /// The gateway has no descriptor left, or gave up a connection that had said nothing yet to make room.
    Overloaded,
    /// The endpoint was removed by a reload, and `on_remove` is `close`.
    EndpointRemoved,
    /// The endpoint is down, and `on_down` is `close`.
    EndpointDown,
    /// All answers that a UDP session expects have come.
    Answered,
    /// A UDP session gave way to another, as there is no place for more.
    Evicted,
    /// The gateway stops.
    ShuttingDown,
}

impl End {
    pub(crate) const ALL: [Self; 22] = [
        Self::ClientClosed,
        Self::UpstreamClosed,
        Self::ClientReset,
        Self::UpstreamReset,
        Self::IdleTimeout,
        Self::HalfCloseTimeout,
        Self::ClientGone,
        Self::BadHello,
        Self::TlsFailed,
        Self::NoRoute,
        Self::NoEndpoint,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::ConnectFailed,
        Self::UpstreamTlsFailed,
        Self::ConnectTimeout,
        Self::Overloaded,
        Self::EndpointRemoved,
        Self::EndpointDown,
        Self::Answered,
        Self::Evicted,
        Self::ShuttingDown,
    ];

    /// What went wrong, for the log; none where a peer or a clock ended it in order.
    pub(crate) const fn error(self) -> Option<ErrorCode> {
        match self {
            Self::ClientClosed
            | Self::UpstreamClosed
            | Self::IdleTimeout
            | Self::HalfCloseTimeout
            | Self::Answered
            | Self::Evicted
            | Self::EndpointRemoved => None,
            Self::ClientReset | Self::ClientGone => Some(ErrorCode::ClientGone),
            Self::UpstreamReset | Self::EndpointDown => Some(ErrorCode::UpstreamCut),
            Self::BadHello => Some(ErrorCode::BadRequest),
            Self::TlsFailed => Some(ErrorCode::TlsHandshakeFailed),
            Self::NoRoute => Some(ErrorCode::RouteNotFound),
            Self::NoEndpoint => Some(ErrorCode::NoEndpoint),
            Self::QueueFull => Some(ErrorCode::QueueFull),
            Self::QueueTimeout => Some(ErrorCode::QueueTimeout),
            Self::ConnectFailed => Some(ErrorCode::ConnectFailed),
            Self::UpstreamTlsFailed => Some(ErrorCode::UpstreamTlsFailed),
            Self::ConnectTimeout => Some(ErrorCode::ConnectTimeout),
            Self::Overloaded => Some(ErrorCode::Overloaded),
            Self::ShuttingDown => Some(ErrorCode::ShuttingDown),
        }
    }

    /// How much it matters.
    pub(crate) fn level(self) -> Level {
        if self == Self::Overloaded {
            // Clients can bring it about at will: it is said once by an event, not by each of them.
            return Level::Warn;
        }
        match self.error().map(ErrorCode::origin) {
            None | Some(Origin::Client) => Level::Info,
            Some(Origin::Upstream | Origin::Operator) => Level::Warn,
            Some(Origin::Gateway) => Level::Error,
        }
    }

    /// The word used in logs and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ClientClosed => "client_closed",
            Self::UpstreamClosed => "upstream_closed",
            Self::ClientReset => "client_reset",
            Self::UpstreamReset => "upstream_reset",
            Self::IdleTimeout => "idle_timeout",
            Self::HalfCloseTimeout => "half_close_timeout",
            Self::ClientGone => "client_gone",
            Self::BadHello => "bad_hello",
            Self::TlsFailed => "tls_failed",
            Self::NoRoute => "no_route",
            Self::NoEndpoint => "no_endpoint",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::ConnectFailed => "connect_failed",
            Self::UpstreamTlsFailed => "upstream_tls_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::Overloaded => "overloaded",
            Self::EndpointRemoved => "endpoint_removed",
            Self::EndpointDown => "endpoint_down",
            Self::Answered => "answered",
            Self::Evicted => "evicted",
            Self::ShuttingDown => "shutting_down",
        }
    }
}
