use std::io;
use std::sync::Arc;

use thiserror::Error;
use weir_base::{ErrorCode, Retry};
use weir_net::TunnelRefusal;
use weir_net::tls::TlsFault;
use weir_upstream::{DialError, Outcome, PickError};
use weir_wire::http1::{ChunkError, FramingError, ResponseError};

use crate::filter::FilterError;
use crate::transfer::TransferError;

/// Why a request was not answered by an endpoint.
#[derive(Debug, Error)]
pub(crate) enum ForwardError {
    #[error("no endpoint of upstream `{upstream}` could be picked: {error}")]
    Pick { upstream: Arc<str>, error: PickError },
    #[error("no descriptor is left for a connection")]
    OutOfDescriptors,
    #[error("connecting failed: {0}")]
    Connect(io::Error),
    #[error("there is no TLS to the endpoint: {0}")]
    Tls(TlsFault),
    #[error("there is no stream to the agent: {0}")]
    Tunnel(TunnelRefusal),
    #[error("connecting took longer than connect_timeout")]
    ConnectTimeout,
    /// Nothing of the request was taken by the kernel.
    #[error("the connection was closed before anything was sent: {0}")]
    ClosedBeforeSend(io::Error),
    /// The endpoint closed a connection after it may have seen the request.
    #[error("the endpoint closed the connection before the response head")]
    ClosedEarly,
    /// The endpoint, or its connection, did nothing with the request: it may always be sent again.
    #[error("the endpoint did not take the stream")]
    Refused {
        /// Because the connection ends, which is no fault of the endpoint's.
        leaving: bool,
    },
    /// The agent did not take the stream; it may always be sent again.
    #[error("the agent refused the stream")]
    AgentRefused,
    /// The agent, or what it forwards to, gave the stream up before it answered.
    #[error("the agent aborted the stream before the response head")]
    AgentAborted,
    /// The agent's session ended before it answered.
    #[error("the agent's session ended before the response head")]
    AgentLost,
    /// The endpoint gave the stream up before it answered.
    #[error("the endpoint reset the stream before the response head: {0}")]
    Reset(h2::Reason),
    /// Nothing that a client could send: a policy's doing.
    #[error("the request cannot be written in HTTP/2: {0}")]
    Untranslatable(&'static str),
    #[error("the response head took longer than response_timeout")]
    ResponseTimeout,
    #[error("the endpoint does not take the request body")]
    WriteTimeout,
    #[error("the response head is malformed: {0}")]
    BadHead(&'static str),
    #[error("the response head is malformed: {0}")]
    Head(#[from] ResponseError),
    #[error("the response's framing is ambiguous: {0}")]
    Framing(#[from] FramingError),
    #[error("the endpoint's answer to the upgrade does not fit: {0}")]
    UpgradeMismatch(&'static str),
    #[error("the endpoint speaks HTTP/2 and does not take this upgrade")]
    UpgradeNotTaken,
    /// A configured status, which may be tried elsewhere.
    #[error("the endpoint answered {0}")]
    Status(u16),
    #[error("the request took longer than the route's timeout")]
    TotalTimeout,
    #[error("the gateway stops before the request is over")]
    ShuttingDown,
    #[error("the client went away")]
    ClientGone,
    #[error("the request body did not arrive in time")]
    ClientTimeout,
    #[error("the request body is malformed: {0}")]
    RequestMalformed(ChunkError),
    #[error("the request body is not as long as its head says")]
    RequestDisagrees,
    #[error("the request body is malformed: {0}")]
    RequestRefused(FilterError),
    #[error("a trailer of the request is not allowed")]
    TrailerDenied,
    #[error("the request body is larger than the limit")]
    BodyTooLarge,
}

impl From<DialError> for ForwardError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Failed(error) => Self::Connect(error),
            DialError::Tls(fault) => Self::Tls(fault),
            DialError::TimedOut => Self::ConnectTimeout,
            DialError::Tunnel(refusal) => Self::Tunnel(refusal),
            DialError::OutOfDescriptors => Self::OutOfDescriptors,
            DialError::Stopping => Self::ShuttingDown,
        }
    }
}

impl ForwardError {
    /// The registered code.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Pick { error: PickError::NoEndpoint { .. } | PickError::AllTried, .. } => {
                ErrorCode::NoEndpoint
            }
            Self::Pick { error: PickError::QueueFull, .. } => ErrorCode::QueueFull,
            Self::Pick { error: PickError::QueueTimeout | PickError::Busy, .. } => ErrorCode::QueueTimeout,
            Self::OutOfDescriptors => ErrorCode::Overloaded,
            Self::Connect(_) => ErrorCode::ConnectFailed,
            Self::Tls(_) => ErrorCode::UpstreamTlsFailed,
            Self::Tunnel(TunnelRefusal::Offline | TunnelRefusal::Unknown) => ErrorCode::AgentOffline,
            Self::Tunnel(TunnelRefusal::Full) | Self::AgentRefused | Self::AgentAborted => {
                ErrorCode::AgentRefused
            }
            Self::AgentLost => ErrorCode::AgentLost,
            Self::ConnectTimeout => ErrorCode::ConnectTimeout,
            Self::ClosedBeforeSend(_) | Self::ClosedEarly | Self::Refused { .. } | Self::Reset(_) => {
                ErrorCode::UpstreamClosed
            }
            Self::Untranslatable(_) => ErrorCode::Internal,
            Self::ResponseTimeout | Self::WriteTimeout => ErrorCode::ResponseTimeout,
            Self::BadHead(_) | Self::Head(_) | Self::Framing(_) => ErrorCode::UpstreamMalformed,
            // Given up for an endpoint that then could not be had.
            Self::Status(_) => ErrorCode::NoEndpoint,
            Self::UpgradeMismatch(_) | Self::UpgradeNotTaken => ErrorCode::UpgradeFailed,
            Self::TotalTimeout => ErrorCode::TotalTimeout,
            Self::ShuttingDown => ErrorCode::ShuttingDown,
            Self::ClientGone => ErrorCode::ClientGone,
            Self::ClientTimeout => ErrorCode::RequestTimeout,
            Self::RequestMalformed(_) | Self::RequestDisagrees | Self::RequestRefused(_) => {
                ErrorCode::BadRequest
            }
            Self::TrailerDenied => ErrorCode::HeaderDenied,
            Self::BodyTooLarge => ErrorCode::BodyTooLarge,
        }
    }

    /// Whether another endpoint may be tried.
    pub(crate) fn retry(&self) -> Retry {
        match self {
            // A server that has not taken our certificate has read nothing of the request either.
            Self::Connect(_)
            | Self::Tls(_)
            | Self::Tunnel(_)
            | Self::AgentRefused
            | Self::ConnectTimeout
            | Self::ClosedBeforeSend(_)
            | Self::Refused { .. } => Retry::Always,
            Self::ClosedEarly
            | Self::AgentAborted
            | Self::AgentLost
            | Self::Reset(_)
            | Self::ResponseTimeout
            | Self::Status(_) => Retry::IfIdempotent,
            Self::Head(_) | Self::Framing(_) | Self::BadHead(_) => Retry::IfIdempotent,
            Self::Pick { .. }
            | Self::Untranslatable(_)
            | Self::OutOfDescriptors
            | Self::WriteTimeout
            | Self::UpgradeMismatch(_)
            | Self::UpgradeNotTaken
            | Self::TotalTimeout
            | Self::ShuttingDown
            | Self::ClientGone
            | Self::ClientTimeout
            | Self::RequestMalformed(_)
            | Self::RequestDisagrees
            | Self::RequestRefused(_)
            | Self::TrailerDenied
            | Self::BodyTooLarge => Retry::Never,
        }
    }

    /// What it says of the endpoint.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Connect(_) => Outcome::ConnectFailed,
            Self::Tls(_) => Outcome::TlsFailed,
            Self::ConnectTimeout => Outcome::ConnectTimeout,
            Self::ResponseTimeout | Self::WriteTimeout => Outcome::ResponseTimeout,
            Self::ClosedBeforeSend(_)
            | Self::ClosedEarly
            | Self::AgentRefused
            | Self::AgentAborted
            | Self::Refused { leaving: false }
            | Self::Reset(_) => Outcome::ClosedEarly,
            Self::BadHead(_) | Self::Head(_) | Self::Framing(_) | Self::UpgradeMismatch(_) => {
                Outcome::Malformed
            }
            Self::Status(status) => Outcome::Status(*status),
            Self::Pick { .. }
            | Self::Refused { leaving: true }
            | Self::Untranslatable(_)
            | Self::UpgradeNotTaken
            | Self::Tunnel(_)
            | Self::AgentLost
            | Self::OutOfDescriptors
            | Self::TotalTimeout
            | Self::ShuttingDown
            | Self::ClientGone
            | Self::ClientTimeout
            | Self::RequestMalformed(_)
            | Self::RequestDisagrees
            | Self::RequestRefused(_)
            | Self::TrailerDenied
            | Self::BodyTooLarge => Outcome::Cancelled,
        }
    }

    /// A fault of the client's side while its body was read; `None` for faults of the upstream's side.
    pub(crate) fn of_request_body(error: TransferError) -> Option<Self> {
        match error {
            // What the HTTP/2 library refuses in a stream; it has reset it.
            TransferError::SourceFailed(error) if error.kind() == io::ErrorKind::InvalidData => {
                Some(Self::RequestDisagrees)
            }
            TransferError::SourceEnded | TransferError::SourceFailed(_) => Some(Self::ClientGone),
            TransferError::SourceDisagrees => Some(Self::RequestDisagrees),
            TransferError::SourceMalformed(cause) => Some(Self::RequestMalformed(cause)),
            TransferError::TooLarge => Some(Self::BodyTooLarge),
            TransferError::TrailerDenied => Some(Self::TrailerDenied),
            TransferError::Refused(cause) => Some(Self::RequestRefused(cause)),
            TransferError::SinkFailed(_) => None,
        }
    }
}
