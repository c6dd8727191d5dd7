//! `ip_rules`: lets client addresses through or not.

mod spec;

use ipnet::IpNet;
use weir_base::ErrorCode;

pub(crate) use spec::KIND;

use super::{Flow, Policy};
use crate::exchange::Exchange;
use crate::reject::Reject;

/// `ip_rules` as checked: the most specific network that holds the address decides, else the default.
#[derive(Debug, Clone)]
pub struct IpRulesPlan {
    /// Sorted by falling prefix length.
    rules: Vec<IpRule>,
    /// For addresses that no rule names, and for clients without one (unix sockets).
    allow_others: bool,
}

/// One network and whether it is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpRule {
    /// The network.
    pub network: IpNet,
    /// Whether its addresses are let through.
    pub allow: bool,
}

impl IpRulesPlan {
    /// Rules in any order; of two for the same network, deny wins.
    pub fn new(mut rules: Vec<IpRule>, allow_others: bool) -> Self {
        rules.sort_by_key(|rule| (std::cmp::Reverse(rule.network.prefix_len()), rule.allow));
        Self { rules, allow_others }
    }

    /// The most specific network first.
    pub fn rules(&self) -> &[IpRule] {
        &self.rules
    }

    /// Whether addresses that no rule names, and clients without one, are let through.
    pub fn allows_others(&self) -> bool {
        self.allow_others
    }
}

impl Policy for IpRulesPlan {
    fn kind(&self) -> &'static str {
        "ip_rules"
    }

    fn on_request(&self, exchange: &mut Exchange) -> Result<Flow, Reject> {
        let allowed = exchange.client.map_or(self.allow_others, |client| {
            let client = client.to_canonical();
            self.rules
                .iter()
                .find(|rule| rule.network.contains(&client))
                .map_or(self.allow_others, |rule| rule.allow)
        });
        if allowed { Ok(Flow::Continue) } else { Err(Reject::new(ErrorCode::ClientNotAllowed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn the_most_specific_network_decides() {
        let rule = |network: &str, allow| IpRule { network: network.parse().unwrap(), allow };
        let plan = IpRulesPlan::new(
            vec![rule("10.0.0.0/8", true), rule("10.1.0.0/16", false), rule("10.1.2.3/32", true)],
            false,
        );
        let allowed = |client: &str| {
            let mut x = Exchange::new(Instant::now());
            x.client = Some(client.parse().unwrap());
            plan.on_request(&mut x).is_ok()
        };
        assert!(allowed("10.9.9.9") && allowed("10.1.2.3") && allowed("::ffff:10.9.9.9"));
        assert!(!allowed("10.1.9.9") && !allowed("192.0.2.1") && !allowed("::1"));
    }
}
