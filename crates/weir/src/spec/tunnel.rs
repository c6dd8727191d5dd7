//! `tunnel`: its address is a listener, its agents are what endpoints may name.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_config::{Code, Entry, Node, Problem, Problems, Section, SourceReader};
use weir_http::{HttpsPlan, Versions};
use weir_net::ProxyProtocol;
use weir_route::{EncodedSlashes, PathRules};
use weir_tunnel::relay::{RelayPlan, TUNNEL};
use weir_upstream::{Address, Target, UpstreamPlan};

use super::bind;
use crate::plan::{ListenerPlan, TakesPlan};

/// What the tunnel's listener is called.
pub(crate) const LISTENER: &str = "tunnel";

/// Reads the section and adds its listener to the others.
pub(super) fn decode(
    root: &Section,
    reader: &dyn SourceReader,
    listeners: &mut BTreeMap<Arc<str>, ListenerPlan>,
    problems: &Problems,
) -> Option<RelayPlan> {
    let section = root.object("tunnel", &TUNNEL, problems)?;
    let plan = RelayPlan::decode(&section, reader, problems);
    let bind = section.list("bind").iter().filter_map(|node| bind::address(node, problems)).collect();
    if let Some(other) = root.map("listeners").iter().find(|entry| entry.name() == LISTENER) {
        let message =
            "no listener may be called `tunnel` beside a `tunnel` section: its address is called so";
        let problem = Problem::error(Code::CONFLICT, &other.key, message);
        problems.push(problem.also(section.this(), "the section").help("give the listener another name"));
    }
    let listener = ListenerPlan {
        bind,
        unix_mode: 0o660,
        paths: PathRules { normalize: true, encoded_slashes: EncodedSlashes::Keep },
        proxy_protocol: ProxyProtocol::Off,
        versions: Versions::default(),
        https: HttpsPlan::default(),
        tls: None,
        takes: TakesPlan::Tunnel,
    };
    listeners.insert(LISTENER.into(), listener);
    Some(plan)
}

/// Where `tunnel.bind` was written, before the section is opened.
pub(super) fn bind_nodes<'n>(root: &Section<'n>) -> &'n [Node] {
    root.node("tunnel").and_then(|tunnel| tunnel.get("bind")).map(Node::one_or_many).unwrap_or_default()
}

/// Endpoints name agents that may connect.
pub(super) fn check_endpoints(
    root: &Section,
    upstreams: &BTreeMap<Arc<str>, UpstreamPlan>,
    problems: &Problems,
) {
    // By what is written, so that an agent whose own line is wrong is not missed here too.
    let agents = root.node("tunnel").and_then(|tunnel| tunnel.get("agents")?.entries()).unwrap_or_default();
    let known: Vec<&str> = agents.iter().map(Entry::name).collect();
    for entry in root.map("upstreams") {
        let Some(upstream) = upstreams.get(entry.name()) else { continue };
        for endpoint in &upstream.endpoints {
            let Target::Address(Address::Tunnel(agent)) = &endpoint.target else { continue };
            if known.contains(&&**agent) {
                continue;
            }
            let written = format!("tunnel:{agent}");
            let lines = entry.value.get("endpoints").map(Node::one_or_many).unwrap_or_default();
            let text = |line: &Node| line.text().or_else(|| line.get("address")?.text()) == Some(&written);
            let node = lines.iter().find(|line| text(line)).unwrap_or(&entry.value);
            let message =
                format!("upstream `{}` forwards to agent `{agent}`, which may not connect", entry.name());
            let problem = Problem::error(Code::UNKNOWN_NAME, node, message);
            let help = match &known[..] {
                [] => "list it under `tunnel.agents`, with its token".to_owned(),
                known => format!("agents are: {}", known.join(", ")),
            };
            problems.push(problem.did_you_mean(agent, known.iter().copied()).help(help));
        }
    }
}
