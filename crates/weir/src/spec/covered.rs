//! Hosts of routes that no certificate is for: their clients would be shown another one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_config::{Code, Node, Problem, Problems, Section};
use weir_net::tls::certificates::Table;
use weir_route::{HostPattern, RouteTable};

use crate::plan::{ListenerPlan, RoutePlan, TakesPlan};

/// Warns of each host of a route that is served over TLS alone, or at a listener that the route names.
pub(super) fn check(
    root: &Section,
    listeners: &BTreeMap<Arc<str>, ListenerPlan>,
    routes: &[RoutePlan],
    table: &RouteTable,
    problems: &Problems,
) {
    let nodes = root.list("routes");
    let mut told: BTreeSet<(u32, &HostPattern)> = BTreeSet::new();
    for rule in table.rules() {
        let Some((host, route)) = rule.host.as_ref().zip(routes.get(rule.id as usize)) else { continue };
        let at = |name: &Arc<str>| route.listeners.is_empty() || route.listeners.contains(name);
        let http =
            || listeners.iter().filter(|(name, plan)| matches!(plan.takes, TakesPlan::Http) && at(name));
        // Without TLS, and not only to send clients elsewhere: there the host needs no certificate.
        let is_plain = |plan: &ListenerPlan| plan.tls.is_none() && plan.https.redirect.is_none();
        if route.listeners.is_empty() && http().any(|(_, plan)| is_plain(plan)) {
            continue;
        }
        let lacking: Vec<&str> = http()
            .filter(|(_, plan)| plan.tls.as_ref().is_some_and(|tls| !is_covered(host, tls.certificates())))
            .map(|(name, _)| &**name)
            .collect();
        if lacking.is_empty() || !told.insert((rule.id, host)) {
            continue;
        }
        let message = format!(
            "no certificate of listener `{}` is for the host `{host}`: its clients are shown the first one listed",
            lacking.join("` and `"),
        );
        let node = nodes.get(rule.id as usize).map_or(root.this(), |route| place(route, host));
        problems.push(Problem::warning(Code::CERTIFICATE_NAME, node, message));
    }
}

/// Whether clients that ask for the host, or for some name of a wildcard, are shown a certificate for it.
fn is_covered(host: &HostPattern, table: &Table) -> bool {
    match host {
        HostPattern::Exact(name) => {
            let is_address = name.starts_with('[') || name.parse::<std::net::Ipv4Addr>().is_ok();
            // Who asks for an address names no server.
            is_address || table.covers(name)
        }
        HostPattern::Wildcard(parent) => {
            let is_below = |name: &str| name.strip_suffix(&**parent).is_some_and(|rest| rest.ends_with('.'));
            let names = || table.certificates().iter().flat_map(|certificate| &certificate.names);
            table.covers(&format!("*.{parent}")) || names().any(|name| is_below(name))
        }
    }
}

/// The host as it was written.
fn place<'n>(route: &'n Node, host: &HostPattern) -> &'n Node {
    let Some(written) = route.get("match").and_then(|matched| matched.get("host")) else { return route };
    let is_it = |node: &&Node| {
        node.text().and_then(|text| HostPattern::parse(text).ok()).is_some_and(|pattern| pattern == *host)
    };
    written.one_or_many().iter().find(is_it).unwrap_or(written)
}
