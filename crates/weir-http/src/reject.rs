use std::borrow::Cow;

use weir_base::{ErrorCode, Origin};
use weir_upstream::PickError;
use weir_wire::http1::{FramingError, RequestError, ScanError};

use crate::forward::ForwardError;

/// A request that Weir answers itself because it cannot be served.
#[derive(Debug, Clone)]
pub struct Reject {
    /// The registered code, which decides the status.
    pub code: ErrorCode,
    /// One sentence for the client; nothing secret, nothing of the inside.
    pub detail: Cow<'static, str>,
    /// Fields that the status asks for, such as `allow`.
    pub field: Option<(&'static str, &'static str)>,
    /// Whether what follows on the connection can no longer be trusted to be a request.
    pub close: bool,
}

impl Reject {
    /// A rejection with the code's own sentence.
    pub fn new(code: ErrorCode) -> Self {
        Self::because(code, code.title())
    }

    /// A rejection with a sentence of its own.
    pub fn because(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), field: None, close: false }
    }

    /// Adds a field to the answer.
    pub fn with_field(mut self, name: &'static str, value: &'static str) -> Self {
        self.field = Some((name, value));
        self
    }

    /// Ends the connection after the answer.
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}

impl From<ScanError> for Reject {
    fn from(error: ScanError) -> Self {
        Self::because(error.code(), error.to_string()).closing()
    }
}

impl From<RequestError> for Reject {
    fn from(error: RequestError) -> Self {
        Self::because(error.code(), error.to_string()).closing()
    }
}

impl From<FramingError> for Reject {
    fn from(error: FramingError) -> Self {
        Self::because(error.code(), error.to_string()).closing()
    }
}

impl From<ForwardError> for Reject {
    fn from(error: ForwardError) -> Self {
        let code = error.code();
        let reject = Self::new(code);
        match error {
            ForwardError::Pick {
                error: PickError::QueueFull | PickError::QueueTimeout | PickError::Busy,
                ..
            } => reject.with_field("retry-after", "1"),
            ForwardError::Pick { error: PickError::NoEndpoint { .. } | PickError::AllTried, .. } => {
                reject.with_field("retry-after", "5")
            }
            // As long as an agent that was cut off waits at first before it dials again.
            ForwardError::Tunnel(_) => reject.with_field("retry-after", "5"),
            ForwardError::OutOfDescriptors => reject.with_field("retry-after", "1"),
            // The names in it are nobody's business.
            ForwardError::Tls(fault) => Self::because(code, fault.reason().sentence()),
            ForwardError::RequestMalformed(cause) => {
                Self::because(code, format!("the request body is malformed: {cause}")).closing()
            }
            ForwardError::RequestRefused(cause) => {
                Self::because(code, format!("the request body is malformed: {cause}")).closing()
            }
            // The body was read to its end.
            ForwardError::TrailerDenied => reject,
            // The client is to blame and what it still sends cannot be told from a request.
            _ if code.origin() == Origin::Client => reject.closing(),
            _ => reject,
        }
    }
}
