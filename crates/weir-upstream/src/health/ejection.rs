use std::time::{Duration, Instant};

use crate::PassivePlan;

/// Longest pause, unless the configured first pause is longer: five minutes, the field's usual cap.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// The passive pause of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ejection {
    state: State,
    /// How often it was paused lately; each further pause is that many times as long.
    repeats: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Never paused.
    #[default]
    Allow,
    /// Restored at this time; the calm since then shortens the next pause.
    AllowSince(Instant),
    Block {
        until: Instant,
    },
}

impl Ejection {
    /// Starts a pause and says when it ends.
    pub(crate) fn eject(&mut self, now: Instant, plan: &PassivePlan) -> Instant {
        let calm = match self.state {
            State::AllowSince(since) => now.saturating_duration_since(since),
            State::Allow | State::Block { .. } => Duration::ZERO,
        };
        // One repetition is forgotten for each first pause's length that passed quietly.
        let forgotten = calm.as_nanos() / plan.pause.as_nanos().max(1);
        self.repeats = self.repeats.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX)) + 1;
        let pause = plan.pause.saturating_mul(self.repeats).min(PAUSE_MAX.max(plan.pause));
        let until = now + pause;
        self.state = State::Block { until };
        until
    }

    /// Ends the pause at once; the repetitions stay known.
    pub(crate) fn restore(&mut self, now: Instant) {
        if matches!(self.state, State::Block { .. }) {
            self.state = State::AllowSince(now);
        }
    }

    /// Ends the pause if its time is over.
    pub(crate) fn settle(&mut self, now: Instant) {
        if let State::Block { until } = self.state
            && now >= until
        {
            self.state = State::AllowSince(until);
        }
    }

    /// The end of the pause, while there is one.
    pub(crate) const fn until(&self) -> Option<Instant> {
        match self.state {
            State::Block { until } => Some(until),
            State::Allow | State::AllowSince(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_pause_ends_by_itself() {
        let start = Instant::now();
        let mut ejection = Ejection::default();
        assert_eq!(ejection.eject(start, &PassivePlan::default()), start + secs(30));
        ejection.settle(start + secs(29));
        assert!(ejection.until().is_some());
        ejection.settle(start + secs(30));
        assert_eq!(ejection.until(), None);
    }

    #[test]
    fn a_pause_grows_with_repetition_up_to_five_minutes() {
        let plan = PassivePlan::default();
        let mut now = Instant::now();
        let mut ejection = Ejection::default();
        for repeat in 1..=20 {
            let until = ejection.eject(now, &plan);
            assert_eq!(until - now, secs((30 * repeat).min(300)));
            now = until;
            ejection.settle(now);
        }
    }

    #[test]
    fn calm_time_shortens_the_next_pause() {
        let plan = PassivePlan::default();
        let start = Instant::now();
        let mut ejection = Ejection::default();
        ejection.eject(start, &plan);
        ejection.restore(start);
        assert_eq!(ejection.eject(start + secs(10), &plan), start + secs(10 + 60));
        ejection.restore(start + secs(10));
        assert_eq!(ejection.eject(start + secs(100), &plan), start + secs(130));
    }

    #[test]
    fn a_first_pause_longer_than_five_minutes_is_kept() {
        let plan = PassivePlan { pause: secs(600), ..PassivePlan::default() };
        let start = Instant::now();
        let mut ejection = Ejection::default();
        assert_eq!(ejection.eject(start, &plan), start + secs(600));
        assert_eq!(ejection.eject(start, &plan), start + secs(600));
    }
}
