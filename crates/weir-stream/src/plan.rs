use std::sync::Arc;
use std::time::Duration;

use weir_base::ByteSize;

use crate::tcp::routes::RouteMatch;

/// A `tcp` listener as checked; upstreams are known by name.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpPlan {
    /// What is routed by its ClientHello; empty where nothing is looked at.
    pub routes: Vec<TcpRoutePlan>,
    /// The upstream for everything else; none closes it.
    pub forward: Option<Arc<str>>,
    /// Longest silence in both directions together.
    pub idle_timeout: Duration,
    /// The same once one direction has ended.
    pub half_close_timeout: Duration,
    /// How long the ClientHello may take to come.
    pub preread_timeout: Duration,
    /// What becomes of connections to an endpoint that a reload removes.
    pub on_remove: OnRemove,
    /// What becomes of connections to an endpoint that is found to be down.
    pub on_down: OnDown,
    /// What the endpoint is told about the client before the first byte.
    pub send_proxy_protocol: SendProxyProtocol,
    /// Open connections of the listener.
    pub max_connections: Option<u32>,
    /// Open connections of one client address on the listener.
    pub max_connections_per_ip: Option<u32>,
    /// Most bytes a second from a client, each connection by itself.
    pub upload_rate: Option<ByteSize>,
    /// Most bytes a second to a client, each connection by itself.
    pub download_rate: Option<ByteSize>,
    /// TCP options on both sides.
    pub options: TcpOptions,
}

/// One of a `tcp` listener's `routes`.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpRoutePlan {
    /// Which hellos.
    pub matches: RouteMatch,
    /// The upstream's name.
    pub forward: Arc<str>,
}

/// What the kernel is asked to look after; both are off unless given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Silence after which the kernel asks whether the peer is still there.
    pub keepalive: Option<Duration>,
    /// How long sent bytes may stay unacknowledged (`TCP_USER_TIMEOUT`).
    pub user_timeout: Option<Duration>,
}

/// What becomes of connections and sessions to an endpoint that a reload removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRemove {
    /// They finish.
    #[default]
    Drain,
    /// They are closed.
    Close,
}

/// What becomes of connections and sessions to an endpoint that is found to be down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDown {
    /// They go on as long as they can.
    #[default]
    Keep,
    /// They are closed.
    Close,
}

/// What an endpoint is told about the client before the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SendProxyProtocol {
    /// Nothing.
    #[default]
    Off,
    /// A PROXY header of version 1.
    V1,
    /// A PROXY header of version 2, with the TLVs of the one that came in, if any.
    V2,
}

/// A `udp` listener as checked; the upstream is known by name.
#[derive(Debug, Clone, PartialEq)]
pub struct UdpPlan {
    /// The upstream.
    pub forward: Arc<str>,
    /// Longest silence of a session.
    pub idle_timeout: Duration,
    /// Datagrams from the client after which the next one begins a new session.
    pub requests: Option<u64>,
    /// Answers to each request after which the session is over.
    pub responses: Option<u64>,
    /// Most sessions of the listener over all workers; half the descriptor limit unless given.
    pub sessions_max: Option<u32>,
    /// What becomes of sessions to an endpoint that a reload removes.
    pub on_remove: OnRemove,
    /// What becomes of sessions to an endpoint that is found to be down.
    pub on_down: OnDown,
    /// Whether the first datagram of a session begins with a PROXY header of version 2.
    pub send_proxy_protocol: bool,
}

impl TcpPlan {
    /// The upstreams it forwards to.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<str>> {
        self.routes.iter().map(|route| &route.forward).chain(&self.forward)
    }
}
