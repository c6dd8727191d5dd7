//! What a configuration means: references resolved, defaults in, values that cannot be wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use weir_config::Position;
use weir_http::{Http2, HttpsPlan, Limits, PolicyPlan, RedirectPlan, RespondPlan, Timeouts, Versions};
use weir_net::tls::ServerTlsPlan;
use weir_net::{BindAddress, ProxyProtocol, TrustedProxies};
use weir_route::{PathRules, RouteTable, Rule};
use weir_stream::{TcpPlan, UdpPlan};
use weir_telemetry::{AccessSettings, Format, Level};
use weir_tunnel::relay::RelayPlan;
use weir_upstream::UpstreamPlan;

/// A whole configuration, checked.
#[derive(Debug)]
pub(crate) struct RootPlan {
    /// Worker threads; one per core unless given. A change needs a restart.
    pub(crate) workers: usize,
    /// Whose forwarding fields are believed.
    pub(crate) trusted_proxies: TrustedProxies,
    /// `timeouts`.
    pub(crate) timeouts: Timeouts,
    /// `limits`; `connections` is settled when the descriptor limit is known.
    pub(crate) limits: LimitsPlan,
    /// `http2`.
    pub(crate) http2: Http2,
    /// By name.
    pub(crate) listeners: BTreeMap<Arc<str>, ListenerPlan>,
    /// In the order of the files; the order means nothing.
    pub(crate) routes: Vec<RoutePlan>,
    /// The routes' rules, arranged: ids are places in `routes`, and of listeners places by name.
    pub(crate) table: Arc<RouteTable>,
    /// By name.
    pub(crate) upstreams: BTreeMap<Arc<str>, UpstreamPlan>,
    /// Who may dial in; none without a `tunnel` section.
    pub(crate) tunnel: Option<RelayPlan>,
    /// None for `admin: off`.
    pub(crate) admin: Option<AdminPlan>,
    /// `log`.
    pub(crate) log: LogPlan,
    /// Whether a change of the files reloads them.
    pub(crate) watch: bool,
    /// Every file that was read, and the folders that `include` patterns look into, for watching.
    pub(crate) files: Vec<PathBuf>,
    /// What they held, and secrets' files too: what changes before they are watched is not lost.
    pub(crate) seen: weir_provider::Seen,
    /// What is allowed but should not stay so: development secrets and the like, one sentence each.
    pub(crate) warnings: Vec<String>,
}

impl RootPlan {
    /// Each route with its rules: one for each combination of host and path patterns.
    pub(crate) fn routes_with_rules(&self) -> impl Iterator<Item = (&RoutePlan, Vec<&Rule>)> {
        let mut rules: Vec<Vec<&Rule>> = vec![Vec::new(); self.routes.len()];
        for rule in self.table.rules() {
            rules[rule.id as usize].push(rule);
        }
        self.routes.iter().zip(rules)
    }
}

/// `limits` as checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LimitsPlan {
    /// All but `connections`, which is the default there.
    pub(crate) base: Limits,
    /// Open client connections; what the descriptor limit allows unless given.
    pub(crate) connections: Option<u32>,
    /// TLS handshakes with clients that are under way at a time.
    pub(crate) tls_handshakes: u32,
}

/// One listener as checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListenerPlan {
    /// At least one address.
    pub(crate) bind: Vec<BindAddress>,
    /// The mode of unix sockets.
    pub(crate) unix_mode: u32,
    /// The versions of HTTP that it serves; of no meaning where it does not take HTTP.
    pub(crate) versions: Versions,
    /// How request paths are read; of no meaning where it does not take HTTP.
    pub(crate) paths: PathRules,
    /// Whether connections begin with a PROXY header.
    pub(crate) proxy_protocol: ProxyProtocol,
    /// What it says about HTTPS; of no meaning where it does not take HTTP.
    pub(crate) https: HttpsPlan,
    /// TLS on the side of clients.
    pub(crate) tls: Option<ServerTlsPlan>,
    /// What it takes.
    pub(crate) takes: TakesPlan,
}

/// What a listener takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TakesPlan {
    /// HTTP requests.
    Http,
    /// TCP connections.
    Tcp(Box<TcpPlan>),
    /// UDP datagrams.
    Udp(UdpPlan),
    /// Agents.
    Tunnel,
}

impl TakesPlan {
    /// The key in the configuration.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp(_) => "tcp",
            Self::Udp(_) => "udp",
            Self::Tunnel => "tunnel",
        }
    }

    /// UDP sessions that it may have, where it says.
    pub(crate) const fn sessions_max(&self) -> Option<u32> {
        match self {
            Self::Http | Self::Tcp(_) | Self::Tunnel => None,
            Self::Udp(plan) => plan.sessions_max,
        }
    }

    /// The upstreams that it forwards to by itself, without routes.
    pub(crate) fn upstreams(&self) -> Vec<&Arc<str>> {
        match self {
            Self::Http | Self::Tunnel => Vec::new(),
            Self::Tcp(plan) => plan.upstreams().collect(),
            Self::Udp(plan) => vec![&plan.forward],
        }
    }
}

/// One route as checked.
#[derive(Debug)]
pub(crate) struct RoutePlan {
    /// Given, or made of its place: `routes[3]`.
    pub(crate) name: Arc<str>,
    /// Where it was written.
    pub(crate) place: Position,
    /// Names of the listeners it is restricted to; empty for all.
    pub(crate) listeners: Vec<Arc<str>>,
    /// In the order of the request phase.
    pub(crate) policies: Vec<PolicyPlan>,
    /// What is done in the end.
    pub(crate) action: ActionPlan,
    /// For the whole request, retries included.
    pub(crate) timeout: Option<Duration>,
}

/// A route's action as checked.
#[derive(Debug)]
pub(crate) enum ActionPlan {
    /// Names of upstreams that exist, with weights that sum to at least one.
    Forward(Vec<(Arc<str>, u32)>),
    /// To another place.
    Redirect(RedirectPlan),
    /// An answer of the gateway's own.
    Respond(RespondPlan),
}

/// `admin` as checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdminPlan {
    /// Loopback unless there is a token.
    pub(crate) bind: BindAddress,
    /// Host names that are answered beside loopback and the bind address.
    pub(crate) hosts: Vec<String>,
    /// The bearer token, if one is needed.
    pub(crate) token: Option<weir_config::Secret>,
    /// The mode of a unix socket.
    pub(crate) unix_mode: u32,
}

/// `log` as checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogPlan {
    /// The least level of events that are written.
    pub(crate) level: Level,
    /// How events and access lines are written.
    pub(crate) format: Format,
    /// What the lines call this service.
    pub(crate) service_name: String,
    /// The access log.
    pub(crate) access: AccessSettings,
}

impl Default for LogPlan {
    fn default() -> Self {
        Self {
            level: Level::Info,
            format: Format::Json,
            service_name: "weir".to_owned(),
            access: AccessSettings::default(),
        }
    }
}
