use std::time::Instant;

use serde_json::{Value, json};
use weir_route::RequestView;
use weir_upstream::{
    BalancePlan, Endpoint, EndpointPlan, HashKey, PickRequest, Target, Tried, Upstream, UpstreamPlan,
    hash_bytes,
};

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

/// Whether connections are secured by TLS, and whom the endpoints must be; none without TLS.
pub(super) fn tls(plan: &UpstreamPlan) -> Option<String> {
    let tls = plan.tls.as_ref()?;
    let named = tls.server_name.as_ref().map(|name| format!(" as {}", name.to_str())).unwrap_or_default();
    Some(if tls.is_insecure() { "NOT VERIFIED (insecure)".to_owned() } else { format!("verified{named}") })
}

/// The endpoints in the order in which one request would be sent to them, then those that it would not reach.
///
/// Judged on a copy: a pick counts as a request, and a running upstream must not notice the question.
pub(super) fn in_order(
    plan: &UpstreamPlan,
    running: Option<&Upstream>,
    question: &Question,
    view: &RequestView,
) -> Vec<Value> {
    let known: Vec<(EndpointPlan, &'static str)> = match running {
        Some(running) => {
            running.endpoints().iter().map(|endpoint| (copy(endpoint), endpoint.state().as_str())).collect()
        }
        None => plan.endpoints.iter().map(|endpoint| (endpoint.clone(), "up")).collect(),
    };
    let order = order(plan, &known, question, view);
    let mut shown: Vec<Value> = Vec::new();
    for (at, address) in order.iter().enumerate() {
        shown.push(json!({ "address": address, "state": "up", "order": at + 1 }));
    }
    for (endpoint, state) in known {
        let address = endpoint.target.to_string();
        let why = match (&endpoint.target, state) {
            (Target::Name { .. }, _) => "not resolved",
            (_, "up") if endpoint.weight == 0 => "drained by weight 0",
            (_, state) => state,
        };
        if !order.contains(&address) {
            shown.push(json!({ "address": address, "state": why, "order": null }));
        }
    }
    shown
}

fn copy(endpoint: &Endpoint) -> EndpointPlan {
    EndpointPlan {
        target: Target::Address(endpoint.address().clone()),
        weight: endpoint.weight(),
        max_connections: endpoint.max_connections(),
        backup: endpoint.is_backup(),
    }
}

fn order(
    plan: &UpstreamPlan,
    known: &[(EndpointPlan, &'static str)],
    question: &Question,
    view: &RequestView,
) -> Vec<String> {
    let available = known.iter().filter(|(_, state)| *state == "up").map(|(endpoint, _)| endpoint.clone());
    let plan = UpstreamPlan { endpoints: available.collect(), tls: None, ..plan.clone() };
    let now = Instant::now();
    let upstream = Upstream::compile(plan, None, now);
    let hash = upstream.hash_key().and_then(|key| hash(key, question, view));
    let request = PickRequest { now, client: question.client, hash, random: 0 };
    let mut tried = Tried::new();
    let mut order: Vec<String> = Vec::new();
    // Each pick adds one to `tried`, so this ends; the bound is for a balancer that would not keep to it.
    while order.len() < known.len() {
        let Ok(lease) = upstream.pick(&request, &tried) else { break };
        tried.insert(lease.endpoint().id());
        order.push(lease.endpoint().label().to_string());
    }
    order
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
