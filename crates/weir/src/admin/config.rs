//! What `/api/v1/config` shows: the plan that is served, defaults filled in, secrets starred.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};
use weir_base::format_duration;
use weir_http::{Http2, Timeouts};
use weir_net::ProxyProtocol;
use weir_route::{EncodedSlashes, ValueTest};
use weir_telemetry::{Field, Sink};
use weir_upstream::{
    BalancePlan, BodyPlan, CheckPlan, EndpointPlan, HashKey, HealthPlan, HostPlan, HttpCheckPlan, TlsPlan,
    UdpCheckPlan, UpstreamPlan,
};

use super::secret::{STARS, is_secret, without_secrets};
use super::{policy, stream, tls, view};
use crate::plan::{ActionPlan, AdminPlan, LimitsPlan, ListenerPlan, LogPlan, RootPlan, TakesPlan};

/// The whole configuration in the words of the language.
pub(super) fn show(plan: &RootPlan) -> Value {
    let listeners: Map<String, Value> =
        plan.listeners.iter().map(|(name, plan)| (name.to_string(), listener(plan))).collect();
    let upstreams: Map<String, Value> =
        plan.upstreams.iter().map(|(name, plan)| (name.to_string(), upstream(plan))).collect();
    let routes: Vec<Value> = plan
        .routes_with_rules()
        .map(|(route, rules)| {
            json!({
                "name": &*route.name,
                "place": route.place.to_string(),
                "match": rules.iter().map(|rule| view::rule_of(route, rule)).collect::<Vec<_>>(),
                "policies": route.policies.iter().map(policy::show).collect::<Vec<_>>(),
                "action": action(&route.action),
                "timeout": route.timeout.map(format_duration),
            })
        })
        .collect();
    json!({
        "workers": plan.workers,
        "trusted_proxies": plan.trusted_proxies.networks().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "timeouts": timeouts(&plan.timeouts),
        "limits": limits(&plan.limits),
        "http2": http2(&plan.http2),
        "listeners": listeners,
        "routes": routes,
        "upstreams": upstreams,
        "admin": plan.admin.as_ref().map(admin),
        "log": log(&plan.log),
        "service_name": plan.log.service_name,
        "watch": plan.watch,
        "files": plan.files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        "warnings": plan.warnings,
    })
}

/// A route's action with all that it says.
fn action(action: &ActionPlan) -> Value {
    match action {
        ActionPlan::Forward(_) => view::action(action),
        ActionPlan::Redirect(plan) => json!({ "redirect": policy::redirect(plan) }),
        ActionPlan::Respond(plan) => json!({ "respond": policy::respond(plan) }),
    }
}

/// What a header or a query entry must be, as it is written; starred where callers may prove themselves with it.
pub(super) fn test(name: &str, test: &ValueTest) -> Value {
    match test {
        ValueTest::Present => json!({ "present": true }),
        ValueTest::Exact(_) if is_secret(name) => json!(STARS),
        ValueTest::Exact(text) => json!(text),
        ValueTest::Expression(_) if is_secret(name) => json!({ "regex": STARS }),
        ValueTest::Expression(expression) => json!({ "regex": expression.to_string() }),
    }
}

/// The effective settings of the checks.
pub(super) fn health(plan: &HealthPlan) -> Value {
    let active = plan.active.as_ref().map(|active| {
        json!({
            "interval": format_duration(active.interval),
            "timeout": format_duration(active.timeout),
            "up_after": active.up_after,
            "down_after": active.down_after,
            "check": check(&active.check),
        })
    });
    let passive = plan.passive.as_ref().map(|passive| {
        json!({
            "failures": passive.failures,
            "pause": format_duration(passive.pause),
            "ejected_max": passive.ejected_max.to_string(),
            "statuses": passive.statuses,
        })
    });
    json!({ "active": active, "passive": passive })
}

fn check(check: &CheckPlan) -> Value {
    match check {
        CheckPlan::Tcp => json!({ "tcp": {} }),
        CheckPlan::Http(http) => json!({ "http": http_check(http) }),
        CheckPlan::Grpc(grpc) => json!({ "grpc": { "service": grpc.service } }),
        CheckPlan::Udp(UdpCheckPlan { send, expect }) => {
            json!({ "udp": { "send": bytes(send), "expect": expect.as_deref().map(bytes) } })
        }
    }
}

fn http_check(http: &HttpCheckPlan) -> Value {
    let statuses = http.statuses.iter().map(|range| format!("{}-{}", range.start(), range.end()));
    let body = http.body.as_ref().map(|body| match body {
        BodyPlan::Text(text) => json!(text),
        BodyPlan::Regex(regex) => json!({ "regex": regex.as_str() }),
        BodyPlan::Json { path, value } => json!({ "json": path, "value": value }),
    });
    json!({ "path": without_secrets(&http.path), "host": http.host, "statuses": statuses.collect::<Vec<_>>(), "body": body })
}

/// As a text where it is one on a line, else in hexadecimal.
fn bytes(bytes: &[u8]) -> Value {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control));
    text.map_or_else(
        || json!({ "hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() }),
        |text| json!(text),
    )
}

fn listener(plan: &ListenerPlan) -> Value {
    let mut shown = json!({ "bind": plan.bind.iter().map(ToString::to_string).collect::<Vec<_>>() });
    let proxy_protocol = match plan.proxy_protocol {
        ProxyProtocol::Off => "off",
        ProxyProtocol::Accepted => "accepted",
        ProxyProtocol::Required => "required",
    };
    match &plan.takes {
        TakesPlan::Http => {
            shown["normalize_path"] = json!(plan.paths.normalize);
            let encoded_slashes = match plan.paths.encoded_slashes {
                EncodedSlashes::Keep => "keep",
                EncodedSlashes::Refuse => "refuse",
            };
            let versions = [(plan.versions.http1, "1.1"), (plan.versions.http2, "2")];
            let versions: Vec<&str> =
                versions.into_iter().filter(|(is_served, _)| *is_served).map(|(_, name)| name).collect();
            shown["http"] = json!({ "versions": versions, "encoded_slashes": encoded_slashes });
            tls::https(&plan.https, &mut shown["http"]);
        }
        TakesPlan::Tcp(tcp) => shown["tcp"] = stream::tcp(tcp),
        TakesPlan::Udp(udp) => shown["udp"] = stream::udp(udp),
        TakesPlan::Tunnel => shown["tunnel"] = json!({}),
    }
    if !matches!(plan.takes, TakesPlan::Udp(_)) {
        shown["unix_mode"] = json!(format!("{:04o}", plan.unix_mode));
        shown["proxy_protocol"] = json!(proxy_protocol);
        shown["tls"] = plan.tls.as_ref().map_or(Value::Null, tls::listener);
    }
    shown
}

fn upstream(plan: &UpstreamPlan) -> Value {
    json!({
        "balance": balance(&plan.balance),
        "endpoints": plan.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "host": match &plan.host {
            HostPlan::Preserve => "preserve",
            HostPlan::Endpoint => "endpoint",
            HostPlan::Name(name) => name,
        },
        "tls": plan.tls.as_deref().map(upstream_tls),
        "http": plan.http.as_str(),
        "connect_timeout": format_duration(plan.connect_timeout),
        "response_timeout": format_duration(plan.response_timeout),
        "idle_timeout": format_duration(plan.idle_timeout),
        "pool": {
            "idle_per_worker": plan.pool.idle_per_worker,
            "idle_timeout": format_duration(plan.pool.idle_timeout),
            "max_age": format_duration(plan.pool.max_age),
        },
        "queue": { "size": plan.queue.size, "timeout": format_duration(plan.queue.timeout) },
        "retry": {
            "attempts": plan.retry.attempts,
            "statuses": plan.retry.statuses,
            "non_idempotent": plan.retry.non_idempotent,
            "budget": plan.retry.budget.to_string(),
            "body_bytes_max": plan.retry.body_bytes_max,
        },
        "health": health(&plan.health),
        "slow_start": plan.slow_start.map(format_duration),
        "panic_threshold": plan.panic_threshold.to_string(),
        "required": plan.required,
    })
}

/// How endpoints are verified, and what they are shown.
pub(super) fn upstream_tls(plan: &TlsPlan) -> Value {
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    json!({
        "ca": path(&plan.ca),
        "server_name": plan.server_name.as_ref().map(|name| name.to_str()),
        "certificate": path(&plan.certificate),
        "versions": plan.client.versions.as_strs(),
        "insecure": plan.is_insecure(),
    })
}

fn balance(plan: &BalancePlan) -> Value {
    let key = |key: &HashKey| match key {
        HashKey::ClientIp => "client_ip".to_owned(),
        HashKey::Path => "path".to_owned(),
        HashKey::Header(name) => format!("header:{name}"),
        HashKey::Cookie(name) => format!("cookie:{name}"),
        HashKey::Query(name) => format!("query:{name}"),
    };
    match plan {
        BalancePlan::RoundRobin => json!("round_robin"),
        BalancePlan::LeastConn => json!("least_conn"),
        BalancePlan::RandomTwo => json!("random_two"),
        BalancePlan::LeastTime => json!("least_time"),
        BalancePlan::IpHash => json!("ip_hash"),
        BalancePlan::Hash(by) => json!({ "hash": key(by) }),
    }
}

fn endpoint(plan: &EndpointPlan) -> Value {
    json!({
        "address": plan.target.to_string(),
        "weight": plan.weight,
        "max_connections": plan.max_connections,
        "backup": plan.backup,
    })
}

fn timeouts(plan: &Timeouts) -> Value {
    let text = |duration: Duration| format_duration(duration);
    json!({
        "request_head": text(plan.request_head),
        "keep_alive": text(plan.keep_alive),
        "body_idle": text(plan.body_idle),
        "stream_idle": text(plan.stream_idle),
        "upgrade_idle": text(plan.upgrade_idle),
        "drain": text(plan.drain),
    })
}

fn http2(plan: &Http2) -> Value {
    let meter = &plan.meter;
    json!({
        "streams_max": plan.streams_max,
        "stream_window": plan.stream_window,
        "connection_window": plan.connection_window,
        "rapid_resets_max": meter.rapid_resets_max,
        "resets_max": meter.resets_max,
        "forced_resets_max": meter.forced_resets_max,
        "refused_streams_max": meter.refused_streams_max,
        "pings_max": meter.pings_max,
        "settings_max": meter.settings_max,
        "priorities_max": meter.priorities_max,
        "unknown_frames_max": meter.unknown_frames_max,
        "empty_data_max": meter.empty_data_max,
        "window_updates_max": meter.window_updates_max,
        "window_drips_max": meter.window_drips_max,
        "continuations_max": meter.continuations_max,
        "small_continuations_max": meter.small_continuations_max,
        "header_block_bytes_max": meter.header_block_bytes_max,
        "unread_acks_max": meter.unread_acks_max,
    })
}

fn limits(plan: &LimitsPlan) -> Value {
    json!({
        "header_bytes": plan.base.header_bytes,
        "headers": plan.base.headers,
        "connections": plan.connections,
        "connections_per_ip": plan.base.connections_per_ip,
        "tls_handshakes": plan.tls_handshakes,
        "requests_per_connection": plan.base.requests_per_connection,
    })
}

fn admin(plan: &AdminPlan) -> Value {
    json!({
        "bind": plan.bind.to_string(),
        "hosts": plan.hosts,
        "token": plan.token.as_ref().map(ToString::to_string),
        "unix_mode": format!("{:04o}", plan.unix_mode),
    })
}

fn log(plan: &LogPlan) -> Value {
    let word = |text: String| text.to_ascii_lowercase();
    let access = &plan.access;
    let fields = Field::ALL.iter().filter(|field| access.fields.contains(**field));
    json!({
        "level": plan.level.as_str(),
        "format": word(format!("{:?}", plan.format)),
        "access": match &access.sink {
            Sink::Off => "off".to_owned(),
            Sink::Stdout => "stdout".to_owned(),
            Sink::Stderr => "stderr".to_owned(),
            Sink::File(path) => path.display().to_string(),
        },
        "access_sample": access.sample.to_string(),
        "fields": fields.map(|field| field.as_str()).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
