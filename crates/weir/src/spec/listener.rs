use std::collections::BTreeMap;
use std::sync::Arc;

use weir_config::{Code, Entry, Key, Node, Object, Problem, Problems, Section, Shape};
use weir_net::ProxyProtocol;

use super::{bind, root};
use crate::plan::ListenerPlan;

pub(super) static LISTENER: Object = Object::new(
    "listener",
    "Where clients connect.",
    &[
        Key::new("bind", Shape::OneOrMany(&Shape::Address), "`127.0.0.1:8080`, `[::]:8080`, `:8080` for every IPv4 address, or `unix:/path`; port 0 lets the kernel choose.").required(),
        Key::new("http", Shape::Object(&HTTP), "Takes HTTP requests: `http: {}`."),
        Key::new("tcp", Shape::Any, "Not there yet: takes TCP connections."),
        Key::new("udp", Shape::Any, "Not there yet: takes UDP datagrams."),
        Key::new("tls", Shape::Any, "Not there yet: TLS."),
        Key::new("proxy_protocol", PROXY_PROTOCOL, "Whether connections begin with a PROXY header, version 1 or 2, read from `trusted_proxies` alone: `accepted` where they send one, `required` (or `on`) to refuse connections without one and all other peers.").default("off"),
        Key::new("normalize_path", Shape::OnOff, "Whether paths are normalised before they are matched and forwarded.").default("on"),
        UNIX_MODE,
    ],
)
.exactly_one(&["http", "tcp", "udp"]);

const PROXY_PROTOCOL: Shape = Shape::OneOf(&[Shape::OnOff, Shape::Enum(&["accepted", "required"])]);

static HTTP: Object = Object::new("http", "An HTTP listener; it has no settings of its own yet.", &[]);

/// The mode of unix sockets, of listeners and the admin address alike.
pub(super) const UNIX_MODE: Key =
    Key::new("unix_mode", Shape::Text, "The mode of unix sockets, in octal.").default("0660");

pub(super) fn decode_all(root: &Section, problems: &Problems) -> BTreeMap<Arc<str>, ListenerPlan> {
    let entries = root.map("listeners");
    if entries.is_empty() && root.node("listeners").is_some() {
        let node = root.at("listeners");
        problems.push(Problem::error(Code::MISSING_KEY, node, "there must be at least one listener"));
    }
    entries.iter().map(|entry| (entry.name().into(), decode(entry, problems))).collect()
}

fn decode(entry: &Entry, problems: &Problems) -> ListenerPlan {
    let section = LISTENER.open(&entry.value, problems);
    root::not_yet(&section, "tls", "TLS is not there yet", problems);
    root::not_yet(&section, "tcp", "listeners for TCP are not there yet", problems);
    root::not_yet(&section, "udp", "listeners for UDP are not there yet", problems);
    if let Some(http) = section.node("http") {
        HTTP.open(http, problems);
    }
    let nodes = section.list("bind");
    if nodes.is_empty() && section.node("bind").is_some() {
        problems.push(Problem::error(Code::MISSING_KEY, section.at("bind"), "`bind` lists no address"));
    }
    ListenerPlan {
        bind: nodes.iter().filter_map(|node| bind::address(node, problems)).collect(),
        unix_mode: unix_mode(&section, problems),
        normalize_path: section.boolean("normalize_path"),
        proxy_protocol: proxy_protocol(&section),
    }
}

fn proxy_protocol(section: &Section) -> ProxyProtocol {
    match section.text("proxy_protocol") {
        "accepted" => ProxyProtocol::Accepted,
        "required" => ProxyProtocol::Required,
        _ if section.boolean("proxy_protocol") => ProxyProtocol::Required,
        _ => ProxyProtocol::Off,
    }
}

/// The `unix_mode` of a section: octal digits, with or without a leading `0` or `0o`.
pub(super) fn unix_mode(section: &Section, problems: &Problems) -> u32 {
    let text = section.text("unix_mode");
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o777 && !digits.starts_with('+') => mode,
        _ => {
            let node: &Node = section.at("unix_mode");
            let message = format!("`unix_mode` must be an octal mode such as 0660, got {}", node.describe());
            problems.push(Problem::error(Code::MALFORMED, node, message));
            0o660
        }
    }
}
