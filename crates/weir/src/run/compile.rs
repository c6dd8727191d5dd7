//! From a plan to what runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use weir_http::{Limits, ListenerPlan, Plane, PlanePlan, RoutePlan, SplitPlan};
use weir_net::DescriptorLimit;
use weir_upstream::Upstream;

use super::listeners::Listeners;
use crate::plan::{ActionPlan, RootPlan};

/// Descriptors that are not for connections: runtimes, logs, listeners, the admin address, files being read.
const DESCRIPTORS_RESERVED: u64 = 64;

/// Compiles what changed; an upstream whose plan is the same is the same upstream.
pub(super) fn compile_upstreams(
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
    upstreams: &BTreeMap<Arc<str>, Arc<Upstream>>,
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
            action: compile_action(&route.action, upstreams),
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
                normalize_path: listener.normalize_path,
                proxy_protocol: listener.proxy_protocol,
            };
            (listeners.id(name), plan)
        })
        .collect();
    let spare = descriptors.soft.saturating_sub(DESCRIPTORS_RESERVED);
    let allowed = u32::try_from(spare).unwrap_or(u32::MAX).max(1);
    let limits =
        Limits { connections: plan.limits.connections.unwrap_or(u32::MAX).min(allowed), ..plan.limits.base };
    let plane = PlanePlan {
        table: Arc::clone(&plan.table),
        routes,
        listeners: by_id,
        trusted: plan.trusted_proxies.clone(),
        timeouts: plan.timeouts,
        limits,
        revision,
        shards: workers + 1,
    };
    Plane::compile(plane, previous)
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
