//! `/api/v1/explain`: which route a request would take in the running gateway.

use serde_json::{Value, json};
use weir_route::{FieldLookup, Params, RequestView, normalize_host, normalize_path};

use super::{config, view};
use crate::plan::{ActionPlan, RootPlan};
use crate::run::Gateway;

/// Header fields of the question: names with values.
struct Headers(Vec<(String, String)>);

impl FieldLookup for Headers {
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.iter().any(|(known, value)| known.eq_ignore_ascii_case(name) && test(value.as_bytes()))
    }
}

/// Answers `{"method": …, "url": …, "headers": {…}, "listener": …}`; all but `url` may be left out.
pub(super) fn answer(gateway: &Gateway, question: &Value) -> Result<Value, String> {
    let plan = gateway.plan();
    let text = |key: &str| question.get(key).and_then(Value::as_str);
    let url = text("url").ok_or("`url` is missing: a URL or a path")?;
    let method = text("method").unwrap_or("GET");
    let headers = headers(question)?;
    let (authority, target) = split(url)?;
    let host =
        headers.0.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).map_or(authority, |(_, v)| v);
    let mut host_buffer = Vec::new();
    let host = match host {
        "" => &b""[..],
        host => normalize_host(host.as_bytes(), &mut host_buffer).map_err(|error| error.to_string())?.name,
    };
    let (written, query) = target.split_once('?').unwrap_or((target, ""));
    let (listener, normalize) = listener(&plan, text("listener"))?;
    let mut path_buffer = Vec::new();
    let path = if normalize {
        normalize_path(written.as_bytes(), &mut path_buffer).map_err(|error| error.to_string())?
    } else {
        written.as_bytes()
    };
    let table =
        crate::spec::compile(&plan.routes, &plan.listeners).map_err(|_| "the routes do not compile")?;
    let request = RequestView {
        listener,
        host,
        path,
        query: query.as_bytes(),
        method: method.as_bytes(),
        fields: &headers,
    };
    let mut params = Params::default();
    let found = table.lookup(&request, &mut params).and_then(|id| plan.routes.get(id as usize));
    let route = found.map(|route| {
        let values =
            params.iter(path).map(|(name, value)| (name.to_owned(), json!(String::from_utf8_lossy(value))));
        json!({
            "name": &*route.name,
            "place": route.place,
            "params": Value::Object(values.collect()),
            "policies": route.policies.iter().map(config::policy_name).collect::<Vec<_>>(),
            "action": view::action(&route.action),
            "upstreams": match &route.action {
                ActionPlan::Forward(shares) => upstreams(gateway, shares.iter().map(|(name, _)| &**name)),
                ActionPlan::Redirect(_) | ActionPlan::Respond(_) => Vec::new(),
            },
        })
    });
    Ok(json!({
        "revision": gateway.revision(),
        "method": method,
        "host": String::from_utf8_lossy(host),
        "path": String::from_utf8_lossy(path),
        "route": route,
    }))
}

fn headers(question: &Value) -> Result<Headers, String> {
    let Some(given) = question.get("headers") else { return Ok(Headers(Vec::new())) };
    let given = given.as_object().ok_or("`headers` is not an object of names and values")?;
    let pairs = given.iter().map(|(name, value)| {
        let value = value.as_str().ok_or_else(|| format!("the value of header `{name}` is not a text"))?;
        Ok((name.clone(), value.to_owned()))
    });
    pairs.collect::<Result<_, String>>().map(Headers)
}

/// Host and target of a URL, or of a path alone.
fn split(url: &str) -> Result<(&str, &str), String> {
    if url.starts_with('/') {
        return Ok(("", url));
    }
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let rest = rest.ok_or("`url` is neither an http URL nor a path")?;
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(at);
    Ok((authority, if target.is_empty() { "/" } else { target }))
}

/// Id and normalisation of the listener that was named, or of the first.
fn listener(plan: &RootPlan, name: Option<&str>) -> Result<(u32, bool), String> {
    let found = match name {
        Some(name) => plan.listeners.get_key_value(name),
        None => plan.listeners.iter().next(),
    };
    let (name, listener) = found.ok_or("there is no such listener")?;
    let id = crate::spec::listener_id(name, &plan.listeners).ok_or("there is no such listener")?;
    Ok((id, listener.normalize_path))
}

fn upstreams<'a>(gateway: &Gateway, names: impl Iterator<Item = &'a str>) -> Vec<Value> {
    let known = gateway.upstreams();
    let shown = names.filter_map(|name| {
        let upstream = known.iter().find(|upstream| **upstream.name() == *name)?;
        let endpoints = upstream.endpoints();
        let endpoints = endpoints
            .iter()
            .map(|endpoint| json!({ "address": &**endpoint.label(), "state": endpoint.state().as_str() }));
        Some(json!({ "name": name, "endpoints": endpoints.collect::<Vec<_>>() }))
    });
    shown.collect()
}
