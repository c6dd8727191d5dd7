//! From a plan to what runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use weir_http::{Limits, ListenerPlan, Plane, PlanePlan, RoutePlan, SplitPlan};
use weir_net::tls::ServerTls;
use weir_net::{ConnectionLimits, DescriptorLimit};
use weir_stream::{StreamListenerPlan, StreamPlane, StreamPlanePlan, Takes};
use weir_upstream::Upstream;

use super::listeners::Listeners;
use crate::plan::{ActionPlan, RootPlan, TakesPlan};
use crate::spec::descriptors_reserved;

/// What planes are made of and what outlives them, by name.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) upstreams: BTreeMap<Arc<str>, Arc<Upstream>>,
    /// Of the listeners that have it.
    pub(super) tls: BTreeMap<Arc<str>, Arc<ServerTls>>,
}

impl Parts {
    /// Compiles what changed; what is planned as before is the same as before.
    pub(super) fn compile(plan: &RootPlan, previous: &Self, now: Instant) -> Self {
        let tls = plan.listeners.iter().filter_map(|(name, listener)| {
            let tls = ServerTls::compile(listener.tls.as_ref()?, previous.tls.get(name));
            Some((Arc::clone(name), tls))
        });
        Self { upstreams: compile_upstreams(plan, &previous.upstreams, now), tls: tls.collect() }
    }
}

fn compile_upstreams(
    plan: &RootPlan,
    previous: &BTreeMap<Arc<str>, Arc<Upstream>>,
    now: Instant,
) -> BTreeMap<Arc<str>, Arc<Upstream>> {
    plan.upstreams
        .iter()
        .map(|(name, plan)| {
            let upstream = match previous.get(name) {
                Some(same) if same.plan() == plan => Arc::clone(same),
                changed => Upstream::compile(plan.clone(), changed, now),
            };
            (Arc::clone(name), upstream)
        })
        .collect()
}

/// Makes the HTTP plane of a plan; counters are carried over from `previous`.
pub(super) fn compile_plane(
    plan: &RootPlan,
    listeners: &mut Listeners,
    parts: &Parts,
    previous: Option<&Plane>,
    revision: u64,
    workers: usize,
    descriptors: DescriptorLimit,
) -> Arc<Plane> {
    let routes = plan
        .routes
        .iter()
        .map(|route| RoutePlan {
            name: Arc::clone(&route.name),
            policies: route.policies.clone(),
            action: compile_action(&route.action, &parts.upstreams),
            timeout: route.timeout,
        })
        .collect();
    let by_id: HashMap<u32, ListenerPlan> = plan
        .listeners
        .iter()
        .zip(0..)
        .map(|((name, listener), match_id)| {
            let plan = ListenerPlan {
                match_id,
                paths: listener.paths,
                versions: listener.versions,
                proxy_protocol: listener.proxy_protocol,
                tls: parts.tls.get(name).cloned(),
                https: listener.https.clone(),
            };
            (listeners.id(name), plan)
        })
        .collect();
    let limits = Limits { connections: connections_max(plan, workers, descriptors), ..plan.limits.base };
    let plane = PlanePlan {
        table: Arc::clone(&plan.table),
        routes,
        listeners: by_id,
        trusted: plan.trusted_proxies.clone(),
        timeouts: plan.timeouts,
        limits,
        http2: plan.http2.clone(),
        revision,
        shards: workers + 1,
    };
    Plane::compile(plane, previous)
}

/// Most open client connections: what is configured, within what the descriptor limit allows.
pub(super) fn connections_max(plan: &RootPlan, workers: usize, descriptors: DescriptorLimit) -> u32 {
    plan.limits.connections.unwrap_or(u32::MAX).min(descriptors_for_use(plan, workers, descriptors))
}

fn descriptors_for_use(plan: &RootPlan, workers: usize, descriptors: DescriptorLimit) -> u32 {
    let spare = descriptors.soft.saturating_sub(descriptors_reserved(plan, workers));
    u32::try_from(spare).unwrap_or(u32::MAX).max(1)
}

/// Makes the stream plane of a plan; counters are carried over from `previous`.
pub(super) fn compile_stream_plane(
    plan: &RootPlan,
    listeners: &mut Listeners,
    parts: &Parts,
    previous: Option<&StreamPlane>,
    workers: usize,
    descriptors: DescriptorLimit,
) -> Arc<StreamPlane> {
    let mut others = Vec::new();
    let streams = plan.listeners.iter().filter_map(|(name, listener)| {
        let takes = match &listener.takes {
            TakesPlan::Http | TakesPlan::Tunnel => {
                others.push(listeners.id(name));
                return None;
            }
            TakesPlan::Tcp(tcp) => Takes::Tcp(tcp),
            TakesPlan::Udp(udp) => Takes::Udp(udp),
        };
        Some(StreamListenerPlan {
            id: listeners.id(name),
            name: Arc::clone(name),
            proxy_protocol: listener.proxy_protocol,
            tls: parts.tls.get(name).cloned(),
            takes,
        })
    });
    let plane = StreamPlanePlan {
        listeners: streams.collect(),
        others,
        upstreams: &parts.upstreams,
        trusted: plan.trusted_proxies.clone(),
        limits: ConnectionLimits {
            // Each takes two: one to the client, one to the endpoint.
            total: connections_max(plan, workers, descriptors)
                .min((descriptors_for_use(plan, workers, descriptors) / 2).max(1)),
            per_ip: plan.limits.base.connections_per_ip,
            ..ConnectionLimits::default()
        },
        sessions_max: (descriptors_for_use(plan, workers, descriptors) / 2).max(1),
        session_descriptors: descriptors_for_use(plan, workers, descriptors),
        shards: workers + 1,
    };
    StreamPlane::compile(plane, previous)
}

fn compile_action(
    action: &ActionPlan,
    upstreams: &BTreeMap<Arc<str>, Arc<Upstream>>,
) -> weir_http::ActionPlan {
    match action {
        ActionPlan::Forward(shares) => {
            let share = |(name, weight): &(Arc<str>, u32)| {
                let upstream = upstreams.get(name).expect("check() resolved every upstream name");
                (Arc::clone(upstream), *weight)
            };
            weir_http::ActionPlan::Forward(SplitPlan { shares: shares.iter().map(share).collect() })
        }
        ActionPlan::Redirect(plan) => weir_http::ActionPlan::Redirect(plan.clone()),
        ActionPlan::Respond(plan) => weir_http::ActionPlan::Respond(plan.clone()),
    }
}
