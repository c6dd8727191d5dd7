//! Policies: what a route does to a request before its action and to the answer after it.
//!
//! One folder each. A policy's plan is checked when the configuration is; compiling it cannot fail.

mod body_limit;
mod compress;
mod cors;
mod grpc_web;
mod headers;
mod ip_rules;
mod registry;
mod rewrite;
mod security_headers;
mod status;
mod websocket_origins;

pub use body_limit::BodyLimitPlan;
pub use compress::{Coding, CompressPlan, Levels, MediaPattern};
pub use cors::{CorsPlan, Granted, OriginPattern, Origins};
pub use grpc_web::GrpcWebPlan;
pub use headers::{FieldChanges, HeadersPlan};
pub use ip_rules::{IpRule, IpRulesPlan};
pub use registry::policy_kinds;
pub use rewrite::{HostRewrite, PathRewrite, RewritePlan};
pub use security_headers::{SecurityHeadersPlan, SecurityPreset};
pub use status::StatusPlan;
pub use websocket_origins::WebSocketOriginsPlan;

use crate::exchange::Exchange;
use crate::reject::Reject;
use crate::trailers::Trailers;

/// What becomes of a request that a policy has looked at.
#[derive(Debug, PartialEq, Eq)]
pub enum Flow {
    /// It goes on.
    Continue,
    /// The policy answers it: the head stands in the exchange, and this is the body.
    Answer(Vec<u8>),
}

/// A policy as it runs. Neither phase waits, so neither costs an allocation.
pub trait Policy: Send + Sync {
    /// The policy's name in the configuration.
    fn kind(&self) -> &'static str;

    /// Looks at the request before the action, in the order of the configuration.
    ///
    /// # Errors
    ///
    /// A [`Reject`] ends the request, as an answer of the policy's own does; this policy and those before it still
    /// see what is answered.
    fn on_request(&self, exchange: &mut Exchange) -> Result<Flow, Reject> {
        let _ = exchange;
        Ok(Flow::Continue)
    }

    /// Looks at the head of the answer before it is sent, in reverse order; also at answers of Weir's own.
    fn on_response(&self, exchange: &mut Exchange) {
        let _ = exchange;
    }

    /// What it does to trailers, which come when both phases are over. Asked once, when the route is built.
    fn trailers(&self) -> Trailers {
        Trailers::default()
    }
}

/// A policy as checked.
#[derive(Debug, Clone)]
pub enum PolicyPlan {
    /// Changes and guards fields.
    Headers(Box<HeadersPlan>),
    /// Sets the usual security fields on answers.
    SecurityHeaders(SecurityHeadersPlan),
    /// Changes what is forwarded.
    Rewrite(RewritePlan),
    /// Maps statuses of upstreams.
    Status(StatusPlan),
    /// Lets client addresses through or not.
    IpRules(IpRulesPlan),
    /// Lets WebSocket handshakes of certain origins through.
    WebSocketOrigins(WebSocketOriginsPlan),
    /// Bounds the request's body.
    BodyLimit(BodyLimitPlan),
    /// Lets pages of other origins read answers.
    Cors(Box<CorsPlan>),
    /// Compresses answers.
    Compress(CompressPlan),
    /// Lets browsers call gRPC services.
    GrpcWeb(GrpcWebPlan),
}

impl PolicyPlan {
    /// Whether it answers CORS preflights, so that a route's methods must let them come to it.
    pub fn answers_preflights(&self) -> bool {
        matches!(self, Self::Cors(_))
    }

    pub(crate) fn compile(self) -> Box<dyn Policy> {
        match self {
            Self::Headers(plan) => plan,
            Self::SecurityHeaders(plan) => Box::new(plan.compile()),
            Self::Rewrite(plan) => Box::new(plan),
            Self::Status(plan) => Box::new(plan),
            Self::IpRules(plan) => Box::new(plan),
            Self::WebSocketOrigins(plan) => Box::new(plan),
            Self::BodyLimit(plan) => Box::new(plan),
            Self::Cors(plan) => Box::new(plan.compile()),
            Self::Compress(plan) => Box::new(plan.compile()),
            Self::GrpcWeb(plan) => Box::new(plan),
        }
    }
}
