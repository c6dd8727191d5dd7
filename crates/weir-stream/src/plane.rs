use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use weir_net::tls::ServerTls;
use weir_net::{ConnectionLimits, ProxyProtocol, TrustedProxies};
use weir_telemetry::{Collect, Exposition};
use weir_upstream::Upstream;

use crate::end::End;
use crate::stats::{ListenerStats, collect};
use crate::tcp::routes::{RouteMatch, Routes};
use crate::udp::{sessions_beside, share};
use crate::{TcpPlan, UdpPlan};

/// Everything that connections and sessions need of one revision of the configuration; immutable.
pub struct StreamPlane {
    tcp: HashMap<u32, Arc<TcpListener>>,
    /// Listeners of the revision before that are gone: for whom the kernel greeted in their name.
    former: HashMap<u32, Arc<TcpListener>>,
    udp: HashMap<u32, Arc<UdpListener>>,
    pub(crate) trusted: TrustedProxies,
    pub(crate) limits: ConnectionLimits,
    /// By the listeners' names; they live as long as a listener of that name does.
    stats: BTreeMap<Arc<str>, Arc<ListenerStats>>,
}

/// What a [`StreamPlane`] is made of.
pub struct StreamPlanePlan<'a> {
    /// The listeners of this plane.
    pub listeners: Vec<StreamListenerPlan<'a>>,
    /// What the listeners of other planes are known by.
    pub others: Vec<u32>,
    /// Every upstream, by name.
    pub upstreams: &'a BTreeMap<Arc<str>, Arc<Upstream>>,
    /// Whose PROXY headers are believed.
    pub trusted: TrustedProxies,
    /// `limits`, as far as connections go.
    pub limits: ConnectionLimits,
    /// Most sessions of a `udp` listener that does not say.
    pub sessions_max: u32,
    /// Most descriptors that sessions of all listeners together take; where they want more, each gets its part.
    pub session_descriptors: u32,
    /// Shards of the counters: the workers and the control side.
    pub shards: usize,
}

/// One listener of a [`StreamPlanePlan`].
pub struct StreamListenerPlan<'a> {
    /// What its [`ListenerState`](weir_net::ListenerState) is known by.
    pub id: u32,
    /// Its name.
    pub name: Arc<str>,
    /// Whether its connections begin with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// What its connections shake hands by first.
    pub tls: Option<Arc<ServerTls>>,
    /// What it takes.
    pub takes: Takes<'a>,
}

/// What a listener takes.
#[derive(Clone, Copy)]
pub enum Takes<'a> {
    /// Connections.
    Tcp(&'a TcpPlan),
    /// Datagrams.
    Udp(&'a UdpPlan),
}

/// A `tcp` listener as it runs.
pub(crate) struct TcpListener {
    pub(crate) plan: TcpPlan,
    pub(crate) proxy_protocol: ProxyProtocol,
    pub(crate) tls: Option<Arc<ServerTls>>,
    pub(crate) routes: Routes,
    /// By the place of the route.
    pub(crate) targets: Box<[Arc<Upstream>]>,
    pub(crate) forward: Option<Arc<Upstream>>,
    pub(crate) stats: Arc<ListenerStats>,
}

/// A `udp` listener as it runs.
#[derive(Clone)]
pub(crate) struct UdpListener {
    pub(crate) plan: UdpPlan,
    pub(crate) forward: Arc<Upstream>,
    /// What the plan says, or the default; less where the listeners want more than there may be.
    pub(crate) sessions_max: u32,
    pub(crate) stats: Arc<ListenerStats>,
}

impl StreamPlane {
    /// Builds what runs; counters are carried over from `previous` by the listeners' names.
    pub fn compile(plan: StreamPlanePlan, previous: Option<&Self>) -> Arc<Self> {
        let upstream = |name: &Arc<str>| {
            Arc::clone(plan.upstreams.get(name).expect("check() resolved every upstream name"))
        };
        let mut plane = Self {
            tcp: HashMap::new(),
            former: HashMap::new(),
            udp: HashMap::new(),
            trusted: plan.trusted,
            limits: plan.limits,
            stats: BTreeMap::new(),
        };
        let wanted = plan.listeners.iter().filter_map(|listener| match listener.takes {
            Takes::Tcp(_) => None,
            Takes::Udp(udp) => Some(udp.sessions_max.unwrap_or(plan.sessions_max)),
        });
        let workers = (plan.shards as u32).saturating_sub(1).max(1);
        let sessions_total =
            sessions_beside(plan.session_descriptors, workers, wanted.clone().count() as u32);
        let mut shares = share(wanted, sessions_total);
        for listener in &plan.listeners {
            let stats = previous
                .and_then(|previous| previous.stats.get(&listener.name).cloned())
                .unwrap_or_else(|| ListenerStats::new(plan.shards));
            plane.stats.insert(Arc::clone(&listener.name), Arc::clone(&stats));
            match listener.takes {
                Takes::Tcp(tcp) => {
                    let matches: Vec<RouteMatch> =
                        tcp.routes.iter().map(|route| route.matches.clone()).collect();
                    let listening = TcpListener {
                        plan: tcp.clone(),
                        proxy_protocol: listener.proxy_protocol,
                        tls: listener.tls.clone(),
                        routes: Routes::compile(&matches),
                        targets: tcp.routes.iter().map(|route| upstream(&route.forward)).collect(),
                        forward: tcp.forward.as_ref().map(upstream),
                        stats,
                    };
                    plane.tcp.insert(listener.id, Arc::new(listening));
                }
                Takes::Udp(udp) => {
                    let listening = UdpListener {
                        plan: udp.clone(),
                        forward: upstream(&udp.forward),
                        sessions_max: shares.next().expect("there is a share for each"),
                        stats,
                    };
                    plane.udp.insert(listener.id, Arc::new(listening));
                }
            }
        }
        if let Some(previous) = previous {
            let is_gone = |id: &u32| !plane.tcp.contains_key(id) && !plan.others.contains(id);
            let gone = previous.tcp.iter().filter(|(id, _)| is_gone(id));
            plane.former = gone.map(|(id, listener)| (*id, Arc::clone(listener))).collect();
        }
        Arc::new(plane)
    }

    pub(crate) fn tcp(&self, listener: u32) -> Option<&Arc<TcpListener>> {
        self.tcp.get(&listener).or_else(|| self.former.get(&listener))
    }

    /// UDP sessions that were cut because the process stops.
    pub fn sessions_cut(&self) -> u64 {
        self.udp.values().map(|listener| listener.stats.ended_by(End::ShuttingDown)).sum()
    }

    pub(crate) fn udp(&self, listener: u32) -> Option<&Arc<UdpListener>> {
        self.udp.get(&listener)
    }
}

impl TcpListener {
    pub(crate) fn limits(&self, plane: &StreamPlane) -> ConnectionLimits {
        ConnectionLimits {
            // Counted without a limit too: one that a reload brings holds for those that are open already.
            listener: Some(self.plan.max_connections.unwrap_or(u32::MAX)),
            listener_per_ip: self.plan.max_connections_per_ip,
            ..plane.limits
        }
    }
}

impl Collect for StreamPlane {
    fn collect(&self, out: &mut Exposition) {
        collect(self.stats.iter().map(|(name, stats)| (&**name, &**stats)), out);
    }
}
