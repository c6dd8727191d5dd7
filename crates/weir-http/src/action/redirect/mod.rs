//! `redirect`: sends the client to another place.

mod spec;

pub use spec::REDIRECT;

use weir_wire::http1::Method;

use crate::exchange::Exchange;
use crate::template::Template;

/// `redirect` as checked.
#[derive(Debug, Clone)]
pub struct RedirectPlan {
    /// The `Location`.
    pub to: Template,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

impl RedirectPlan {
    /// Makes the answer; returns its body.
    pub(crate) fn answer(&self, exchange: &mut Exchange) -> Vec<u8> {
        let mut location = Vec::new();
        self.to.write(exchange, &mut location);
        // Variables come from outside and may hold what no URI may.
        location.retain(|b| *b > b' ' && *b < 0x7f);
        exchange.response.reset(self.status);
        exchange.response.fields.append(b"Location", &location);
        if exchange.request.method() != Method::Head {
            exchange.response.fields.append(b"Content-Type", b"text/plain; charset=utf-8");
        }
        let mut body = exchange.response.reason().to_vec();
        body.push(b'\n');
        body
    }
}
