use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use weir_config::{Code, Key, Node, Object, Problem, Problems, Shape};

use crate::{Address, EndpointPlan, Target};

/// An endpoint written as a mapping.
pub static ENDPOINT: Object = Object::new(
    "endpoint",
    "One server of an upstream. A DNS name stands for all its addresses, each an endpoint of its own.",
    &[
        Key::new("address", Shape::Address, "`10.0.0.1:8080`, `[::1]:8080`, `name:8080`, `unix:/path`, or `tunnel:NAME` for the agent of this name.")
            .required(),
        Key::new(
            "weight",
            Shape::Integer { min: 0, max: 10_000 },
            "The share of the requests relative to the other endpoints; 0 drains: no new requests.",
        )
        .default("1"),
        Key::new(
            "max_connections",
            Shape::Integer { min: 1, max: 4_000_000 },
            "Requests in flight at once, over all workers; more wait in the upstream's `queue`. None by default.",
        ),
        Key::new("backup", Shape::Bool, "Used only while no other endpoint is available.").default("false"),
    ],
);

/// An item of `endpoints`, with the node that names its address; `None` when the problems say why.
pub(super) fn decode<'n>(node: &'n Node, problems: &Problems) -> Option<(EndpointPlan, &'n Node)> {
    if let Some(text) = node.text() {
        return Some((EndpointPlan::new(target(text, node, problems)?), node));
    }
    let section = ENDPOINT.open(node, problems);
    let address = section.node("address")?;
    let plan = EndpointPlan {
        target: target(address.text()?, address, problems)?,
        weight: section.integer("weight"),
        max_connections: section.opt_integer("max_connections"),
        backup: section.boolean("backup"),
    };
    Some((plan, address))
}

fn target(text: &str, node: &Node, problems: &Problems) -> Option<Target> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path, node, problems);
    }
    if let Some(agent) = text.strip_prefix("tunnel:") {
        return tunnel(agent, node, problems);
    }
    parse(text)
        .map_err(|(code, help)| {
            let message =
                format!("an endpoint is `HOST:PORT`, `unix:/path` or `tunnel:NAME`, got {}", node.describe());
            problems.push(Problem::error(code, node, message).help(help));
        })
        .ok()
}

fn unix(path: &str, node: &Node, problems: &Problems) -> Option<Target> {
    let path: PathBuf = node.source().directory().join(path);
    // sun_path has 108 bytes, the last of them zero.
    if (1..=107).contains(&path.as_os_str().len()) && !path.as_os_str().is_empty() {
        return Some(Target::Address(Address::Unix(path)));
    }
    let message = "the path of a unix socket must have 1 to 107 bytes";
    problems.push(Problem::error(Code::MALFORMED, node, message));
    None
}

/// The name of an agent; the root of the configuration knows whether there is one.
fn tunnel(agent: &str, node: &Node, problems: &Problems) -> Option<Target> {
    if agent.contains('/') {
        let problem = Problem::error(Code::NOT_YET, node, "services of an agent are not there yet");
        problems.push(problem.help("write `tunnel:NAME` for what the agent forwards to"));
        return None;
    }
    if agent.is_empty() {
        problems.push(Problem::error(Code::MALFORMED, node, "an agent is written `tunnel:NAME`"));
        return None;
    }
    Some(Target::Address(Address::Tunnel(agent.into())))
}

fn parse(text: &str) -> Result<Target, (Code, &'static str)> {
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(match scheme {
            "https" => (Code::MALFORMED, "write `HOST:PORT`, and `tls: {}` beside `endpoints`"),
            _ => (Code::MALFORMED, "remove the scheme and the path: `HOST:PORT`"),
        });
    }
    if text.contains('/') {
        return Err((Code::MALFORMED, "an endpoint has no path: write `HOST:PORT`"));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.port() {
            0 => Err((Code::MALFORMED, "the port must be 1 to 65535")),
            _ => Ok(Target::Address(address.into())),
        };
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err((Code::MALFORMED, "add the port, and put an IPv6 address in brackets: `[::1]:8080`"));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err((Code::MALFORMED, "add the port: `HOST:PORT`"));
    };
    if host.contains(':') {
        return Err((Code::MALFORMED, "put an IPv6 address in brackets: `[::1]:8080`"));
    }
    let port = match port.parse::<u16>() {
        Ok(port) if port > 0 => port,
        _ => return Err((Code::MALFORMED, "the port must be 1 to 65535")),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if !is_host(host) || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err((Code::MALFORMED, "a name is letters, digits, `-`, `_` and `.`"));
    }
    Ok(Target::Name { host: host.to_ascii_lowercase(), port })
}

/// A DNS name or an IP address, an IPv6 one in brackets.
pub(super) fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_names_and_only_these_are_endpoints() {
        let good = |text: &str| parse(text).unwrap().to_string();
        assert_eq!(good("10.0.0.1:8080"), "10.0.0.1:8080");
        assert_eq!(good("[::1]:80"), "[::1]:80");
        assert_eq!(good("API.internal.:80"), "api.internal:80");
        for bad in [
            "",
            "api",
            "api:",
            "api:0",
            "api:65536",
            "10.0.0.1",
            "10.0.0.1:0",
            "::1",
            "::1:80",
            "a b:80",
            "a..b:80",
            "http://a:80",
            "https://a",
            "256.0.0.1:80",
            "10.0.0.1:80/path",
            "api:80/",
            "api:http",
            "-",
            ":80",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for path in ["10.0.0.1:80/path", "api:80/", "api/"] {
            assert_eq!(parse(path).unwrap_err().1, "an endpoint has no path: write `HOST:PORT`");
        }
    }
}
