use std::net::SocketAddr;

use weir_config::{Code, Key, Node, Object, Problem, Problems, Section, Shape, SourceReader};
use weir_net::BindAddress;

use super::{bind, listener};
use crate::plan::AdminPlan;

pub(super) static ADMIN: Object = Object::new(
    "admin",
    "The admin address. It answers only to Host names that are loopback, its own address or listed in `hosts`.",
    &[
        Key::new(
            "bind",
            Shape::Address,
            "An address and a port, or `unix:/path`; beyond loopback only with a `token`.",
        )
        .default("127.0.0.1:9090"),
        Key::new("hosts", Shape::OneOrMany(&Shape::Text), "More Host names to answer to."),
        Key::new("token", Shape::Secret, "The bearer token that every request must bring; none by default."),
        listener::UNIX_MODE,
    ],
);

pub(super) fn decode(root: &Section, reader: &dyn SourceReader, problems: &Problems) -> Option<AdminPlan> {
    let default = || BindAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 9090)));
    let Some(section) = root.object("admin", &ADMIN, problems) else {
        let is_off = root.node("admin").is_some();
        return (!is_off).then(|| AdminPlan {
            bind: default(),
            hosts: Vec::new(),
            token: None,
            unix_mode: 0o660,
        });
    };
    let token = section.secret("token");
    let bind = section.node("bind").and_then(|node| bind::address(node, problems)).unwrap_or_else(default);
    if !is_local(&bind) {
        warn_of_open(&bind, section.at("bind"), token.is_some(), problems);
    }
    let hosts = section.list("hosts").iter().filter_map(|node| host(node, problems)).collect();
    let token = token.and_then(|token| token.resolve(reader, problems));
    Some(AdminPlan { bind, hosts, token, unix_mode: listener::unix_mode(&section, problems) })
}

/// Where `admin.bind` was written, before the section is opened.
pub(super) fn bind_node<'n>(root: &Section<'n>) -> Option<&'n Node> {
    root.node("admin")?.get("bind")
}

fn is_local(bind: &BindAddress) -> bool {
    match bind {
        BindAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
        BindAddress::Unix(_) => true,
    }
}

fn warn_of_open(bind: &BindAddress, node: &Node, has_token: bool, problems: &Problems) {
    problems.push(match has_token {
        true => {
            let message =
                format!("the admin address {bind} can be reached from other machines, and has no TLS");
            Problem::warning(Code::OPEN_ADMIN, node, message).help(
                "bind to 127.0.0.1 and reach it through a tunnel, or keep it within a network you trust",
            )
        }
        false => {
            let message =
                format!("the admin address {bind} can be reached from other machines and has no `token`");
            Problem::error(Code::OPEN_ADMIN, node, message)
                .help("add `token: { file: … }` or `token: { env: NAME }`, or bind to 127.0.0.1")
        }
    });
}

fn host(node: &Node, problems: &Problems) -> Option<String> {
    let text = node.text()?;
    match weir_route::HostPattern::parse(text) {
        Ok(weir_route::HostPattern::Exact(name)) => Some(name.into()),
        Ok(weir_route::HostPattern::Wildcard(_)) => {
            problems.push(Problem::error(Code::PATTERN, node, "`hosts` lists whole names, without `*`"));
            None
        }
        Err(error) => {
            let place = node.part(error.range.clone());
            problems.push(Problem::error(Code::PATTERN, place, error.to_string()).help(error.help()));
            None
        }
    }
}
