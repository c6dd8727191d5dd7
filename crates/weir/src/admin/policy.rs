//! Policies and actions as `/api/v1/config` shows them: in the words of the language, with every setting.

use serde_json::{Map, Value, json};
use weir_base::format_duration;
use weir_http::{
    Coding, CompressPlan, CorsPlan, FieldChanges, Granted, IpRulesPlan, Origins, PathRewrite, PolicyPlan,
    RedirectPlan, RespondPlan, RewritePlan, SecurityHeadersPlan, SecurityPreset, Template,
};

use super::secret::{STARS, is_secret, without_secrets};

/// The key that a policy is written with.
pub(super) const fn name(policy: &PolicyPlan) -> &'static str {
    match policy {
        PolicyPlan::Headers(_) => "headers",
        PolicyPlan::SecurityHeaders(_) => "security_headers",
        PolicyPlan::Rewrite(_) => "rewrite",
        PolicyPlan::Status(_) => "status",
        PolicyPlan::IpRules(_) => "ip_rules",
        PolicyPlan::WebSocketOrigins(_) => "websocket_origins",
        PolicyPlan::BodyLimit(_) => "body_limit",
        PolicyPlan::Cors(_) => "cors",
        PolicyPlan::Compress(_) => "compress",
        PolicyPlan::GrpcWeb(_) => "grpc_web",
    }
}

/// One item of a route's `policies`.
pub(super) fn show(policy: &PolicyPlan) -> Value {
    let settings = match policy {
        PolicyPlan::Headers(plan) => {
            json!({ "request": changes(&plan.request), "response": changes(&plan.response) })
        }
        PolicyPlan::SecurityHeaders(plan) => security(plan),
        PolicyPlan::Rewrite(plan) => rewrite(plan),
        PolicyPlan::Status(plan) => {
            plan.map.iter().map(|(from, to)| (from.to_string(), json!(to))).collect::<Map<_, _>>().into()
        }
        PolicyPlan::IpRules(plan) => addresses(plan),
        PolicyPlan::WebSocketOrigins(plan) => {
            json!({ "allow": plan.allow, "allow_missing": plan.allow_missing })
        }
        PolicyPlan::BodyLimit(plan) => json!({ "max": plan.bytes_max.bytes() }),
        PolicyPlan::Cors(plan) => cors(plan),
        PolicyPlan::Compress(plan) => compress(plan),
        PolicyPlan::GrpcWeb(_) => json!({}),
    };
    json!({ name(policy): settings })
}

/// `redirect`.
pub(super) fn redirect(plan: &RedirectPlan) -> Value {
    json!({ "to": without_secrets(&plan.to.to_string()), "status": plan.status })
}

/// `respond`.
pub(super) fn respond(plan: &RespondPlan) -> Value {
    json!({ "status": plan.status, "body": plan.body.to_string(), "headers": fields(&plan.headers) })
}

fn changes(plan: &FieldChanges) -> Value {
    json!({
        "deny": plan.deny,
        "allow": plan.allow,
        "remove": plan.remove,
        "set": fields(&plan.set),
        "add": fields(&plan.add),
        "set_if_absent": fields(&plan.set_if_absent),
        "hash": plan.hash,
    })
}

fn fields(fields: &[(String, Template)]) -> Value {
    let shown = |(name, value): &(String, Template)| (name.clone(), field(name, value.to_string()));
    fields.iter().map(shown).collect::<Map<_, _>>().into()
}

fn field(name: &str, value: String) -> Value {
    json!(if is_secret(name) { STARS.to_owned() } else { value })
}

fn security(plan: &SecurityHeadersPlan) -> Value {
    let preset = SecurityPreset::NAMES.iter().find(|(_, preset)| *preset == plan.preset);
    let set = plan.overrides.iter().map(|(name, value)| {
        let value = if value.is_empty() { json!("off") } else { field(name, value.clone()) };
        (name.clone(), value)
    });
    json!({ "preset": preset.map(|(name, _)| name), "set": set.collect::<Map<_, _>>() })
}

fn rewrite(plan: &RewritePlan) -> Value {
    let mut shown = Map::new();
    let path = plan.path.as_ref().map(|path| match path {
        PathRewrite::StripPrefix(prefix) => ("strip_prefix", json!(prefix)),
        PathRewrite::AddPrefix(prefix) => ("add_prefix", json!(prefix)),
        PathRewrite::Regex { pattern, replacement } => {
            ("regex", json!({ "pattern": pattern.as_str(), "replacement": replacement }))
        }
        PathRewrite::Path(path) => ("path", json!(path.to_string())),
    });
    let host = plan.host.as_ref().map(|host| ("host", json!(host.0.to_string())));
    shown.extend(path.into_iter().chain(host).map(|(key, value)| (key.to_owned(), value)));
    shown.into()
}

fn cors(plan: &CorsPlan) -> Value {
    let granted = |granted: &Granted| match granted {
        Granted::Any => json!("*"),
        Granted::Listed(names) => json!(names),
    };
    let origins = match &plan.origins {
        Origins::Any => json!("*"),
        Origins::Listed(patterns) => json!(patterns.iter().map(ToString::to_string).collect::<Vec<_>>()),
    };
    json!({
        "origins": origins,
        "methods": granted(&plan.methods),
        "headers": granted(&plan.headers),
        "expose": plan.expose,
        "credentials": plan.credentials,
        "max_age": format_duration(plan.max_age),
        "private_network": plan.private_network,
    })
}

fn compress(plan: &CompressPlan) -> Value {
    json!({
        "codings": plan.codings.iter().copied().map(Coding::as_str).collect::<Vec<_>>(),
        "min_bytes": plan.bytes_min.bytes(),
        "streams_max": plan.streams_max,
        "types": plan.types.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "levels": { "zstd": plan.levels.zstd, "br": plan.levels.brotli, "gzip": plan.levels.gzip },
    })
}

fn addresses(plan: &IpRulesPlan) -> Value {
    let networks = |allow: bool| -> Vec<String> {
        plan.rules().iter().filter(|rule| rule.allow == allow).map(|rule| rule.network.to_string()).collect()
    };
    let default = if plan.allows_others() { "allow" } else { "deny" };
    json!({ "allow": networks(true), "deny": networks(false), "default": default })
}
