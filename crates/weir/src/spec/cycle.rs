//! Listeners that forward to themselves: one connection would go round until no descriptor is left.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use weir_config::{Code, Node, Problem, Problems, Section};
use weir_net::BindAddress;
use weir_upstream::{Address, Target, UpstreamPlan};

use crate::plan::{ListenerPlan, TakesPlan};

type Listeners = BTreeMap<Arc<str>, ListenerPlan>;
type Upstreams = BTreeMap<Arc<str>, UpstreamPlan>;

/// Reports every `tcp` or `udp` listener whose connections or datagrams come back to it, also through others.
///
/// Names are not judged, as who they are may change; `localhost` is.
pub(super) fn check(root: &Section, listeners: &Listeners, upstreams: &Upstreams, problems: &Problems) {
    let hops = hops(root, listeners, upstreams);
    let names: Vec<&str> = listeners.keys().map(|name| &**name).collect();
    for ring in rings(&hops) {
        report(&ring, &names, problems);
    }
}

/// One listener forwards to another, or to itself.
#[derive(Clone, Copy)]
struct Hop<'n> {
    from: usize,
    to: usize,
    /// The `forward` that says so.
    node: &'n Node,
}

fn report(ring: &[Hop], names: &[&str], problems: &Problems) {
    let Some((first, others)) = ring.split_first() else { return };
    let name = |listener: usize| format!("`{}`", names.get(listener).copied().unwrap_or_default());
    let mut path = name(first.from);
    for hop in ring {
        path = format!("{path} → {}", name(hop.to));
    }
    let message = format!("the listener {} forwards to itself: {path}", name(first.from));
    let mut problem = Problem::error(Code::CONFLICT, first.node, message);
    for hop in others {
        problem = problem.also(hop.node, format!("{} → {}", name(hop.from), name(hop.to)));
    }
    problems.push(problem.help(
        "what comes in would go round until no descriptor is left; forward to an address where none of them listens",
    ));
}

/// What each listener forwards to, in the order of the names.
fn hops<'n>(root: &Section<'n>, listeners: &Listeners, upstreams: &Upstreams) -> Vec<Vec<Hop<'n>>> {
    let mut at: HashMap<Slot, Vec<(usize, &BindAddress)>> = HashMap::new();
    for (listener, plan) in listeners.values().enumerate() {
        for bind in &plan.bind {
            let slot = match bind {
                BindAddress::Tcp(address) => Slot::port(address.port(), &plan.takes),
                BindAddress::Unix(path) => Slot::Path(path.clone()),
            };
            at.entry(slot).or_default().push((listener, bind));
        }
    }
    let mut hops = vec![Vec::new(); listeners.len()];
    let written: HashMap<&str, &Node> =
        root.map("listeners").iter().map(|entry| (entry.name(), &entry.value)).collect();
    for (from, (name, plan)) in listeners.iter().enumerate() {
        let Some(listener) = written.get(&**name) else { continue };
        for upstream in plan.takes.upstreams() {
            let Some(node) = forward(listener, upstream) else { continue };
            let endpoints = upstreams.get(upstream).map(|plan| &*plan.endpoints).unwrap_or_default();
            for endpoint in endpoints.iter().filter(|endpoint| endpoint.weight > 0) {
                let there = Slot::of(&endpoint.target, &plan.takes).and_then(|slot| at.get(&slot));
                for (to, bind) in there.into_iter().flatten() {
                    let is_known = hops[from].iter().any(|hop: &Hop| hop.to == *to);
                    if !is_known && reaches(&endpoint.target, bind) {
                        hops[from].push(Hop { from, to: *to, node });
                    }
                }
            }
        }
    }
    hops
}

/// Where a listener names an upstream.
fn forward<'n>(listener: &'n Node, upstream: &str) -> Option<&'n Node> {
    let takes = listener.get("tcp").or_else(|| listener.get("udp"))?;
    let routes = takes.get("routes").and_then(Node::items).unwrap_or_default();
    let mut named = std::iter::once(takes).chain(routes).filter_map(|node| node.get("forward"));
    named.find(|node| node.text() == Some(upstream))
}

/// Where a listener and an endpoint can meet at all; the ports of datagrams are others than those of connections.
#[derive(PartialEq, Eq, Hash)]
enum Slot {
    Port { port: u16, is_udp: bool },
    Path(PathBuf),
}

impl Slot {
    fn port(port: u16, takes: &TakesPlan) -> Self {
        Self::Port { port, is_udp: matches!(takes, TakesPlan::Udp(_)) }
    }

    fn of(target: &Target, takes: &TakesPlan) -> Option<Self> {
        match target {
            Target::Address(Address::Tcp(address)) => Some(Self::port(address.port(), takes)),
            Target::Address(Address::Unix(path)) => Some(Self::Path(path.clone())),
            // Where an agent's service is, only the agent knows.
            Target::Address(Address::Tunnel(_)) => None,
            Target::Name { host, port } => (host == "localhost").then(|| Self::port(*port, takes)),
        }
    }
}

/// Whether what is sent to `target` arrives at `bind`, as far as this can be known from the two.
fn reaches(target: &Target, bind: &BindAddress) -> bool {
    match (target, bind) {
        (Target::Address(Address::Unix(path)), BindAddress::Unix(bind)) => path == bind,
        (Target::Address(Address::Tcp(address)), BindAddress::Tcp(bind)) => reaches_address(*address, bind),
        (Target::Name { host, port }, BindAddress::Tcp(bind)) if host == "localhost" => {
            let loopbacks = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
            loopbacks.iter().any(|ip| reaches_address(SocketAddr::new(*ip, *port), bind))
        }
        _ => false,
    }
}

fn reaches_address(address: SocketAddr, bind: &SocketAddr) -> bool {
    let ip = match address.ip().to_canonical() {
        // The kernel connects to the loopback address then.
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let takes_all = bind.ip().is_unspecified() && bind.is_ipv4() == ip.is_ipv4();
    address.port() == bind.port() && (ip == bind.ip() || (takes_all && ip.is_loopback()))
}

/// The ways that lead back to where they begin, at least one for each listener that is on any.
fn rings<'n>(hops: &[Vec<Hop<'n>>]) -> Vec<Vec<Hop<'n>>> {
    let mut rings = Vec::new();
    let mut is_done = vec![false; hops.len()];
    for start in 0..hops.len() {
        // The way to where we are, and for each place on it, `start` first, the next of its hops to follow.
        let (mut way, mut next): (Vec<Hop>, Vec<(usize, usize)>) = (Vec::new(), vec![(start, 0)]);
        while let Some((here, hop)) = next.last_mut() {
            let followed = hops[*here].get(*hop).filter(|_| !is_done[*here]);
            let Some(followed) = followed else {
                is_done[*here] = true;
                next.pop();
                way.pop();
                continue;
            };
            *hop += 1;
            match next.iter().position(|(listener, _)| *listener == followed.to) {
                Some(place) => rings.push(way[place..].iter().chain([followed]).copied().collect()),
                None if is_done[followed.to] => {}
                None => {
                    way.push(*followed);
                    next.push((followed.to, 0));
                }
            }
        }
    }
    rings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Target {
        match text.strip_prefix("unix:") {
            Some(path) => Target::Address(Address::Unix(path.into())),
            None => text.parse::<SocketAddr>().map_or_else(
                |_| {
                    let (host, port) = text.rsplit_once(':').unwrap();
                    Target::Name { host: host.to_owned(), port: port.parse().unwrap() }
                },
                |address| Target::Address(address.into()),
            ),
        }
    }

    #[test]
    fn an_endpoint_reaches_the_address_itself_and_from_the_loopback_one_that_takes_all() {
        for (target, bind) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("127.0.0.1:80", "0.0.0.0:80"),
            ("127.8.0.1:80", "0.0.0.0:80"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::1]:80", "[::]:80"),
            ("[::]:80", "[::1]:80"),
            ("[::ffff:127.0.0.1]:80", "0.0.0.0:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("localhost:80", "[::]:80"),
            ("unix:/run/./a.sock", "unix:/run/a.sock"),
        ] {
            assert!(reaches(&endpoint(target), &bind.parse().unwrap()), "{target} {bind}");
        }
    }

    #[test]
    fn another_address_port_version_or_a_name_is_not_judged_to_be_the_same() {
        for (target, bind) in [
            ("127.0.0.1:81", "127.0.0.1:80"),
            ("127.0.0.2:80", "127.0.0.1:80"),
            ("10.0.0.1:80", "0.0.0.0:80"),
            ("[::1]:80", "0.0.0.0:80"),
            ("127.0.0.1:80", "[::]:80"),
            ("localhost:80", "10.0.0.1:80"),
            ("app.internal:80", "0.0.0.0:80"),
            ("unix:/run/b.sock", "unix:/run/a.sock"),
        ] {
            assert!(!reaches(&endpoint(target), &bind.parse().unwrap()), "{target} {bind}");
        }
    }
}
