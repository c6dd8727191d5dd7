//! Addresses to listen on, and which of them exclude each other.

use std::collections::HashMap;
use std::path::PathBuf;

use weir_config::{Code, Node, Problem, Problems, Section};
use weir_net::{BindAddress, BindAddressError};

use super::{admin, tunnel};

/// An address to listen on; the path of a unix socket starts at the directory of the file that names it.
pub(super) fn address(node: &Node, problems: &Problems) -> Option<BindAddress> {
    let problem = match read(node)? {
        Ok(address) => return Some(address),
        Err(BindAddressError::PathLength) => {
            Problem::error(Code::MALFORMED, node, "the path of a unix socket must have 1 to 107 bytes")
        }
        Err(BindAddressError::Malformed) => {
            let message = format!("expected an address to listen on, got {}", node.describe());
            Problem::error(Code::MALFORMED, node, message).help(
                "write `ADDRESS:PORT` such as `127.0.0.1:8080`, `[::]:8080` or `:8080`, or `unix:/path`",
            )
        }
    };
    problems.push(problem);
    None
}

fn read(node: &Node) -> Option<Result<BindAddress, BindAddressError>> {
    let text = node.text()?;
    let address = match text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        Some(path) => {
            let path = node.source().directory().join(path);
            format!("unix:{}", path.display()).parse()
        }
        None => text.parse(),
    };
    Some(address)
}

/// What two sockets cannot share.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Slot {
    /// A port of one IP version.
    Port {
        port: u16,
        is_v6: bool,
        is_udp: bool,
    },
    Path(PathBuf),
}

/// Reports every two addresses, of listeners and the admin address, that exclude each other.
pub(super) fn check_clashes(root: &Section, problems: &Problems) {
    let mut taken: HashMap<Slot, Vec<(BindAddress, &Node, String)>> = HashMap::new();
    for Owner { name: owner, node, is_udp } in owners(root) {
        let Some(Ok(address)) = read(node) else { continue };
        let slot = match &address {
            // The kernel chooses a free one each time.
            BindAddress::Tcp(address) if address.port() == 0 => continue,
            BindAddress::Tcp(address) => {
                Slot::Port { port: address.port(), is_v6: address.is_ipv6(), is_udp }
            }
            BindAddress::Unix(path) => Slot::Path(path.clone()),
        };
        let others = taken.entry(slot).or_default();
        if let Some((other, first, first_owner)) = others.iter().find(|(other, ..)| excludes(other, &address))
        {
            let message = format!("{owner} wants {address}, and {first_owner} has {other}");
            let problem = Problem::error(Code::SAME_ADDRESS, node, message).also(*first, "the other one");
            problems
                .push(problem.help("give each a port or an address of its own; port 0 takes any free one"));
        }
        others.push((address, node, owner));
    }
}

/// Who listens at an address.
struct Owner<'n> {
    name: String,
    node: &'n Node,
    is_udp: bool,
}

fn owners<'n>(root: &Section<'n>) -> Vec<Owner<'n>> {
    let mut owners = Vec::new();
    for entry in root.map("listeners") {
        for node in entry.value.get("bind").map(Node::one_or_many).unwrap_or_default() {
            let name = format!("the listener `{}`", entry.name());
            owners.push(Owner { name, node, is_udp: entry.value.get("udp").is_some() });
        }
    }
    for node in tunnel::bind_nodes(root) {
        owners.push(Owner { name: "`tunnel`".to_owned(), node, is_udp: false });
    }
    if let Some(node) = admin::bind_node(root) {
        owners.push(Owner { name: "`admin`".to_owned(), node, is_udp: false });
    }
    owners
}

/// Whether two addresses of one slot cannot both be bound: the same, or one of them takes every address.
fn excludes(a: &BindAddress, b: &BindAddress) -> bool {
    match (a, b) {
        (BindAddress::Tcp(a), BindAddress::Tcp(b)) => {
            a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified()
        }
        _ => true,
    }
}
