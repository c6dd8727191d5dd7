//! What decides whether an endpoint is available: an operator's word, the active checks, the passive pause.

pub(crate) mod active;
mod ejection;
mod rise_fall;
mod slow_start;

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use weir_net::WorkerShared;
use weir_telemetry::{Level, Log, Value};

use crate::{ActivePlan, HealthPlan, PassivePlan, lock};
pub use active::CheckResult;
use ejection::Ejection;
use rise_fall::RiseFall;

/// What an operator has asked of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminState {
    /// Nothing: the checks decide.
    #[default]
    Up,
    /// No new requests; what runs is finished.
    Drain,
    /// No new requests, as if a check had failed.
    Down,
}

/// What an endpoint is and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    /// Takes requests.
    Up,
    /// The active checks fail.
    CheckFailed,
    /// Paused after failures in a row.
    Ejected,
    /// Switched to draining by an operator.
    Drained,
    /// Switched off by an operator.
    SwitchedOff,
}

impl EndpointState {
    const ALL: [Self; 5] = [Self::Up, Self::CheckFailed, Self::Ejected, Self::Drained, Self::SwitchedOff];

    /// The word used in logs, metrics and the admin API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::CheckFailed => "check-failed",
            Self::Ejected => "ejected",
            Self::Drained => "drained",
            Self::SwitchedOff => "switched-off",
        }
    }

    /// Whether it is known to be down, by its checks or by an operator. One that is paused after failures, or drained,
    /// may well serve what it has.
    pub const fn is_down(self) -> bool {
        matches!(self, Self::CheckFailed | Self::SwitchedOff)
    }

    /// Whether an operator, not a judgement, keeps requests away.
    pub const fn is_by_operator(self) -> bool {
        matches!(self, Self::Drained | Self::SwitchedOff)
    }
}

/// An endpoint became available, or ceased to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthChange {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The endpoint's shown name.
    pub endpoint: Arc<str>,
    /// What it was.
    pub from: EndpointState,
    /// What it is.
    pub to: EndpointState,
    /// The rule and the numbers behind it, for people.
    pub reason: String,
}

impl HealthChange {
    /// Tells the operator, and the connections that care.
    pub fn tell(&self, shared: &WorkerShared) {
        self.log(&shared.log);
        shared.health_changed();
    }

    /// Tells the operator.
    fn log(&self, log: &Log) {
        let level = if self.to == EndpointState::Up { Level::Info } else { Level::Warn };
        let fields = [
            ("upstream", Value::Str(&self.upstream)),
            ("endpoint", Value::Str(&self.endpoint)),
            ("from", Value::Str(self.from.as_str())),
            ("to", Value::Str(self.to.as_str())),
            ("reason", Value::Str(&self.reason)),
        ];
        log.event(level, "endpoint_state", &fields);
    }
}

/// The health of one endpoint; shared by all generations of an upstream that judge it by the same settings.
#[derive(Debug)]
pub(crate) struct Vitals {
    /// Failures in a row; written on failures only, so that successes share a clean cache line.
    streak: AtomicU32,
    /// An [`EndpointState`] for readers on the hot path; written under `condition`'s lock.
    state: AtomicU8,
    condition: Mutex<Condition>,
}

#[derive(Debug, Clone, Default)]
struct Condition {
    admin: AdminState,
    check: Option<RiseFall>,
    last_check: Option<CheckResult>,
    ejection: Ejection,
    /// When it last came up, while its weight is still ramping up.
    ramp: Option<Instant>,
}

impl Condition {
    fn state(&self) -> EndpointState {
        match self.admin {
            AdminState::Drain => EndpointState::Drained,
            AdminState::Down => EndpointState::SwitchedOff,
            AdminState::Up if self.check.is_some_and(|check| !check.is_up()) => EndpointState::CheckFailed,
            AdminState::Up if self.ejection.until().is_some() => EndpointState::Ejected,
            AdminState::Up => EndpointState::Up,
        }
    }
}

/// One endpoint's part in balancing at a moment, and until when that holds by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) state: EndpointState,
    /// Share of the weight in per cent: 100, or less while it ramps up.
    pub(crate) share: u32,
    pub(crate) holds_until: Option<Instant>,
}

impl Vitals {
    /// A healthy endpoint; `ramp_from` is set when it was added at run time.
    pub(crate) fn new(ramp_from: Option<Instant>) -> Self {
        Self::from_condition(Condition { ramp: ramp_from, ..Condition::default() }, 0)
    }

    fn from_condition(condition: Condition, streak: u32) -> Self {
        let state = AtomicU8::new(condition.state() as u8);
        Self { streak: AtomicU32::new(streak), state, condition: Mutex::new(condition) }
    }

    /// The health that goes on under new settings: what is judged by unchanged settings is kept.
    pub(crate) fn carried_over(self: &Arc<Self>, old: &HealthPlan, new: &HealthPlan) -> Arc<Self> {
        if old == new {
            return Arc::clone(self);
        }
        let mut condition = lock(&self.condition).clone();
        let mut streak = self.streak.load(Ordering::Relaxed);
        if old.active != new.active {
            (condition.check, condition.last_check) = (None, None);
        }
        if old.passive != new.passive {
            (condition.ejection, streak) = (Ejection::default(), 0);
        }
        Arc::new(Self::from_condition(condition, streak))
    }

    /// The health that goes on when connections are made in another way: failures in a row and a pause over them may
    /// have come from the old one. What the checks found stays until they find otherwise.
    pub(crate) fn unpaused(self: &Arc<Self>) -> Arc<Self> {
        if self.is_spotless() {
            return Arc::clone(self);
        }
        let condition = Condition { ejection: Ejection::default(), ..lock(&self.condition).clone() };
        Arc::new(Self::from_condition(condition, 0))
    }

    /// What the endpoint is; one relaxed load.
    pub(crate) fn state(&self) -> EndpointState {
        EndpointState::ALL[usize::from(self.state.load(Ordering::Relaxed))]
    }

    /// Whether a success could change anything; two relaxed loads.
    pub(crate) fn is_spotless(&self) -> bool {
        self.streak.load(Ordering::Relaxed) == 0 && self.state() != EndpointState::Ejected
    }

    /// Counts a failure and says how many there were in a row.
    pub(crate) fn failed(&self) -> u32 {
        self.streak.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// A good answer: failures in a row end, and so does a pause.
    pub(crate) fn succeeded(&self, now: Instant) -> Change {
        self.streak.store(0, Ordering::Relaxed);
        self.change(now, |condition| condition.ejection.restore(now))
    }

    /// Pauses the endpoint; no change if it already is blocked.
    pub(crate) fn eject(&self, now: Instant, plan: &PassivePlan) -> Change {
        self.change(now, |condition| {
            if condition.state() == EndpointState::Up {
                condition.ejection.eject(now, plan);
            }
        })
    }

    /// Takes the result of an active check into account; a good one also ends a pause.
    pub(crate) fn checked(&self, result: CheckResult, plan: &ActivePlan, now: Instant) -> Change {
        let good = result.fault.is_none();
        if good {
            self.streak.store(0, Ordering::Relaxed);
        }
        self.change(now, |condition| {
            condition.check.get_or_insert(RiseFall::Unknown).record(good, plan);
            condition.last_check = Some(result);
            if good {
                condition.ejection.restore(now);
            }
        })
    }

    /// Puts an operator's word above the checks; `Up` takes it back and ends a pause.
    pub(crate) fn set_admin(&self, admin: AdminState, now: Instant) -> Change {
        if admin == AdminState::Up {
            self.streak.store(0, Ordering::Relaxed);
        }
        self.change(now, |condition| {
            condition.admin = admin;
            if admin == AdminState::Up {
                condition.ejection.restore(now);
            }
        })
    }

    /// Lets what is over be over, and says what part the endpoint has at `now`.
    pub(crate) fn settle(&self, now: Instant, slow_start: Option<Duration>) -> (Standing, Change) {
        let change = self.change(now, |condition| condition.ejection.settle(now));
        let mut condition = lock(&self.condition);
        let state = condition.state();
        let mut standing = Standing { state, share: 100, holds_until: condition.ejection.until() };
        if state == EndpointState::Up
            && let Some(since) = condition.ramp
        {
            let elapsed = now.saturating_duration_since(since);
            match slow_start.and_then(|window| slow_start::share(elapsed, window)) {
                Some((share, wait)) => (standing.share, standing.holds_until) = (share, Some(now + wait)),
                None => condition.ramp = None,
            }
        }
        (standing, change)
    }

    /// Begins with a small share of the weight, as it was away.
    pub(crate) fn ramp_from(&self, start: Instant) {
        lock(&self.condition).ramp = Some(start);
    }

    /// The operator's word.
    pub(crate) fn admin(&self) -> AdminState {
        lock(&self.condition).admin
    }

    /// The end of the pause, while there is one.
    pub(crate) fn ejected_until(&self) -> Option<Instant> {
        lock(&self.condition).ejection.until()
    }

    /// The last active check.
    pub(crate) fn last_check(&self) -> Option<CheckResult> {
        lock(&self.condition).last_check.clone()
    }

    /// Failures in a row.
    pub(crate) fn streak(&self) -> u32 {
        self.streak.load(Ordering::Relaxed)
    }

    fn change(&self, now: Instant, edit: impl FnOnce(&mut Condition)) -> Change {
        let mut condition = lock(&self.condition);
        let from = condition.state();
        edit(&mut condition);
        let to = condition.state();
        if from != EndpointState::Up && to == EndpointState::Up {
            condition.ramp = Some(now);
        }
        self.state.store(to as u8, Ordering::Relaxed);
        (from != to).then_some((from, to))
    }
}

/// The states before and after, if they differ.
pub(crate) type Change = Option<(EndpointState, EndpointState)>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CheckPlan;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn check(good: bool) -> CheckResult {
        CheckResult {
            at: std::time::SystemTime::UNIX_EPOCH,
            took: secs(0),
            status: None,
            fault: (!good).then(|| "refused".to_owned()),
        }
    }

    #[test]
    fn a_good_check_ends_a_pause_at_once() {
        let (now, plan) = (Instant::now(), ActivePlan::new(CheckPlan::Tcp));
        let vitals = Vitals::new(None);
        vitals.eject(now, &PassivePlan::default());
        assert_eq!(vitals.state(), EndpointState::Ejected);
        assert_eq!(
            vitals.checked(check(true), &plan, now),
            Some((EndpointState::Ejected, EndpointState::Up))
        );
    }

    #[test]
    fn a_good_answer_does_not_overrule_the_active_checks() {
        let (now, plan) = (Instant::now(), ActivePlan::new(CheckPlan::Tcp));
        let vitals = Vitals::new(None);
        vitals.checked(check(false), &plan, now);
        assert_eq!(vitals.succeeded(now), None);
        assert_eq!(vitals.state(), EndpointState::CheckFailed);
    }

    #[test]
    fn an_operator_overrules_the_checks_until_taken_back() {
        let (now, plan) = (Instant::now(), ActivePlan::new(CheckPlan::Tcp));
        let vitals = Vitals::new(None);
        vitals.set_admin(AdminState::Drain, now);
        assert_eq!(vitals.state(), EndpointState::Drained);
        assert_eq!(vitals.checked(check(true), &plan, now), None);
        assert_eq!(vitals.state(), EndpointState::Drained);
        vitals.set_admin(AdminState::Up, now);
        assert_eq!(vitals.state(), EndpointState::Up);
    }

    #[test]
    fn slow_start_follows_a_recovery_but_not_the_start() {
        let now = Instant::now();
        let vitals = Vitals::new(None);
        let share = |at| vitals.settle(at, Some(secs(10))).0.share;
        assert_eq!(share(now), 100);
        vitals.eject(now, &PassivePlan::default());
        vitals.succeeded(now);
        assert_eq!(share(now), 10);
        assert_eq!(share(now + secs(5)), 50);
        assert_eq!(share(now + secs(10)), 100);
    }

    #[test]
    fn changed_settings_forget_only_what_they_judged() {
        let now = Instant::now();
        let old = HealthPlan { active: Some(ActivePlan::new(CheckPlan::Tcp)), ..HealthPlan::default() };
        let mut new = old.clone();
        new.active.as_mut().unwrap().interval = secs(1);

        let vitals = Arc::new(Vitals::new(None));
        assert!(Arc::ptr_eq(&vitals, &vitals.carried_over(&old, &old.clone())));

        vitals.checked(check(false), old.active.as_ref().unwrap(), now);
        vitals.set_admin(AdminState::Down, now);
        let next = vitals.carried_over(&old, &new);
        assert_eq!(next.state(), EndpointState::SwitchedOff);
        next.set_admin(AdminState::Up, now);
        assert_eq!(next.state(), EndpointState::Up, "the failed check belonged to the old settings");
    }
}
