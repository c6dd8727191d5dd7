use std::net::IpAddr;

use ipnet::IpNet;
use weir_config::{Code, Node, Problem, Problems};

/// A network such as `10.0.0.0/8`, or one address; `None` when it is neither, and the problems say so.
pub fn network(node: &Node, problems: &Problems) -> Option<IpNet> {
    let text = node.text()?;
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    match network {
        Some(network) if network.addr() == network.network() => Some(network),
        Some(network) => {
            let message = format!("`{text}` has bits behind its prefix");
            let help = format!("write `{}`, or `{}` for one address", network.trunc(), network.addr());
            problems.push(Problem::error(Code::MALFORMED, node, message).help(help));
            None
        }
        None => {
            let message =
                format!("expected a network such as `10.0.0.0/8` or an address, got {}", node.describe());
            problems.push(Problem::error(Code::MALFORMED, node, message));
            None
        }
    }
}
