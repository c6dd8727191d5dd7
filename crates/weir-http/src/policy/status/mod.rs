//! `status`: maps an upstream's status to another.

mod spec;

pub(crate) use spec::KIND;

use super::Policy;
use crate::exchange::Exchange;

/// `status` as checked: pairs of from and to. Weir's own errors are left alone.
#[derive(Debug, Clone)]
pub struct StatusPlan {
    /// From, to; both 200 to 599.
    pub map: Vec<(u16, u16)>,
}

impl Policy for StatusPlan {
    fn kind(&self) -> &'static str {
        "status"
    }

    fn on_response(&self, exchange: &mut Exchange) {
        if exchange.record.error.is_some() {
            return;
        }
        if let Some((_, to)) = self.map.iter().find(|(from, _)| *from == exchange.response.status) {
            exchange.response.set_status(*to);
        }
    }
}
