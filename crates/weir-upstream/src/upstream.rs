use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError, Weak};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};

use crate::balancer;
use crate::health::Change;
use crate::link::Links;
use crate::names::{Name, NameAnswer, Names};
use crate::queue::Queue;
use crate::retry_budget::Retries;
use crate::roster::{Roster, Sources};
use crate::tls_tally::TlsTally;
use crate::view::{Rules, View};
use crate::{
    AdminState, BalancePlan, CheckResult, Endpoint, EndpointState, FailureKind, HashKey, HealthChange, Lease,
    Outcome, PickError, PickRequest, RetryBudget, Tried, UpstreamPlan, lock,
};

/// Latency that a failed attempt counts as for `least_time`: a second, so that an endpoint that fails fast does not
/// look fast.
const FAILURE_LATENCY: Duration = Duration::from_secs(1);

/// A set of endpoints that serve the same thing, in one generation of the configuration.
///
/// What must survive a reload lives behind shared references, so that an old generation that still finishes requests
/// and the new one judge together.
pub struct Upstream {
    me: Weak<Self>,
    plan: UpstreamPlan,
    shared: Arc<Shared>,
    links: Links,
    view: ArcSwap<View>,
    /// Held by whoever builds the next view.
    roster: Mutex<Roster>,
}

/// What all generations of an upstream share.
#[derive(Debug)]
struct Shared {
    /// Raised when any endpoint's health changes; a view built at an older version is out of date.
    version: AtomicU64,
    queue: Arc<Queue>,
    retries: Arc<Retries>,
    names: Mutex<Names>,
    tls: Arc<TlsTally>,
    /// Held while it is decided whether one more endpoint may be paused, so that two workers do not pause the last two.
    judging: Mutex<()>,
    /// Endpoints whose pause ended by time and was not told yet.
    returned: Mutex<Vec<Arc<str>>>,
}

/// No endpoint of the upstream has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the upstream has no such endpoint")]
pub struct UnknownEndpoint;

impl Upstream {
    /// Makes the running upstream, with everything carried over from `previous` that is still judged by the same
    /// settings: requests in flight, counters and the operator's word by address, checks and pauses by address and their
    /// settings, the queue and known DNS answers by name. Changes nothing about `previous`, so that it may be given up.
    ///
    /// Endpoints that `previous` does not have begin with slow start; those of a first start do not.
    pub fn compile(plan: UpstreamPlan, previous: Option<&Arc<Self>>, now: Instant) -> Arc<Self> {
        let shared =
            previous.map_or_else(|| Shared::new(&plan.name), |previous| Arc::clone(&previous.shared));
        let ramp_from = previous.is_some().then_some(now);
        let past = previous.map(|previous| (lock(&previous.roster), &previous.plan.health));
        let past_roster = past.as_ref().map(|(roster, health)| (&**roster, *health));
        let links = Links::new(&plan, &shared.tls);
        let roster = Roster::assemble(&sources(&plan, &shared, &links), past_roster, ramp_from, now);
        drop(past);
        let view = View::new(&roster.endpoints, &rules(&plan, &roster), shared.version(), now);
        shared.note_returned(&view);
        let upstream = Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            plan,
            shared,
            links,
            view: ArcSwap::from_pointee(view),
            roster: Mutex::new(roster),
        });
        if previous.is_none() {
            upstream.shared.queue.follow(Arc::downgrade(&upstream));
        }
        upstream
    }

    /// The name that routes forward to.
    pub const fn name(&self) -> &Arc<str> {
        &self.plan.name
    }

    /// The settings.
    pub const fn plan(&self) -> &UpstreamPlan {
        &self.plan
    }

    /// What to hash for [`PickRequest::hash`]; `None` unless `balance` is `hash`.
    pub const fn hash_key(&self) -> Option<&HashKey> {
        match &self.plan.balance {
            BalancePlan::Hash(key) => Some(key),
            _ => None,
        }
    }

    /// Chooses an endpoint and takes a slot of it. Never waits; allocates only when it is the first to see a change of
    /// health.
    ///
    /// # Errors
    ///
    /// [`PickError::NoEndpoint`], [`PickError::AllTried`] or [`PickError::Busy`].
    pub fn pick(&self, request: &PickRequest, tried: &Tried) -> Result<Lease, PickError> {
        self.view(request.now).pick(request, tried)
    }

    /// [`Self::pick`], or a place in the queue while every endpoint is at its cap: at most until `until`, and at most for
    /// `queue.timeout`. Dropping the future gives the place up.
    ///
    /// # Errors
    ///
    /// All of [`PickError`] but `Busy`.
    pub async fn acquire(
        &self,
        request: &PickRequest,
        tried: &Tried,
        until: Instant,
    ) -> Result<Lease, PickError> {
        // While others wait nobody overtakes them.
        if self.shared.queue.waiting() == 0 {
            match self.pick(request, tried) {
                Err(PickError::Busy) => {}
                answer => return answer,
            }
        }
        let deadline = until.min(request.now + self.plan.queue.timeout);
        self.shared.queue.wait(&self.me, &self.plan.queue, request, tried, deadline).await
    }

    /// Judges an endpoint by the end of one attempt. Says so when that made it available or took it out.
    pub fn record(&self, endpoint: &Endpoint, outcome: Outcome, now: Instant) -> Option<HealthChange> {
        if let Some(kind) = FailureKind::of(outcome) {
            return self.failed(endpoint, kind, now);
        }
        if let Outcome::Success { head_after } = outcome {
            if self.plan.balance == BalancePlan::LeastTime {
                endpoint.ewma().observe(head_after, now);
            }
            if !endpoint.vitals.is_spotless() {
                let change = endpoint.vitals.succeeded(now);
                return self.announce(endpoint, change, now, || "a good answer".to_owned());
            }
        }
        None
    }

    fn failed(&self, endpoint: &Endpoint, kind: FailureKind, now: Instant) -> Option<HealthChange> {
        endpoint.load.tally.failures[kind as usize].fetch_add(1, Ordering::Relaxed);
        if self.plan.balance == BalancePlan::LeastTime {
            endpoint.ewma().observe(FAILURE_LATENCY, now);
        }
        let passive = self.plan.health.passive.as_ref()?;
        let streak = endpoint.vitals.failed();
        if streak < passive.failures || endpoint.state() != EndpointState::Up {
            return None;
        }
        let judging = lock(&self.shared.judging);
        if !self.may_eject(endpoint, now) {
            return None;
        }
        let change = endpoint.vitals.eject(now, passive);
        drop(judging);
        if change.is_some() {
            endpoint.load.tally.ejections.fetch_add(1, Ordering::Relaxed);
        }
        self.announce(endpoint, change, now, || {
            let pause = endpoint.vitals.ejected_until().map_or(Duration::ZERO, |until| until - now);
            format!(
                "{streak} failures in a row, the last: {}; paused for {} s",
                kind.as_str(),
                pause.as_secs()
            )
        })
    }

    /// Whether `ejected_max` has room, and another endpoint is left.
    fn may_eject(&self, endpoint: &Endpoint, now: Instant) -> bool {
        let Some(passive) = &self.plan.health.passive else { return false };
        let view = self.view(now);
        let (mut total, mut ejected, mut others) = (0_u64, 0_u64, 0_u64);
        for other in view.endpoints.iter().filter(|other| other.weight() > 0) {
            total += 1;
            ejected += u64::from(other.state() == EndpointState::Ejected);
            others += u64::from(other.id() != endpoint.id() && other.state() == EndpointState::Up);
        }
        ejected < passive.ejected_max.of(total).max(1) && others > 0
    }

    /// The guard that keeps retries from multiplying the load.
    pub const fn retry_budget(&self) -> RetryBudget<'_> {
        RetryBudget { upstream: self }
    }

    /// The endpoints as they are known now, in the order of the plan, names replaced by their addresses.
    pub fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        Arc::clone(&self.view.load().endpoints)
    }

    /// The endpoint with this shown name.
    pub fn endpoint(&self, label: &str) -> Option<Arc<Endpoint>> {
        self.view.load().endpoints.iter().find(|endpoint| **endpoint.label() == *label).cloned()
    }

    /// Whether an endpoint is available by its own health, not by panic.
    pub fn is_available(&self, now: Instant) -> bool {
        self.view(now).available > 0
    }

    /// Requests in flight at all endpoints.
    pub fn in_flight(&self) -> u64 {
        self.view.load().endpoints.iter().map(|endpoint| u64::from(endpoint.in_flight())).sum()
    }

    /// Puts an operator's word above the checks, until it is taken back with [`AdminState::Up`]; survives reloads, not
    /// restarts.
    ///
    /// # Errors
    ///
    /// [`UnknownEndpoint`] if no endpoint has this shown name.
    pub fn set_admin_state(
        &self,
        label: &str,
        admin: AdminState,
        now: Instant,
    ) -> Result<Option<HealthChange>, UnknownEndpoint> {
        let endpoint = self.endpoint(label).ok_or(UnknownEndpoint)?;
        let change = endpoint.vitals.set_admin(admin, now);
        Ok(self.announce(&endpoint, change, now, || "asked for by an operator".to_owned()))
    }

    /// Takes the result of an active check into account.
    pub fn checked(&self, endpoint: &Endpoint, result: CheckResult, now: Instant) -> Option<HealthChange> {
        let plan = self.plan.health.active.as_ref()?;
        let fault = result.fault.clone();
        let change = endpoint.vitals.checked(result, plan, now);
        self.announce(endpoint, change, now, || {
            fault.map_or_else(|| "the health check succeeds".to_owned(), |f| format!("the health check: {f}"))
        })
    }

    /// Takes the answer to a name's look-up into account and says whether the addresses changed.
    pub fn resolved(
        &self,
        name: &(String, u16),
        found: Result<Vec<SocketAddr>, String>,
        now: Instant,
    ) -> bool {
        let (is_first, changed) = {
            let mut names = lock(&self.shared.names);
            let is_first = names.answer(name).is_none_or(|answer| answer.addresses.is_empty());
            (is_first, names.record(name, found, now))
        };
        if changed {
            self.reassemble((!is_first).then_some(now), now);
        }
        changed
    }

    /// Makes this the generation that serves the queue, and catches up with what was learnt while it was compiled.
    /// Called after it was published; costs nothing when called again.
    pub fn adopt(self: &Arc<Self>, now: Instant) {
        if !self.shared.queue.follows(self) {
            self.shared.queue.follow(Arc::downgrade(self));
            // One lock after the other: who assembles takes the names within the roster.
            let names_at = lock(&self.roster).names_at;
            let is_current = {
                let mut names = lock(&self.shared.names);
                names.retain(|name| self.plan.names().any(|planned| planned == *name));
                names.changes == names_at
            };
            if is_current {
                self.shared.queue.serve(Some(now));
            } else {
                self.reassemble(Some(now), now);
            }
        }
    }

    /// Lets pauses that are over end, gives what became free to those who wait, and tells which endpoints came back by
    /// themselves since the last call, whoever noticed first.
    pub fn tick(&self, now: Instant) -> Vec<HealthChange> {
        self.refresh(now);
        let returned = std::mem::take(&mut *lock(&self.shared.returned));
        let change = |endpoint| HealthChange {
            upstream: Arc::clone(&self.plan.name),
            endpoint,
            from: EndpointState::Ejected,
            to: EndpointState::Up,
            reason: "the pause is over".to_owned(),
        };
        returned.into_iter().map(change).collect()
    }

    fn refresh(&self, now: Instant) {
        let _view = self.view(now);
        if self.shared.queue.waiting() > 0 {
            self.shared.queue.serve(Some(now));
        }
    }

    pub(crate) fn retries(&self) -> &Arc<Retries> {
        &self.shared.retries
    }

    pub(crate) fn tls_tally(&self) -> &TlsTally {
        &self.shared.tls
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.shared.queue
    }

    pub(crate) fn name_answer(&self, name: &Name) -> Option<NameAnswer> {
        lock(&self.shared.names).answer(name).cloned()
    }

    /// The view that holds now. A worker that finds it out of date builds the next one, unless another is doing so: then
    /// the old one is good enough, as nobody waits here.
    #[inline]
    pub(crate) fn view(&self, now: Instant) -> Guard<Arc<View>> {
        let view = self.view.load();
        if view.holds(self.shared.version(), now) { view } else { self.next_view(view, now) }
    }

    #[cold]
    fn next_view(&self, view: Guard<Arc<View>>, now: Instant) -> Guard<Arc<View>> {
        match self.roster.try_lock() {
            Ok(roster) => self.rebuild(&roster, now),
            Err(TryLockError::Poisoned(poisoned)) => self.rebuild(&poisoned.into_inner(), now),
            Err(TryLockError::WouldBlock) => return view,
        }
        self.view.load()
    }

    fn rebuild(&self, roster: &Roster, now: Instant) {
        let version = self.shared.version();
        let view = View::new(&roster.endpoints, &rules(&self.plan, roster), version, now);
        self.shared.note_returned(&view);
        self.view.store(Arc::new(view));
    }

    /// Makes the endpoints anew from the plan and the known names.
    fn reassemble(&self, ramp_from: Option<Instant>, now: Instant) {
        let mut roster = lock(&self.roster);
        let past = Some((&*roster, &self.plan.health));
        *roster = Roster::assemble(&sources(&self.plan, &self.shared, &self.links), past, ramp_from, now);
        self.rebuild(&roster, now);
        drop(roster);
        self.shared.queue.serve(Some(now));
    }

    /// Makes a change of health seen by all generations, and tells it.
    fn announce(
        &self,
        endpoint: &Endpoint,
        change: Change,
        now: Instant,
        reason: impl FnOnce() -> String,
    ) -> Option<HealthChange> {
        let (from, to) = change?;
        self.shared.version.fetch_add(1, Ordering::Release);
        self.refresh(now);
        let (upstream, endpoint) = (Arc::clone(&self.plan.name), Arc::clone(endpoint.label()));
        Some(HealthChange { upstream, endpoint, from, to, reason: reason() })
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Shared {
    fn new(upstream: &Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            version: AtomicU64::default(),
            queue: Arc::default(),
            retries: Arc::default(),
            names: Mutex::default(),
            tls: Arc::new(TlsTally::new(Arc::clone(upstream))),
            judging: Mutex::default(),
            returned: Mutex::default(),
        })
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn note_returned(&self, view: &View) {
        if !view.returned.is_empty() {
            lock(&self.returned).extend_from_slice(&view.returned);
        }
    }
}

const fn sources<'a>(plan: &'a UpstreamPlan, shared: &'a Shared, links: &'a Links) -> Sources<'a> {
    Sources { plan, names: &shared.names, queue: &shared.queue, links }
}

fn rules<'a>(plan: &UpstreamPlan, roster: &'a Roster) -> Rules<'a> {
    Rules {
        kind: balancer::kind(&plan.balance),
        slow_start: plan.slow_start,
        panic_threshold: plan.panic_threshold,
        carry: &roster.carry,
    }
}

#[cfg(test)]
mod tests;
