use std::fmt::Write as _;

use serde_json::Value;

/// An explanation for people: what [`super::explain`] answers, here or over the admin address.
pub(crate) fn text(answer: &Value) -> String {
    let mut out = String::new();
    let host = Some(word(answer, "host")).filter(|host| !host.is_empty()).unwrap_or("no host");
    let (method, path, listener) = (word(answer, "method"), word(answer, "path"), word(answer, "listener"));
    let assumed = match answer["listener_assumed"].as_bool() {
        Some(true) => ", the first by name: `--listener` chooses another",
        _ => "",
    };
    let _ = writeln!(out, "{method} {path} for {host} at listener {listener}{assumed}");
    if let Some(certificate) = answer.get("certificate").filter(|certificate| !certificate.is_null()) {
        let (name, file) = (word(certificate, "certificate"), word(certificate, "file"));
        let (because, until) = (word(certificate, "because"), word(certificate, "not_after"));
        let _ = writeln!(out, "certificate {name} ({file}), {because}; valid until {until}");
    }
    match answer.get("route").filter(|route| !route.is_null()) {
        Some(route) => write_route(route, &mut out),
        None => out.push_str("\nno route matches: it is answered 404 route-not-found\n"),
    }
    let misses = list(answer, "near_misses");
    if !misses.is_empty() {
        out.push_str("\nroutes near it:\n");
    }
    for miss in misses {
        let _ =
            writeln!(out, "  {} ({}): {}", word(miss, "route"), word(miss, "place"), word(miss, "reason"));
    }
    out
}

fn write_route(route: &Value, out: &mut String) {
    let _ = writeln!(out, "\nroute {} ({})", word(route, "name"), word(route, "place"));
    let mut row = |name: &str, text: &str| {
        let _ = writeln!(out, "  {name:<9} {text}");
    };
    row("matches", word(route, "because"));
    let params: Vec<String> = route
        .get("params")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name} = {}", value.as_str().unwrap_or_default()))
        .collect();
    let policies: Vec<&str> = list(route, "policies").iter().filter_map(Value::as_str).collect();
    for (name, items) in [("params", params.join(", ")), ("policies", policies.join(", "))] {
        if !items.is_empty() {
            row(name, &items);
        }
    }
    row("action", &action(route.get("action").unwrap_or(&Value::Null)));
    if let Some(timeout) = route.get("timeout").and_then(Value::as_str) {
        row("timeout", &format!("{timeout} for the whole request"));
    }
    for upstream in list(route, "upstreams") {
        write_upstream(upstream, out);
    }
}

fn action(action: &Value) -> String {
    let status = |key: &str| action[key]["status"].as_u64();
    match (status("redirect"), status("respond"), list(action, "forward")) {
        (Some(status), ..) => format!("redirect with {status}"),
        (_, Some(status), _) => format!("respond with {status}"),
        (.., [share]) => format!("forward to {}", word(share, "upstream")),
        (.., shares) => {
            let total: u64 = shares.iter().filter_map(|share| share["weight"].as_u64()).sum();
            let each = shares
                .iter()
                .map(|share| format!("{} {} of {total}", word(share, "upstream"), share["weight"]));
            format!("forward to {}", each.collect::<Vec<_>>().join(", "))
        }
    }
}

fn write_upstream(upstream: &Value, out: &mut String) {
    let (name, balance) = (word(upstream, "name"), word(upstream, "balance"));
    let tls = upstream["tls"].as_str().map(|tls| format!(", TLS {tls}")).unwrap_or_default();
    let _ = writeln!(out, "\nupstream {name}: {balance}, at most {} attempts{tls}", upstream["attempts"]);
    let timeouts = &upstream["timeouts"];
    let each =
        ["connect", "response", "idle", "queue"].map(|name| format!("{name} {}", word(timeouts, name)));
    let _ = writeln!(out, "  timeouts  {}", each.join(", "));
    for endpoint in list(upstream, "endpoints") {
        let (address, state) = (word(endpoint, "address"), word(endpoint, "state"));
        let _ = match endpoint["order"].as_u64() {
            Some(order) => writeln!(out, "  {order}. {address} ({state})"),
            None => writeln!(out, "  -  {address} ({state}): not in the order"),
        };
    }
}

fn word<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
