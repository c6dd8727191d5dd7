use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use weir_net::tls::ServerTls;
use weir_net::{ConnectionLimits, ProxyProtocol, TrustedProxies};
use weir_route::{PathRules, RouteTable};
use weir_telemetry::{Collect, Exposition};
use weir_upstream::Upstream;
use weir_wire::h2_meter;

use crate::action::{Action, ActionPlan};
use crate::https::HttpsPlan;
use crate::policy::{Policy, PolicyPlan};
use crate::stats::RouteStats;
use crate::trailers::TrailerRules;

/// Everything that requests need of one revision of the configuration; immutable.
pub struct Plane {
    pub(crate) table: Arc<RouteTable>,
    /// By the id that the table gives.
    pub(crate) routes: Vec<Arc<Route>>,
    /// A few, looked through.
    pub(crate) listeners: Vec<(u32, ListenerPlan)>,
    pub(crate) trusted: TrustedProxies,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
    pub(crate) http2: Http2,
    /// For requests that match no route.
    pub(crate) unmatched: Arc<RouteInfo>,
    /// Goes up by one with each revision.
    pub revision: u64,
}

/// What a [`Plane`] is made of.
pub struct PlanePlan {
    /// The compiled matches; ids are places in `routes`.
    pub table: Arc<RouteTable>,
    /// The routes.
    pub routes: Vec<RoutePlan>,
    /// Per listener id.
    pub listeners: HashMap<u32, ListenerPlan>,
    /// Whose forwarding fields are believed.
    pub trusted: TrustedProxies,
    /// `timeouts`.
    pub timeouts: Timeouts,
    /// `limits`.
    pub limits: Limits,
    /// `http2`.
    pub http2: Http2,
    /// Goes up by one with each revision.
    pub revision: u64,
    /// Shards of the counters: the workers and the control side.
    pub shards: usize,
}

/// One route as checked.
pub struct RoutePlan {
    /// The route's name; unique.
    pub name: Arc<str>,
    /// In the order of the request phase.
    pub policies: Vec<PolicyPlan>,
    /// What is done with a request.
    pub action: ActionPlan,
    /// For the whole request, retries included; none by default.
    pub timeout: Option<Duration>,
}

/// One route as it runs.
pub struct Route {
    pub(crate) info: Arc<RouteInfo>,
    pub(crate) policies: Box<[Box<dyn Policy>]>,
    pub(crate) action: Action,
    pub(crate) timeout: Option<Duration>,
}

/// What outlives a request's snapshot: the name and the counters of its route, and what becomes of trailers.
#[derive(Debug)]
pub(crate) struct RouteInfo {
    /// The route's name; empty for requests that match none.
    pub(crate) name: Arc<str>,
    pub(crate) stats: Arc<RouteStats>,
    pub(crate) request_trailers: TrailerRules,
    pub(crate) response_trailers: TrailerRules,
}

impl RouteInfo {
    fn new(name: Arc<str>, stats: Arc<RouteStats>, policies: &[Box<dyn Policy>]) -> Self {
        Self {
            name,
            stats,
            request_trailers: TrailerRules::new(policies.iter().flat_map(|policy| policy.trailers().request)),
            // In reverse, as with heads.
            response_trailers: TrailerRules::new(
                policies.iter().rev().flat_map(|policy| policy.trailers().response),
            ),
        }
    }
}

/// Settings of one listener that may change with a reload.
#[derive(Debug, Clone)]
pub struct ListenerPlan {
    /// What the route table knows the listener by.
    pub match_id: u32,
    /// How request paths are read.
    pub paths: PathRules,
    /// Which versions of HTTP are served.
    pub versions: Versions,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// What connections shake hands by first.
    pub tls: Option<Arc<ServerTls>>,
    /// What it says about HTTPS.
    pub https: HttpsPlan,
}

/// The versions of HTTP that a listener serves: at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// HTTP/1.1, and 1.0.
    pub http1: bool,
    /// HTTP/2: where TLS agrees on it, or where a client begins with it.
    pub http2: bool,
}

impl Default for Versions {
    /// All of them.
    fn default() -> Self {
        Self { http1: true, http2: true }
    }
}

/// `http2` of the configuration: what bounds a client connection that speaks HTTP/2.
#[derive(Debug, Clone)]
pub struct Http2 {
    /// Streams that may be open at a time.
    pub streams_max: u32,
    /// Bytes of a request's body that may be on their way before somebody took them.
    pub stream_window: u32,
    /// The same for all streams of a connection together.
    pub connection_window: u32,
    /// How much a client may do that costs it nothing.
    pub meter: Arc<h2_meter::Limits>,
}

impl Default for Http2 {
    /// 100 streams, 64 KiB, 1 MiB: a stream that is not read on holds as much as one buffer in the kernel would, and
    /// sixteen of them before they hold up the others; at 10 ms of delay one stream still uploads 50 Mbit/s.
    fn default() -> Self {
        Self { streams_max: 100, stream_window: 64 << 10, connection_window: 1 << 20, meter: Arc::default() }
    }
}

/// `timeouts` of the configuration; see there for what each bounds.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // The keys of the configuration, described in its table.
pub struct Timeouts {
    pub request_head: Duration,
    pub keep_alive: Duration,
    pub body_idle: Duration,
    pub stream_idle: Duration,
    pub upgrade_idle: Duration,
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request_head: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            body_idle: Duration::from_secs(60),
            stream_idle: Duration::from_secs(300),
            upgrade_idle: Duration::from_secs(3600),
            drain: Duration::from_secs(30),
        }
    }
}

/// `limits` of the configuration; see there for what each bounds.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // The keys of the configuration, described in its table.
pub struct Limits {
    pub header_bytes: usize,
    pub headers: usize,
    pub connections: u32,
    pub connections_per_ip: Option<u32>,
    pub requests_per_connection: Option<u64>,
}

impl Default for Limits {
    /// 64 KiB, 128 fields, half a million connections, none, none.
    fn default() -> Self {
        Self {
            header_bytes: 64 << 10,
            headers: 128,
            connections: 500_000,
            connections_per_ip: None,
            requests_per_connection: None,
        }
    }
}

impl Limits {
    /// Those on connections.
    pub(crate) fn connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            total: self.connections,
            per_ip: self.connections_per_ip,
            ..ConnectionLimits::default()
        }
    }
}

impl Plane {
    /// Builds what runs; counters are carried over from `previous` by the routes' names.
    pub fn compile(plan: PlanePlan, previous: Option<&Self>) -> Arc<Self> {
        let known: HashMap<&str, &Arc<RouteStats>> = previous
            .map(|plane| plane.routes.iter().map(|route| (&*route.info.name, &route.info.stats)).collect())
            .unwrap_or_default();
        let routes = plan
            .routes
            .into_iter()
            .map(|route| {
                let stats = known
                    .get(&*route.name)
                    .map_or_else(|| RouteStats::new(plan.shards), |stats| Arc::clone(stats));
                let policies: Box<[Box<dyn Policy>]> =
                    route.policies.into_iter().map(PolicyPlan::compile).collect();
                Arc::new(Route {
                    info: Arc::new(RouteInfo::new(route.name, stats, &policies)),
                    policies,
                    action: route.action.compile(),
                    timeout: route.timeout,
                })
            })
            .collect();
        let unmatched = previous.map_or_else(
            || Arc::new(RouteInfo::new("".into(), RouteStats::new(plan.shards), &[])),
            |plane| Arc::clone(&plane.unmatched),
        );
        Arc::new(Self {
            table: plan.table,
            routes,
            listeners: plan.listeners.into_iter().collect(),
            trusted: plan.trusted,
            timeouts: plan.timeouts,
            limits: plan.limits,
            http2: plan.http2,
            unmatched,
            revision: plan.revision,
        })
    }

    /// The route with this id of the table.
    pub fn route(&self, id: u32) -> Option<&Arc<Route>> {
        self.routes.get(id as usize)
    }

    #[inline]
    pub(crate) fn listener(&self, id: u32) -> Option<&ListenerPlan> {
        self.listeners.iter().find(|(known, _)| *known == id).map(|(_, plan)| plan)
    }

    /// How long a drain may take.
    pub fn drain_limit(&self) -> Duration {
        self.timeouts.drain
    }

    /// The compiled matches.
    pub fn table(&self) -> &RouteTable {
        &self.table
    }
}

impl Collect for Plane {
    fn collect(&self, out: &mut Exposition) {
        let all = self.routes.iter().map(|route| &route.info).chain([&self.unmatched]);
        crate::stats::collect_routes(all.map(|info| (&*info.name, &*info.stats)), out);
    }
}

impl Route {
    /// The route's name.
    pub fn name(&self) -> &Arc<str> {
        &self.info.name
    }

    /// Requests answered so far.
    pub fn requests(&self) -> u64 {
        self.info.stats.requests()
    }

    /// The upstreams that the route may forward to, with their shares.
    pub fn upstreams(&self) -> impl Iterator<Item = (&Arc<Upstream>, u32)> {
        self.action.upstreams()
    }
}
