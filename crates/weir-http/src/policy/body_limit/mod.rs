//! `body_limit`: bounds the request's body.

mod spec;

use weir_base::{ByteSize, ErrorCode};
use weir_wire::http1::Known;

pub(crate) use spec::KIND;

use super::{Flow, Policy};
use crate::exchange::Exchange;
use crate::reject::Reject;

/// `body_limit` as checked.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimitPlan {
    /// Most bytes; an announced length above it is refused at once, a streamed body where it passes it.
    pub bytes_max: ByteSize,
}

impl Policy for BodyLimitPlan {
    fn kind(&self) -> &'static str {
        "body_limit"
    }

    fn on_request(&self, exchange: &mut Exchange) -> Result<Flow, Reject> {
        let announced = exchange.request.fields.get(Known::ContentLength).and_then(weir_wire::http1::decimal);
        if announced.is_some_and(|length| length > self.bytes_max.bytes()) {
            let detail = format!("the request body is larger than {}", self.bytes_max);
            return Err(Reject::because(ErrorCode::BodyTooLarge, detail));
        }
        exchange.body_bytes_max = exchange.body_bytes_max.min(self.bytes_max.bytes());
        Ok(Flow::Continue)
    }
}
