use std::net::Ipv6Addr;

use weir_config::{Code, Key, Node, Object, Problem, Problems, Section, Shape};
use weir_route::HostPattern;

use super::{Decoded, ON_DOWN, ON_REMOVE, UpstreamRef, on_down, on_remove, upstream};
use crate::tcp::routes::{Protocol, RouteMatch, RouteProblem, problems as route_problems};
use crate::{SendProxyProtocol, TcpOptions, TcpPlan, TcpRoutePlan};

/// `tcp` of a listener.
pub static TCP: Object = Object::new(
    "tcp",
    "Takes TCP connections and relays their bytes to an upstream. Nothing is decrypted.",
    &[
        Key::new("forward", Shape::Text, "The upstream; with `routes` the one for what they do not match."),
        Key::new(
            "routes",
            Shape::List(&Shape::Object(&TCP_ROUTE)),
            "Other upstreams for TLS connections, chosen by what the ClientHello says.",
        ),
        Key::new(
            "idle_timeout",
            Shape::duration(1, 30 * 86_400_000),
            "Longest silence in both directions together.",
        )
        .default("10m"),
        Key::new(
            "half_close_timeout",
            Shape::duration(1, 30 * 86_400_000),
            "The same once one side has ended its direction.",
        )
        .default("30s"),
        Key::new(
            "preread_timeout",
            Shape::duration(1, 3_600_000),
            "How long a PROXY header or, with `routes`, a ClientHello may take to come. A connection without a hello goes to `forward`, or is closed.",
        )
        .default("10s"),
        Key::new(
            "send_proxy_protocol",
            Shape::OneOf(&[Shape::Off, Shape::Enum(&["v1", "v2"])]),
            "The PROXY header that tells endpoints who the client is; `v2` keeps the TLVs of one that came in.",
        )
        .default("off"),
        Key::new(
            "max_connections",
            Shape::Integer { min: 1, max: 10_000_000 },
            "Open connections of this listener; none by default. Those beyond are reset.",
        ),
        Key::new(
            "max_connections_per_ip",
            Shape::Integer { min: 1, max: 10_000_000 },
            "Open connections of one client address, of IPv6 a /64, on this listener; none by default.",
        ),
        Key::new(
            "upload_rate",
            Shape::Size { min: 1 << 10, max: 1 << 40 },
            "Most bytes a second from the client, for each connection; none by default.",
        ),
        Key::new(
            "download_rate",
            Shape::Size { min: 1 << 10, max: 1 << 40 },
            "Most bytes a second to the client, for each connection; none by default.",
        ),
        Key::new(
            "keepalive",
            Shape::duration_or_off(1_000, 86_400_000),
            "Silence after which the kernel asks a peer, client or endpoint, whether it is still there; whole seconds.",
        )
        .default("off"),
        Key::new(
            "user_timeout",
            Shape::duration_or_off(1, 86_400_000),
            "How long sent bytes may stay unacknowledged before the kernel gives a peer up.",
        )
        .default("off"),
        ON_REMOVE,
        ON_DOWN,
    ],
);

/// One of `tcp.routes`.
pub static TCP_ROUTE: Object = Object::new(
    "tcp_route",
    "TLS connections whose ClientHello fits. Exact names before wildcards before none, then those that also name a protocol; the order means nothing.",
    &[
        Key::new(
            "sni",
            Shape::OneOrMany(&Shape::Text),
            "Server names: `db.example.com`, or `*.example.com` for one or more labels. Any by default, none at all included.",
        ),
        Key::new(
            "alpn",
            Shape::OneOrMany(&Shape::Text),
            "Application protocols such as `h2`, of which the client must offer one. Any by default.",
        ),
        Key::new("forward", Shape::Text, "The upstream.").required(),
    ],
);

impl TcpPlan {
    /// Reads the `tcp` of a listener; the plan counts only while `problems` hold no error.
    pub fn decode<'n>(node: &'n Node, problems: &Problems) -> Decoded<'n, Self> {
        let section = TCP.open(node, problems);
        let mut upstreams: Vec<UpstreamRef<'n>> = upstream(&section, "forward").into_iter().collect();
        let forward = upstreams.first().map(|upstream| upstream.name.clone());
        let routes = routes(&section, &mut upstreams, problems);
        // What stands there and is wrong has a problem of its own.
        let names_none = node.get("forward").is_none() && section.list("routes").is_empty();
        if names_none && (node.entries().is_some() || node.is_null()) {
            let problem = Problem::error(Code::MISSING_KEY, node, "`tcp` names no upstream");
            problems.push(problem.help("add `forward: UPSTREAM`, or `routes` with an upstream each"));
        }
        let plan = Self {
            routes,
            forward,
            idle_timeout: section.duration("idle_timeout"),
            half_close_timeout: section.duration("half_close_timeout"),
            preread_timeout: section.duration("preread_timeout"),
            on_remove: on_remove(&section),
            on_down: on_down(&section),
            send_proxy_protocol: match section.opt_text("send_proxy_protocol") {
                Some("v1") => SendProxyProtocol::V1,
                Some("v2") => SendProxyProtocol::V2,
                _ => SendProxyProtocol::Off,
            },
            max_connections: section.opt_integer("max_connections"),
            max_connections_per_ip: section.opt_integer("max_connections_per_ip"),
            upload_rate: section.opt_size("upload_rate"),
            download_rate: section.opt_size("download_rate"),
            options: TcpOptions {
                keepalive: section.duration_or_off("keepalive"),
                user_timeout: section.duration_or_off("user_timeout"),
            },
        };
        Decoded { plan, upstreams }
    }
}

fn routes<'n>(
    section: &Section<'n>,
    upstreams: &mut Vec<UpstreamRef<'n>>,
    problems: &Problems,
) -> Vec<TcpRoutePlan> {
    let nodes = section.list("routes");
    let mut plans = Vec::with_capacity(nodes.len());
    let before = problems.errors();
    for node in nodes {
        let route = TCP_ROUTE.open(node, problems);
        let matches = RouteMatch { sni: names(&route, problems), alpn: protocols(&route, problems) };
        let Some(upstream) = upstream(&route, "forward") else { continue };
        plans.push(TcpRoutePlan { matches, forward: upstream.name.clone() });
        upstreams.push(upstream);
    }
    if problems.errors() == before {
        let matches: Vec<RouteMatch> = plans.iter().map(|plan| plan.matches.clone()).collect();
        for problem in route_problems(&matches) {
            report(&problem, nodes, problems);
        }
    }
    plans
}

fn names(route: &Section, problems: &Problems) -> Vec<HostPattern> {
    let mut patterns = Vec::new();
    for (text, node) in route.texts("sni") {
        match HostPattern::parse(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(_) if is_ipv6(text) => problems.push(address(node)),
            Err(error) => {
                let problem = Problem::error(Code::MALFORMED, node, error.to_string());
                problems.push(problem.help("write `db.example.com`, or `*.example.com` for all below"));
            }
        }
    }
    patterns
}

fn is_ipv6(text: &str) -> bool {
    text.trim_start_matches('[').trim_end_matches(']').parse::<Ipv6Addr>().is_ok()
}

fn address(node: &Node) -> Problem {
    let message = format!("{} is an address, and clients send no addresses as server names", node.describe());
    let problem = Problem::error(Code::MALFORMED, node, message);
    problem.help("name a host, or leave `sni` out to match connections without one")
}

fn protocols(route: &Section, problems: &Problems) -> Vec<Protocol> {
    let mut protocols = Vec::new();
    for (text, node) in route.texts("alpn") {
        match Protocol::parse(text) {
            Ok(protocol) => protocols.push(protocol),
            Err(error) => problems.push(Problem::error(Code::MALFORMED, node, error.to_string())),
        }
    }
    protocols
}

fn report(problem: &RouteProblem, nodes: &[Node], problems: &Problems) {
    match *problem {
        RouteProblem::Tie { first, second } => {
            let (Some(first), Some(second)) = (nodes.get(first), nodes.get(second)) else { return };
            let message = "two routes can match the same ClientHello, and no rule says which wins";
            let problem =
                Problem::error(Code::TIE, place(second), message).also(place(first), "the other one");
            problems.push(problem.help("remove one of them, or let one name an `alpn` or a longer `sni`"));
        }
        RouteProblem::Address { route, pattern } => {
            let named = nodes.get(route).and_then(|node| node.get("sni")).map(Node::one_or_many);
            let Some(node) = named.and_then(|nodes| nodes.get(pattern)) else { return };
            problems.push(address(node));
        }
    }
}

/// What to point at for a whole route: its names, else its protocols, else its first key.
fn place(route: &Node) -> &Node {
    let first = || route.entries().and_then(<[_]>::first).map(|entry| &entry.key);
    route.get("sni").or_else(|| route.get("alpn")).or_else(first).unwrap_or(route)
}
