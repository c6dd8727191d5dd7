//! What a user writes about `tcp` and `udp` listeners.

mod tcp;
mod udp;

use std::sync::Arc;

pub use tcp::{TCP, TCP_ROUTE};
pub use udp::UDP;
use weir_config::{Key, Node, Section, Shape};

use crate::{OnDown, OnRemove};

/// An upstream's name as written; whether it exists is for the caller to see.
#[derive(Debug, Clone)]
pub struct UpstreamRef<'n> {
    /// The name.
    pub name: Arc<str>,
    /// Where it stands.
    pub node: &'n Node,
}

/// A plan, and the upstreams that it names.
#[derive(Debug)]
pub struct Decoded<'n, P> {
    /// The plan.
    pub plan: P,
    /// Every name of an upstream, each where it stands.
    pub upstreams: Vec<UpstreamRef<'n>>,
}

const ON_REMOVE: Key = Key::new(
    "on_remove",
    Shape::Enum(&["drain", "close"]),
    "What becomes of connections to an endpoint that a reload removes: they finish, or they are closed.",
)
.default("drain");

const ON_DOWN: Key = Key::new(
    "on_down",
    Shape::Enum(&["keep", "close"]),
    "What becomes of connections to an endpoint that is found to be down: they go on as long as they can, or they are closed.",
)
.default("keep");

fn on_remove(section: &Section) -> OnRemove {
    section.choice("on_remove", &[("drain", OnRemove::Drain), ("close", OnRemove::Close)])
}

fn on_down(section: &Section) -> OnDown {
    section.choice("on_down", &[("keep", OnDown::Keep), ("close", OnDown::Close)])
}

fn upstream<'n>(section: &Section<'n>, key: &str) -> Option<UpstreamRef<'n>> {
    let node = section.node(key)?;
    Some(UpstreamRef { name: node.text()?.into(), node })
}
