//! `respond`: an answer of the gateway's own.

mod spec;

pub use spec::RESPOND;

use crate::exchange::Exchange;
use crate::template::Template;

/// `respond` as checked.
#[derive(Debug, Clone)]
pub struct RespondPlan {
    /// 200 to 599.
    pub status: u16,
    /// The body.
    pub body: Template,
    /// Fields, names in lower case; `content-type` is `text/plain; charset=utf-8` unless given.
    pub headers: Vec<(String, Template)>,
}

impl RespondPlan {
    /// Makes the answer; returns its body.
    pub(crate) fn answer(&self, exchange: &mut Exchange) -> Vec<u8> {
        exchange.response.reset(self.status);
        let mut value = Vec::new();
        for (name, template) in &self.headers {
            value.clear();
            template.write(exchange, &mut value);
            exchange.response.fields.append(name.as_bytes(), &value);
        }
        let mut body = Vec::new();
        self.body.write(exchange, &mut body);
        if !body.is_empty() && !self.headers.iter().any(|(name, _)| name == "content-type") {
            exchange.response.fields.append(b"Content-Type", b"text/plain; charset=utf-8");
        }
        body
    }
}
