use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use weir_config::{Code, Entry, Key, Node, Object, Problem, Problems, Section, Shape};
use weir_http::{HSTS_KEY, HttpsPlan, REDIRECT_HTTPS_KEY, Versions};
use weir_net::tls::certificates::Shelf;
use weir_net::tls::{ServerTlsContext, ServerTlsPlan, TLS};
use weir_net::{BindAddress, ProxyProtocol};
use weir_route::{EncodedSlashes, PathRules};
use weir_stream::{Decoded, TCP, TcpPlan, UDP, UdpPlan};

use super::{bind, route};
use crate::plan::{ListenerPlan, TakesPlan};

pub(super) static LISTENER: Object = Object::new(
    "listener",
    "Where clients connect.",
    &[
        Key::new("bind", Shape::OneOrMany(&Shape::Address), "`127.0.0.1:8080`, `[::]:8080`, `:8080` for every IPv4 address, or `unix:/path`; port 0 lets the kernel choose.").required(),
        Key::new("http", Shape::Object(&HTTP), "Takes HTTP requests: `http: {}`."),
        Key::new("tcp", Shape::Object(&TCP), "Takes TCP connections."),
        Key::new("udp", Shape::Object(&UDP), "Takes UDP datagrams."),
        Key::new("tls", Shape::Object(&TLS), "Takes TLS, on `http` and `tcp` listeners."),
        Key::new("proxy_protocol", PROXY_PROTOCOL, "Whether connections begin with a PROXY header, version 1 or 2, read from `trusted_proxies` alone: `accepted` where they send one, `required` (or `on`) to refuse connections without one and all other peers.").default("off"),
        Key::new("normalize_path", Shape::OnOff, "Whether paths are normalised before they are matched and forwarded.").default("on"),
        UNIX_MODE,
    ],
)
.exactly_one(&["http", "tcp", "udp"]);

const PROXY_PROTOCOL: Shape = Shape::OneOf(&[Shape::OnOff, Shape::Enum(&["accepted", "required"])]);

static HTTP: Object = Object::new(
    "http",
    "What an HTTP listener takes.",
    &[
        Key::new("versions", Shape::OneOrMany(&Shape::Enum(&["1.1", "2"])), "The versions of HTTP that are served; all by default. `2` is spoken where TLS agrees on it, and on plain connections whose client begins with it (prior knowledge); a request of a version that is not listed is answered 505."),
        Key::new("encoded_slashes", Shape::Enum(&["keep", "refuse"]), "What becomes of a path with `%2F`. `keep`: it stays encoded and separates nothing, so `/a%2Fb` is not below `/a/`; a server that decodes it sees another path than the one that was matched. `refuse`: such a path, and one with `%5C`, is answered 400.").default("keep"),
        HSTS_KEY,
        REDIRECT_HTTPS_KEY,
    ],
);

/// The mode of unix sockets, of listeners and the admin address alike.
pub(super) const UNIX_MODE: Key =
    Key::new("unix_mode", Shape::Text, "The mode of unix sockets, in octal.").default("0660");

pub(super) fn decode_all(
    root: &Section,
    upstreams: &[Arc<str>],
    shelf: &Shelf,
    problems: &Problems,
) -> BTreeMap<Arc<str>, ListenerPlan> {
    let entries = root.map("listeners");
    if entries.is_empty() && root.node("listeners").is_some() {
        let node = root.at("listeners");
        problems.push(Problem::error(Code::MISSING_KEY, node, "there must be at least one listener"));
    }
    let has_trusted = !root.list("trusted_proxies").is_empty();
    let plan = |entry: &Entry| {
        let plan = decode(entry, upstreams, shelf, problems);
        check_proxy_protocol(entry, &plan, has_trusted, problems);
        (entry.name().into(), plan)
    };
    let mut plans: BTreeMap<Arc<str>, ListenerPlan> = entries.iter().map(plan).collect();
    let port = https_port(&plans);
    for entry in entries {
        let (Some(http), Some(plan)) = (entry.value.get("http"), plans.get_mut(entry.name())) else {
            continue;
        };
        if matches!(plan.takes, TakesPlan::Http) {
            let has_tls = entry.value.get("tls").is_some();
            plan.https = HttpsPlan::decode(&HTTP.open(http, problems), has_tls, port, problems);
        }
    }
    plans
}

/// The port of the `http` listeners with TLS: 443 where several have others, or none says.
fn https_port(plans: &BTreeMap<Arc<str>, ListenerPlan>) -> u16 {
    let secure = plans.values().filter(|plan| matches!(plan.takes, TakesPlan::Http) && plan.tls.is_some());
    let port = |bind: &BindAddress| match bind {
        BindAddress::Tcp(address) => Some(address.port()).filter(|port| *port != 0),
        BindAddress::Unix(_) => None,
    };
    let mut ports: Vec<u16> = secure.flat_map(|plan| plan.bind.iter().filter_map(port)).collect();
    ports.sort_unstable();
    ports.dedup();
    match ports[..] {
        [port] => port,
        _ => 443,
    }
}

/// A PROXY header is read from trusted peers alone, and a peer on a unix socket is nobody's.
fn check_proxy_protocol(entry: &Entry, plan: &ListenerPlan, has_trusted: bool, problems: &Problems) {
    let is_read = !matches!(plan.takes, TakesPlan::Udp(_));
    let Some(node) = entry.value.get("proxy_protocol").filter(|_| is_read) else { return };
    const HELP: &str = "list the proxies that connect here in `trusted_proxies`, or remove `proxy_protocol`";
    match plan.proxy_protocol {
        ProxyProtocol::Off => {}
        ProxyProtocol::Required if !has_trusted => {
            let message =
                "nobody could connect: a PROXY header is required, and there are no `trusted_proxies`";
            problems.push(Problem::error(Code::CONFLICT, node, message).help(HELP));
        }
        ProxyProtocol::Required => {
            let binds = entry.value.get("bind").map(Node::one_or_many).unwrap_or_default();
            let is_unix = |node: &&Node| node.text().is_some_and(|text| text.starts_with("unix:"));
            if let Some(bind) = binds.iter().find(is_unix) {
                let message = "nobody could connect here: a PROXY header is required, and a peer on a unix socket is never trusted";
                let problem = Problem::error(Code::CONFLICT, bind, message).also(node, "required here");
                problems.push(problem.help("listen on a TCP address, or remove `proxy_protocol`"));
            }
        }
        ProxyProtocol::Accepted if !has_trusted => {
            let message = "`proxy_protocol: accepted` has no effect without `trusted_proxies`";
            problems.push(Problem::warning(Code::CONFLICT, node, message).help(HELP));
        }
        ProxyProtocol::Accepted => {}
    }
}

fn decode(entry: &Entry, upstreams: &[Arc<str>], shelf: &Shelf, problems: &Problems) -> ListenerPlan {
    let section = LISTENER.open(&entry.value, problems);
    let takes = takes(&section, entry.name(), upstreams, problems);
    let http = section.node("http").map(|node| HTTP.open(node, problems));
    let versions = versions(http.as_ref(), problems);
    let paths = PathRules {
        normalize: section.boolean("normalize_path"),
        encoded_slashes: encoded_slashes(http.as_ref()),
    };
    let nodes = section.list("bind");
    if nodes.is_empty() && section.node("bind").is_some() {
        problems.push(Problem::error(Code::MISSING_KEY, section.at("bind"), "`bind` lists no address"));
    }
    for &key in meaningless(&takes) {
        // Without a PROXY header is how datagrams come.
        let is_so = |node: &&Node| key == "proxy_protocol" && node.is_off();
        if let Some(node) = section.node(key).filter(|node| !is_so(node)) {
            let message = format!("`{key}` has no meaning on a `{}` listener", takes.as_str());
            problems.push(Problem::error(Code::CONFLICT, node, message).help(format!("remove `{key}`")));
        }
    }
    if matches!(takes, TakesPlan::Udp(_)) {
        for node in nodes.iter().filter(|node| node.text().is_some_and(|text| text.starts_with("unix:"))) {
            let message = "a `udp` listener cannot listen on a unix socket";
            let problem = Problem::error(Code::CONFLICT, node, message);
            problems.push(problem.help("write `ADDRESS:PORT`, or take TCP connections there"));
        }
    }
    let tls = tls(&section, &takes, versions, shelf, problems);
    ListenerPlan {
        versions,
        bind: nodes.iter().filter_map(|node| bind::address(node, problems)).collect(),
        unix_mode: unix_mode(&section, problems),
        paths,
        proxy_protocol: proxy_protocol(&section),
        https: HttpsPlan::default(),
        tls,
        takes,
    }
}

/// What an HTTP listener offers in ALPN, most preferred first.
fn speaks(versions: Versions) -> &'static [&'static str] {
    match (versions.http1, versions.http2) {
        (true, true) => &["h2", "http/1.1"],
        (false, true) => &["h2"],
        (_, false) => &["http/1.1"],
    }
}

/// `http.versions` of a listener.
fn versions(http: Option<&Section>, problems: &Problems) -> Versions {
    let Some(http) = http.filter(|http| http.node("versions").is_some()) else { return Versions::default() };
    let listed = |version: &str| http.list("versions").iter().any(|node| node.text() == Some(version));
    let versions = Versions { http1: listed("1.1"), http2: listed("2") };
    if !versions.http1 && !versions.http2 {
        let node = http.at("versions");
        problems.push(Problem::error(Code::MISSING_KEY, node, "`versions` lists no version"));
    }
    versions
}

fn tls(
    section: &Section,
    takes: &TakesPlan,
    versions: Versions,
    shelf: &Shelf,
    problems: &Problems,
) -> Option<ServerTlsPlan> {
    let speaks = match takes {
        TakesPlan::Http => Some(speaks(versions)),
        TakesPlan::Tcp(_) => None,
        TakesPlan::Udp(_) | TakesPlan::Tunnel => return None,
    };
    let context = ServerTlsContext { shelf, now: SystemTime::now(), speaks };
    ServerTlsPlan::decode(section.node("tls")?, context, problems)
}

/// The keys beside `bind` that say nothing about such a listener.
fn meaningless(takes: &TakesPlan) -> &'static [&'static str] {
    match takes {
        TakesPlan::Http | TakesPlan::Tunnel => &[],
        TakesPlan::Tcp(_) => &["normalize_path"],
        TakesPlan::Udp(_) => &["normalize_path", "proxy_protocol", "tls", "unix_mode"],
    }
}

fn takes(section: &Section, name: &str, upstreams: &[Arc<str>], problems: &Problems) -> TakesPlan {
    let (plan, named) = match section.chosen() {
        Some(("tcp", node)) => {
            let Decoded { plan, upstreams } = TcpPlan::decode(node, problems);
            (TakesPlan::Tcp(Box::new(plan)), upstreams)
        }
        Some(("udp", node)) => {
            let Decoded { plan, upstreams } = UdpPlan::decode(node, problems);
            (TakesPlan::Udp(plan), upstreams)
        }
        _ => (TakesPlan::Http, Vec::new()),
    };
    for unknown in named.iter().filter(|upstream| route::place_of(&upstream.name, upstreams).is_none()) {
        let upstream = &unknown.name;
        let message = format!("listener `{name}` forwards to upstream `{upstream}`, which does not exist");
        problems.push(route::unknown(message, upstream, "upstreams", upstreams, unknown.node, problems));
    }
    plan
}

fn encoded_slashes(http: Option<&Section>) -> EncodedSlashes {
    match http.map(|http| http.text("encoded_slashes")) {
        Some("refuse") => EncodedSlashes::Refuse,
        _ => EncodedSlashes::Keep,
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
