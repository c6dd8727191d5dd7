use std::collections::HashMap;
use std::net::Ipv4Addr;

use weir_route::HostPattern;

use super::RouteMatch;

/// What is wrong with routes taken together, or with what one of them can match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteProblem {
    /// Two routes that nothing orders and that one hello can match.
    Tie {
        /// The place of the first.
        first: usize,
        /// The place of the other.
        second: usize,
    },
    /// A name that no client asks for: an IP address is never sent as one (RFC 6066, section 3).
    Address {
        /// The place of the route.
        route: usize,
        /// The place of the pattern in its `sni`.
        pattern: usize,
    },
}

/// Finds every route that ties with an earlier one, each pair once, and every pattern that is an IP address.
///
/// Two routes tie when both name the same pattern, or none, and the same protocol, or none. With different protocols
/// the client's order of preference decides. Of several that tie, each is paired with the first.
pub fn problems(routes: &[RouteMatch]) -> Vec<RouteProblem> {
    let mut problems = Vec::new();
    let mut holders = HashMap::new();
    for (place, route) in routes.iter().enumerate() {
        for choice in route.choices() {
            let first = *holders.entry(choice).or_insert(place);
            if first != place {
                problems.push(RouteProblem::Tie { first, second: place });
            }
        }
        let addresses = route.sni.iter().enumerate().filter(|(_, pattern)| is_address(pattern));
        problems.extend(addresses.map(|(pattern, _)| RouteProblem::Address { route: place, pattern }));
    }
    problems.sort_unstable();
    problems.dedup();
    problems
}

/// An IPv6 address has brackets, which a name never has.
fn is_address(pattern: &HostPattern) -> bool {
    matches!(pattern, HostPattern::Exact(name) if name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok())
}
