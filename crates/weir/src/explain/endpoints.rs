use std::time::Instant;

use serde_json::{Value, json};
use weir_route::RequestView;
use weir_upstream::{BalancePlan, HashKey, PickRequest, Target, Tried, Upstream, UpstreamPlan, hash_bytes};

use super::Question;

/// The balancer as it is configured.
pub(super) fn balance(plan: &UpstreamPlan) -> String {
    match &plan.balance {
        BalancePlan::RoundRobin => "round_robin".to_owned(),
        BalancePlan::LeastConn => "least_conn".to_owned(),
        BalancePlan::RandomTwo => "random_two".to_owned(),
        BalancePlan::LeastTime => "least_time".to_owned(),
        BalancePlan::IpHash => "ip_hash".to_owned(),
        BalancePlan::Hash(key) => match key {
            HashKey::ClientIp => "hash of client_ip".to_owned(),
            HashKey::Path => "hash of path".to_owned(),
            HashKey::Header(name) => format!("hash of header:{name}"),
            HashKey::Cookie(name) => format!("hash of cookie:{name}"),
            HashKey::Query(name) => format!("hash of query:{name}"),
        },
    }
}

/// The endpoints in the order in which one request would be sent to them, then those that it would not reach.
pub(super) fn in_order(upstream: &Upstream, question: &Question, view: &RequestView) -> Vec<Value> {
    let hash = upstream.hash_key().and_then(|key| hash(key, question, view));
    let request = PickRequest { now: Instant::now(), client: question.client, hash, random: 0 };
    let mut tried = Tried::new();
    let mut shown: Vec<Value> = Vec::new();
    let all = upstream.endpoints();
    // Each pick adds one to `tried`, so this ends; the bound is for a balancer that would not keep to it.
    while shown.len() < all.len() {
        let Ok(lease) = upstream.pick(&request, &tried) else { break };
        let endpoint = lease.endpoint();
        tried.insert(endpoint.id());
        shown.push(json!({ "address": &**endpoint.label(), "state": endpoint.state().as_str(), "order": shown.len() + 1 }));
    }
    for endpoint in all.iter().filter(|endpoint| !tried.contains(endpoint.id())) {
        shown.push(
            json!({ "address": &**endpoint.label(), "state": endpoint.state().as_str(), "order": null }),
        );
    }
    let names = upstream.plan().endpoints.iter().filter_map(|endpoint| match &endpoint.target {
        Target::Name { host, port } => Some(format!("{host}:{port}")),
        Target::Address(_) => None,
    });
    let is_known = |name: &str| all.iter().any(|endpoint| endpoint.label().contains(name));
    shown.extend(
        names
            .filter(|name| !is_known(name))
            .map(|name| json!({ "address": name, "state": "not resolved", "order": null })),
    );
    shown
}

fn hash(key: &HashKey, question: &Question, view: &RequestView) -> Option<u64> {
    let value = |pair: &str, name: &str| Some(pair.trim().strip_prefix(name)?.strip_prefix('=')?.to_owned());
    let query = std::str::from_utf8(view.query).unwrap_or_default();
    let found = match key {
        HashKey::ClientIp => return None,
        HashKey::Path => return Some(hash_bytes(view.path)),
        HashKey::Header(name) => question.header(name).map(str::to_owned),
        HashKey::Cookie(name) => question.header("cookie")?.split(';').find_map(|pair| value(pair, name)),
        HashKey::Query(name) => query.split('&').find_map(|pair| value(pair, name)),
    };
    found.map(|value| hash_bytes(value.as_bytes()))
}
