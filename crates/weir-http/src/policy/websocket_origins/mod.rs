//! `websocket_origins`: lets WebSocket handshakes of certain origins through.
//!
//! Browsers send a WebSocket handshake from any page, with the user's cookies, and do not ask first; the
//! `Origin` field is the only thing that tells the pages apart (RFC 6455 section 10.2).

mod spec;

use weir_base::ErrorCode;
use weir_wire::http1::Known;

pub(crate) use spec::KIND;

use super::{Flow, Policy};
use crate::exchange::{Exchange, Upgrade};
use crate::reject::Reject;

/// `websocket_origins` as checked.
#[derive(Debug, Clone)]
pub struct WebSocketOriginsPlan {
    /// Origins such as `https://app.example.com`, in lower case without a trailing slash; `*` lets all through.
    pub allow: Vec<String>,
    /// Whether a handshake without `Origin` passes, as programs send it; browsers always send one.
    pub allow_missing: bool,
}

impl Policy for WebSocketOriginsPlan {
    fn kind(&self) -> &'static str {
        "websocket_origins"
    }

    fn on_request(&self, exchange: &mut Exchange) -> Result<Flow, Reject> {
        if exchange.upgrade != Some(Upgrade::WebSocket) {
            return Ok(Flow::Continue);
        }
        let fields = &exchange.request.fields;
        let allowed = match (fields.get(Known::Origin), fields.count(Known::Origin)) {
            (None, _) => self.allow_missing,
            (Some(origin), 1) => self
                .allow
                .iter()
                .any(|allowed| allowed == "*" || origin.eq_ignore_ascii_case(allowed.as_bytes())),
            (Some(_), _) => false,
        };
        if allowed { Ok(Flow::Continue) } else { Err(Reject::new(ErrorCode::OriginNotAllowed)) }
    }
}
