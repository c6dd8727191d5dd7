use std::collections::HashMap;
use std::sync::Arc;

use weir_config::{Code, Entry, Key, Node, Object, Problem, Problems, Section, Shape, SourceReader};
use weir_net::tls::Digest;
use weir_wire::yamux::Role;

use super::{AgentPlan, OnDuplicate, RelayPlan};

/// `tunnel`.
pub static TUNNEL: Object = Object::new(
    "tunnel",
    "The relay: agents dial in at its address, and `tunnel:NAME` is an endpoint wherever an address is.",
    &[
        Key::new(
            "bind",
            Shape::OneOrMany(&Shape::Address),
            "Where agents connect: `/tunnel/connect`, and for everyone `/relay/status` and `/healthz`. Without TLS.",
        )
        .required(),
        Key::new("agents", Shape::Map(&Shape::Object(&AGENT)), "Who may connect, by name.").required(),
        Key::new("heartbeat", Shape::duration(1_000, 300_000), "How often an agent is asked for a sign of life.")
            .default("10s"),
        Key::new(
            "offline_after",
            Shape::duration_or_off(3_000, 3_600_000),
            "After how long without a byte an agent is offline and its requests fail; `off` for never.",
        )
        .default("30s"),
        Key::new(
            "write_timeout",
            Shape::duration(1_000, 300_000),
            "After how long without progress in writing an agent is given up.",
        )
        .default("10s"),
        Key::new(
            "role",
            Shape::Enum(&["client", "server"]),
            "Which end of yamux the relay is to agents that do not say what they expect; ours do.",
        )
        .default("client"),
    ],
);

static AGENT: Object = Object::new(
    "agent",
    "An agent that may connect.",
    &[
        Key::new("token", Shape::Secret, "Its bearer token; kept as a hash.").required(),
        Key::new(
            "on_duplicate",
            Shape::Enum(&["replace", "reject", "pool"]),
            "When it connects a second time: the new session takes over, is refused, or serves beside the other.",
        )
        .default("replace"),
    ],
);

impl RelayPlan {
    /// Reads the section but for `bind`, which is a listener's business.
    pub fn decode(section: &Section, reader: &dyn SourceReader, problems: &Problems) -> Self {
        let mut owners: HashMap<Digest, &Entry> = HashMap::new();
        let agents = section.map("agents").iter().filter_map(|entry| {
            let plan = agent(entry, reader, problems)?;
            if let Some(first) = owners.insert(plan.token, entry) {
                let message = format!("agents `{}` and `{}` have the same token", first.name(), entry.name());
                let problem = Problem::error(Code::CONFLICT, token_of(entry), message);
                problems.push(problem.help("give each agent a token of its own: it says who connects"));
            }
            Some(plan)
        });
        let agents = agents.collect();
        let offline_after = section.duration_or_off("offline_after");
        if offline_after.is_none() {
            let message = "an agent that is cut off is never found out with `offline_after: off`";
            problems.push(Problem::warning(Code::CONFLICT, section.at("offline_after"), message));
        }
        Self {
            agents,
            heartbeat: section.duration("heartbeat"),
            offline_after,
            write_timeout: section.duration("write_timeout"),
            role: section.choice("role", &[("client", Role::Client), ("server", Role::Server)]),
        }
    }
}

fn token_of(entry: &Entry) -> &Node {
    entry.value.get("token").unwrap_or(&entry.value)
}

fn agent(entry: &Entry, reader: &dyn SourceReader, problems: &Problems) -> Option<AgentPlan> {
    let section = AGENT.open(&entry.value, problems);
    let name = entry.name();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
        let message = "the name of an agent is 1 to 64 letters, digits, `-`, `_` and `.`";
        problems.push(Problem::error(Code::MALFORMED, &entry.key, message));
        return None;
    }
    let token = section.secret("token")?.resolve(reader, problems)?;
    let is_header = token.expose().bytes().all(|byte| byte.is_ascii_graphic());
    if !is_header || token.expose().is_empty() {
        let message = "a token is printable ASCII without spaces: it is sent in a header";
        problems.push(Problem::error(Code::MALFORMED, section.at("token"), message));
        return None;
    }
    Some(AgentPlan {
        name: Arc::from(name),
        token: Digest::of(&[token.expose().as_bytes()]),
        on_duplicate: section.choice(
            "on_duplicate",
            &[
                ("replace", OnDuplicate::Replace),
                ("reject", OnDuplicate::Reject),
                ("pool", OnDuplicate::Pool),
            ],
        ),
    })
}
