//! What `/api/v1/{status,routes,upstreams}` and the deep health view show.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use weir_route::Rule;
use weir_task::Phase;
use weir_telemetry::date_time;
use weir_upstream::status::{EndpointStatus, UpstreamStatus};
use weir_upstream::{AdminState, CheckResult, Spoken, Upstream};

use super::{config, policy};
use crate::explain::show_certificate;
use crate::plan::{ActionPlan, RoutePlan};
use crate::run::{Gateway, ListenerRow};

/// `/api/v1/status`.
pub(super) fn status(gateway: &Gateway) -> Value {
    let plan = gateway.plan();
    json!({
        "revision": gateway.revision(),
        "version": env!("CARGO_PKG_VERSION"),
        "phase": phase(gateway),
        "uptime_s": gateway.started.elapsed().as_secs(),
        "workers": plan.workers,
        "connections": gateway.connections.open(),
        "descriptors": { "soft": gateway.descriptors.soft, "hard": gateway.descriptors.hard },
        "listeners": listeners(gateway),
        "reloads": gateway.reloads.show(),
        "warnings": plan.warnings,
    })
}

/// `/healthz?deep=true`. There are no stores yet.
pub(super) fn health(gateway: &Gateway) -> Value {
    let now = Instant::now();
    let upstreams: Vec<Value> =
        gateway.upstreams().iter().map(|upstream| upstream_health(upstream, now)).collect();
    json!({ "status": "ok", "phase": phase(gateway), "listeners": listeners(gateway), "upstreams": upstreams, "stores": [] })
}

/// `/api/v1/routes`.
pub(super) fn routes(gateway: &Gateway) -> Value {
    let (plan, live) = (gateway.plan(), gateway.live.load());
    let shown = plan.routes_with_rules().enumerate().map(|(id, (route, rules))| {
        let requests = u32::try_from(id).ok().and_then(|id| live.route(id)).map(|route| route.requests());
        json!({
            "name": &*route.name,
            "place": route.place.to_string(),
            "match": rules.iter().map(|rule| rule_of(route, rule)).collect::<Vec<_>>(),
            "policies": route.policies.iter().map(policy::name).collect::<Vec<_>>(),
            "action": action(&route.action),
            "timeout": route.timeout.map(weir_base::format_duration),
            "requests": requests,
        })
    });
    json!({ "routes": shown.collect::<Vec<_>>() })
}

/// `/api/v1/certificates`: all of every listener, the first to end first.
pub(super) fn certificates(gateway: &Gateway) -> Value {
    let now = SystemTime::now();
    let listeners = gateway.tls().into_iter().map(|(name, tls)| {
        let table = tls.certificates();
        let mut sorted: Vec<_> = table.certificates().iter().collect();
        sorted.sort_by_key(|certificate| certificate.not_after);
        json!({
            "listener": &*name,
            "count": sorted.len(),
            "renewed": tls.tally().renewed(),
            "refused": tls.tally().refused(),
            "certificates": sorted
                .into_iter()
                .take(CERTIFICATES_SHOWN_MAX)
                .map(|certificate| show_certificate(certificate, now))
                .collect::<Vec<_>>(),
        })
    });
    json!({ "listeners": listeners.collect::<Vec<_>>() })
}

/// Certificates of a listener, for its row: how many there are, and which ends first.
fn tls_of(gateway: &Gateway, now: SystemTime) -> std::collections::BTreeMap<std::sync::Arc<str>, Value> {
    let row = |(name, tls): (std::sync::Arc<str>, std::sync::Arc<weir_net::tls::ServerTls>)| {
        let table = tls.certificates();
        let first = table.certificates().iter().min_by_key(|certificate| certificate.not_after);
        let first = first.map(|first| {
            json!({ "certificate": &*first.label, "not_after": date_time(first.not_after), "state": first.standing(now).as_str() })
        });
        (name, json!({ "certificates": table.certificates().len(), "first_to_end": first }))
    };
    gateway.tls().into_iter().map(row).collect()
}

/// Certificates of a listener that are shown: those that end first.
const CERTIFICATES_SHOWN_MAX: usize = 10_000;

/// `/api/v1/upstreams`.
pub(super) fn upstreams(gateway: &Gateway) -> Value {
    let now = Instant::now();
    let shown: Vec<Value> = gateway.upstreams().iter().map(|upstream| upstream_view(upstream, now)).collect();
    json!({ "upstreams": shown })
}

/// One way in which a route matches; what it does not ask for is left out.
pub(super) fn rule_of(route: &RoutePlan, rule: &Rule) -> Value {
    let mut shown = serde_json::Map::new();
    let mut put = |key: &str, value: Value| shown.insert(key.to_owned(), value);
    if !route.listeners.is_empty() {
        put("listeners", json!(route.listeners.iter().map(|name| &**name).collect::<Vec<_>>()));
    }
    if let Some(host) = &rule.host {
        put("host", json!(host.to_string()));
    }
    if let Some(path) = &rule.path {
        put("path", json!(path.to_string()));
    }
    if !rule.methods.is_empty() {
        put("methods", json!(rule.methods.iter().map(ToString::to_string).collect::<Vec<_>>()));
    }
    if !rule.accept.is_empty() {
        put("accept", json!(rule.accept.iter().map(ToString::to_string).collect::<Vec<_>>()));
    }
    if !rule.params.is_empty() {
        let params =
            rule.params.iter().map(|(name, expression)| (name.clone(), json!(expression.to_string())));
        put("params", Value::Object(params.collect()));
    }
    for (key, tests) in [("headers", &rule.headers), ("query", &rule.query)] {
        if !tests.is_empty() {
            put(
                key,
                Value::Object(
                    tests.iter().map(|(name, test)| (name.clone(), config::test(name, test))).collect(),
                ),
            );
        }
    }
    if rule.priority != 0 {
        put("priority", json!(rule.priority));
    }
    Value::Object(shown)
}

/// A route's action by its key.
pub(super) fn action(action: &ActionPlan) -> Value {
    match action {
        ActionPlan::Forward(shares) => {
            let share = |(name, weight): &(std::sync::Arc<str>, u32)| json!({ "upstream": &**name, "weight": weight });
            json!({ "forward": shares.iter().map(share).collect::<Vec<_>>() })
        }
        ActionPlan::Redirect(plan) => json!({ "redirect": { "status": plan.status } }),
        ActionPlan::Respond(plan) => json!({ "respond": { "status": plan.status } }),
    }
}

fn phase(gateway: &Gateway) -> &'static str {
    match gateway.drain.phase() {
        Phase::Run if gateway.is_ready() => "running",
        Phase::Run => "starting",
        Phase::Drain { .. } => "draining",
        Phase::Stop => "stopping",
    }
}

fn listeners(gateway: &Gateway) -> Vec<Value> {
    let tls = tls_of(gateway, SystemTime::now());
    let row = |row: ListenerRow| {
        let tls = tls.get(&*row.name);
        json!({ "name": row.name, "address": row.address, "takes": row.takes, "connections": row.open, "state": "up", "tls": tls })
    };
    gateway.listeners().into_iter().map(row).collect()
}

fn upstream_health(upstream: &Upstream, now: Instant) -> Value {
    let status = upstream.status(now);
    json!({
        "name": &*status.name,
        "state": if status.available > 0 { "up" } else { "down" },
        "required": upstream.plan().required,
        "available": status.available,
        "panic": status.panic,
        "endpoints": status.endpoints.iter()
            .map(|endpoint| json!({ "address": &*endpoint.label, "state": endpoint.state.as_str() }))
            .collect::<Vec<_>>(),
    })
}

fn upstream_view(upstream: &Upstream, now: Instant) -> Value {
    let status: UpstreamStatus = upstream.status(now);
    let UpstreamStatus { queue, endpoints, names, .. } = &status;
    let names = names.iter().map(|name| {
        json!({
            "name": name.name,
            "addresses": name.addresses,
            "age_s": name.age.map(|age| age.as_secs()),
            "failures": name.failures,
            "fault": name.fault,
        })
    });
    json!({
        "name": &*status.name,
        "balance": status.balance,
        "available": status.available,
        "panic": status.panic,
        "required": upstream.plan().required,
        "tls": upstream.plan().tls.as_deref().map(config::upstream_tls),
        "health": config::health(&upstream.plan().health),
        "retries": { "allowed": status.retries_allowed, "refused": status.retries_refused },
        "queue": {
            "waiting": queue.waiting,
            "size": queue.size,
            "waits": queue.waits,
            "full": queue.full,
            "timeouts": queue.timeouts,
        },
        "names": names.collect::<Vec<_>>(),
        "endpoints": endpoints.iter().map(endpoint_view).collect::<Vec<_>>(),
    })
}

fn endpoint_view(endpoint: &EndpointStatus) -> Value {
    let failures = endpoint.failures.iter().map(|(kind, count)| (kind.as_str().to_owned(), json!(count)));
    json!({
        "address": &*endpoint.label,
        "server_name": endpoint.server_name,
        "http": endpoint.spoken.map(Spoken::as_str),
        "state": endpoint.state.as_str(),
        "admin": match endpoint.admin {
            AdminState::Up => "up",
            AdminState::Drain => "drain",
            AdminState::Down => "down",
        },
        "backup": endpoint.backup,
        "weight": endpoint.weight,
        "weight_now": f64::from(endpoint.weight_now) / 100.0,
        "in_flight": endpoint.in_flight,
        "max_connections": endpoint.max_connections,
        "requests": endpoint.requests,
        "failures": Value::Object(failures.collect()),
        "failures_in_a_row": endpoint.failures_in_a_row,
        "ejections": endpoint.ejections,
        "connects": endpoint.connects,
        "connect_ms": millis(endpoint.connect_time),
        "bytes_to": endpoint.bytes_to,
        "bytes_from": endpoint.bytes_from,
        "ejected_for_ms": endpoint.ejected_for.map(millis),
        "latency_ms": endpoint.latency.map(millis),
        "last_check": endpoint.last_check.as_ref().map(check),
    })
}

fn check(result: &CheckResult) -> Value {
    let at = result.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    json!({
        "ok": result.fault.is_none(),
        "at": at.as_secs_f64(),
        "took_ms": millis(result.took),
        "status": result.status,
        "fault": result.fault,
    })
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
