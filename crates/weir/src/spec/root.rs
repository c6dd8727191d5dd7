use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use weir_config::{Code, Document, Key, Object, Problem, Problems, Section, Shape};
use weir_net::TrustedProxies;
use weir_tunnel::relay::TUNNEL;
use weir_upstream::{Address, BalancePlan, EndpointPlan, HashKey, Target, UPSTREAM, UpstreamPlan};

use super::route::Names;
use super::{Inputs, admin, bind, bounds, covered, cycle, http2, listener, log, route, table, tunnel};
use crate::plan::{ActionPlan, ListenerPlan, RootPlan, TakesPlan};

/// The whole language.
pub(crate) static ROOT: Object = Object::new(
    "weir",
    "A configuration: listeners take connections, routes decide what becomes of requests, upstreams serve them.",
    &[
        Key::new(
            "include",
            Shape::OneOrMany(&Shape::Path),
            "More files to read; `*`, `?` and `[…]` in the last part of a path stand for several. Each object has one owner.",
        ),
        Key::new(
            "listeners",
            Shape::Map(&Shape::Object(&listener::LISTENER)),
            "Where clients connect, by name.",
        )
        .required(),
        Key::new(
            "routes",
            Shape::List(&Shape::Object(&route::ROUTE)),
            "What becomes of requests, in any order: the most specific match wins.",
        ),
        Key::new(
            "upstreams",
            Shape::Map(&Shape::Object(&UPSTREAM)),
            "Where requests are forwarded to, by name.",
        ),
        Key::new(
            "admin",
            Shape::OneOf(&[Shape::Off, Shape::Object(&admin::ADMIN)]),
            "The admin address: health, metrics, status, reload; on 127.0.0.1:9090 unless changed, `off` for none.",
        ),
        Key::new("log", Shape::Object(&log::LOG), "What is logged, how and where."),
        Key::new(
            "timeouts",
            Shape::Object(&bounds::TIMEOUTS),
            "How long things may take on the clients' side.",
        ),
        Key::new("limits", Shape::Object(&bounds::LIMITS), "How much clients may use."),
        Key::new("http2", Shape::Object(&http2::HTTP2), "What bounds connections that speak HTTP/2."),
        Key::new(
            "trusted_proxies",
            Shape::OneOrMany(&Shape::Text),
            "Networks and addresses whose forwarding headers are believed. None by default.",
        ),
        Key::new(
            "workers",
            Shape::Integer { min: 1, max: 1024 },
            "Worker threads; one per core by default. A change needs a restart.",
        ),
        Key::new("service_name", Shape::Text, "What logs call this service.").default("weir"),
        Key::new("watch", Shape::OnOff, "Whether a change of the files reloads them.").default("on"),
        Key::new(
            "tunnel",
            Shape::Object(&TUNNEL),
            "The relay for agents: services behind NAT as endpoints `tunnel:NAME`.",
        ),
    ],
);

/// Decodes and checks everything; the plan counts only while `problems` hold no error.
pub(super) fn decode(
    document: &Document,
    files: Vec<PathBuf>,
    inputs: Inputs<'_>,
    problems: &Problems,
) -> RootPlan {
    let root = ROOT.open(&document.root, problems);
    let admin = admin::decode(&root, inputs.reader, problems);
    bind::check_clashes(&root, problems);
    let upstreams: BTreeMap<Arc<str>, UpstreamPlan> = root
        .map("upstreams")
        .iter()
        .map(|entry| (Arc::from(entry.name()), UpstreamPlan::decode(entry, inputs.reader, problems)))
        .collect();
    let upstream_names: Vec<Arc<str>> = upstreams.keys().cloned().collect();
    let mut listeners = listener::decode_all(&root, &upstream_names, inputs.shelf, problems);
    let tunnel = tunnel::decode(&root, inputs.reader, &mut listeners, problems);
    tunnel::check_endpoints(&root, &upstreams, problems);
    let names = Names {
        listeners: http(&listeners),
        all_listeners: listeners.keys().cloned().collect(),
        upstreams: upstream_names,
    };
    let (routes, rules) = route::decode_all(&root, &names, problems);
    if !problems.has_errors() {
        // A reference that is misspelt or within a part that is wrong would make its upstream look unused.
        check_unused(&root, &routes, &listeners, problems);
    }
    check_hash_keys(&root, &listeners, &upstreams, problems);
    check_datagram_endpoints(&root, &listeners, &upstreams, problems);
    cycle::check(&root, &listeners, &upstreams, problems);
    let table = table::check(&root, &routes, rules, problems);
    covered::check(&root, &listeners, &routes, &table, problems);
    RootPlan {
        workers: root.opt_integer("workers").unwrap_or_else(cores),
        trusted_proxies: trusted_proxies(&root, problems),
        timeouts: bounds::timeouts(&root, problems),
        limits: bounds::limits(&root, problems),
        http2: http2::decode(&root, problems),
        listeners,
        routes,
        table,
        upstreams,
        tunnel,
        admin,
        log: log::decode(&root, problems),
        watch: root.boolean("watch"),
        files,
        // Known to the one who reads.
        seen: weir_provider::Seen::default(),
        warnings: Vec::new(),
    }
}

/// The names of the listeners that take HTTP requests.
fn http(listeners: &BTreeMap<Arc<str>, ListenerPlan>) -> Vec<Arc<str>> {
    let takes_http = listeners.iter().filter(|(_, plan)| matches!(plan.takes, TakesPlan::Http));
    takes_http.map(|(name, _)| Arc::clone(name)).collect()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn trusted_proxies(root: &Section, problems: &Problems) -> TrustedProxies {
    let nodes = root.list("trusted_proxies").iter();
    TrustedProxies::new(nodes.filter_map(|node| weir_http::network(node, problems)).collect())
}

/// Connections and sessions have an address and nothing else that could be hashed.
fn check_hash_keys(
    root: &Section,
    listeners: &BTreeMap<Arc<str>, ListenerPlan>,
    upstreams: &BTreeMap<Arc<str>, UpstreamPlan>,
    problems: &Problems,
) {
    for entry in root.map("upstreams") {
        let balance = upstreams.get(entry.name()).map(|plan| &plan.balance);
        let Some(BalancePlan::Hash(key)) = balance else { continue };
        let Some(node) = entry.value.get("key").filter(|_| *key != HashKey::ClientIp) else { continue };
        let takes = |plan: &ListenerPlan| plan.takes.upstreams().iter().any(|name| ***name == *entry.name());
        let Some((name, plan)) = listeners.iter().find(|(_, plan)| takes(plan)) else { continue };
        let message = format!(
            "what the `{}` listener `{name}` forwards has no such key, and goes to the endpoints in turn",
            plan.takes.as_str(),
        );
        let problem = Problem::warning(Code::CONFLICT, node, message);
        problems.push(problem.help("use `key: client_ip`, or an upstream of its own for the listener"));
    }
}

/// A unix endpoint is a stream socket and takes no datagrams, and TLS needs a stream.
fn check_datagram_endpoints(
    root: &Section,
    listeners: &BTreeMap<Arc<str>, ListenerPlan>,
    upstreams: &BTreeMap<Arc<str>, UpstreamPlan>,
    problems: &Problems,
) {
    for entry in root.map("listeners") {
        let takes = listeners.get(entry.name()).map(|plan| &plan.takes);
        let Some(TakesPlan::Udp(plan)) = takes else { continue };
        let Some(node) = entry.value.get("udp").and_then(|udp| udp.get("forward")) else { continue };
        let Some(upstream) = upstreams.get(&plan.forward) else { continue };
        let endpoints = &upstream.endpoints;
        if upstream.tls.is_some() {
            let message =
                format!("datagrams cannot go to `{}`: its endpoints are spoken to by TLS", plan.forward);
            let problem = Problem::error(Code::CONFLICT, node, message);
            problems.push(problem.help("forward datagrams to an upstream without `tls`"));
        }
        let is_stream = |endpoint: &&EndpointPlan| {
            matches!(endpoint.target, Target::Address(Address::Unix(_) | Address::Tunnel(_)))
        };
        if let Some(endpoint) = endpoints.iter().find(is_stream) {
            let message = match endpoint.target {
                Target::Address(Address::Tunnel(_)) => {
                    format!("the endpoint `{}` takes no datagrams: it is an agent", endpoint.target)
                }
                _ => format!("the endpoint `{}` takes no datagrams: it is a unix socket", endpoint.target),
            };
            let problem = Problem::error(Code::CONFLICT, node, message);
            problems.push(problem.help("forward datagrams to an upstream of `ADDRESS:PORT` endpoints"));
        }
    }
}

fn check_unused(
    root: &Section,
    routes: &[crate::plan::RoutePlan],
    listeners: &BTreeMap<Arc<str>, ListenerPlan>,
    problems: &Problems,
) {
    let mut used: HashSet<&str> = HashSet::new();
    for route in routes {
        if let ActionPlan::Forward(shares) = &route.action {
            used.extend(shares.iter().map(|(name, _)| &**name));
        }
    }
    used.extend(listeners.values().flat_map(|listener| listener.takes.upstreams()).map(|name| &**name));
    for entry in root.map("upstreams").iter().filter(|entry| !used.contains(entry.name())) {
        let message = format!("neither a route nor a listener forwards to the upstream `{}`", entry.name());
        problems.push(Problem::warning(Code::UNUSED, &entry.key, message));
    }
}
