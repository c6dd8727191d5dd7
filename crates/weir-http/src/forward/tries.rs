use weir_base::Retry;
use weir_upstream::{RetryPlan, Tried};

use super::ForwardError;
use super::attempt::Failure;

/// Most times that a request is sent again to the only endpoint because nothing was done with it.
const REFUSALS_MAX: u32 = 8;

/// Judges, after each try of one request, whether there is another. Plain: it sends nothing and knows no clock.
///
/// A try that sent nothing goes to the next endpoint, as often as there is one. What may have been seen by an
/// endpoint is repeated only where that is harmless or asked for, within `attempts` and the budget.
pub(super) struct Tries {
    /// Whether the request may be repeated although an endpoint may have acted on it.
    may_repeat: bool,
    attempts_max: u32,
    /// Whether there are statuses that are given up for another endpoint's answer.
    gives_up_statuses: bool,
    /// Times that the only endpoint was asked again after it had refused.
    refusals: u32,
    /// Tries after which an endpoint may have acted on the request.
    seen: u32,
    choice: Choice,
    /// Where it was tried; without an endpoint that is asked once more.
    tried: Tried,
    /// Why the last try failed.
    last: Option<ForwardError>,
}

/// Where the next try goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// To an endpoint that was not tried, over any connection.
    Another,
    /// To one that was not tried or the last one again, over a connection that has not served before.
    Fresh,
}

/// What is left to try with when a try has failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    /// An endpoint that has not been tried.
    pub(super) endpoint: bool,
    /// The request's body as it was sent, and time.
    pub(super) request: bool,
}

impl Tries {
    pub(super) fn new(is_idempotent: bool, plan: &RetryPlan) -> Self {
        Self {
            may_repeat: is_idempotent || plan.non_idempotent,
            attempts_max: plan.attempts,
            gives_up_statuses: !plan.statuses.is_empty(),
            refusals: 0,
            seen: 0,
            choice: Choice::Another,
            tried: Tried::new(),
            last: None,
        }
    }

    /// The endpoints that the next try does not go to.
    pub(super) fn tried(&self) -> &Tried {
        &self.tried
    }

    /// Whether the next try may use no connection that has served before.
    pub(super) fn only_fresh(&self) -> bool {
        self.choice == Choice::Fresh
    }

    /// Whether a configured status of the next try may be given up for another endpoint's answer.
    pub(super) fn may_give_up_status(&self) -> bool {
        self.may_repeat && self.gives_up_statuses && self.seen + 1 < self.attempts_max
    }

    /// Why there is no answer when no endpoint can be had: that nobody is left says less than why the last one failed.
    pub(super) fn without_endpoint(self, error: ForwardError) -> ForwardError {
        match error {
            ForwardError::Pick { .. } => self.last.unwrap_or(error),
            error => error,
        }
    }

    /// Judges a failed try at `endpoint`: on `Ok` there is another, for which `budget` was asked where it must be.
    ///
    /// # Errors
    ///
    /// The failure, which is the request's own.
    pub(super) fn judge(
        &mut self,
        failure: Failure,
        endpoint: u32,
        left: Left,
        budget: impl FnOnce() -> bool,
    ) -> Result<(), ForwardError> {
        // With no other endpoint left, one that closed an idle connection is asked once more.
        let again = !left.endpoint
            && match failure.error {
                // Connections end as others begin: each time it is another one that refuses.
                ForwardError::Refused { .. } => {
                    self.refusals += 1;
                    self.refusals <= REFUSALS_MAX
                }
                _ => failure.is_race() && self.choice == Choice::Another,
            };
        if again {
            self.choice = Choice::Fresh;
        }
        if self.choice == Choice::Another {
            self.tried.insert(endpoint);
        }
        let error = failure.error;
        let retry = error.retry();
        if retry == Retry::IfIdempotent {
            self.seen += 1;
        }
        // A status was given up only where all of this was granted before.
        if !matches!(error, ForwardError::Status(_)) {
            let may_repeat = match retry {
                Retry::Never => false,
                Retry::Always => true,
                Retry::IfIdempotent => self.may_repeat && self.seen < self.attempts_max,
            };
            let is_possible = left.request && (left.endpoint || again);
            if !may_repeat || !is_possible || (retry == Retry::IfIdempotent && !budget()) {
                return Err(error);
            }
        }
        self.last = Some(error);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Left = Left { endpoint: true, request: true };
    const ALONE: Left = Left { endpoint: false, request: true };

    fn tries(is_idempotent: bool, attempts: u32) -> Tries {
        Tries::new(is_idempotent, &RetryPlan { attempts, ..RetryPlan::default() })
    }

    fn fresh(error: ForwardError) -> Failure {
        Failure { error, reused: false }
    }

    fn race() -> Failure {
        Failure { error: ForwardError::ClosedEarly, reused: true }
    }

    fn judged(tries: &mut Tries, failure: Failure, left: Left) -> bool {
        tries.judge(failure, 1, left, || true).is_ok()
    }

    #[test]
    fn what_sent_nothing_goes_on_while_an_endpoint_is_left_and_asks_no_budget() {
        let mut tries = tries(false, 1);
        for endpoint in 0..9 {
            let failure = fresh(ForwardError::ConnectTimeout);
            let judged = tries.judge(failure, endpoint, ALL, || panic!("asked"));
            assert!(judged.is_ok());
        }
        assert!(!judged(&mut tries, fresh(ForwardError::ConnectTimeout), ALONE));
    }

    #[test]
    fn what_was_seen_is_repeated_within_its_attempts_and_only_where_that_is_harmless() {
        let mut safe = tries(true, 3);
        let results = [(); 3].map(|()| judged(&mut safe, fresh(ForwardError::ResponseTimeout), ALL));
        assert_eq!(results, [true, true, false]);
        assert!(!judged(&mut tries(false, 3), fresh(ForwardError::ClosedEarly), ALL));
        assert!(!judged(&mut tries(true, 3), fresh(ForwardError::ClientGone), ALL));
    }

    #[test]
    fn nothing_is_repeated_without_its_body_or_against_the_budget() {
        let left = Left { endpoint: true, request: false };
        assert!(!judged(&mut tries(true, 3), fresh(ForwardError::ClosedEarly), left));
        let refused = tries(true, 3).judge(race(), 1, ALL, || false);
        assert!(matches!(refused, Err(ForwardError::ClosedEarly)));
    }

    #[test]
    fn the_only_endpoint_is_asked_once_more_over_a_fresh_connection_after_a_race() {
        let mut tries = tries(true, 9);
        assert!(tries.judge(race(), 7, ALONE, || true).is_ok());
        assert!(tries.only_fresh() && !tries.tried().contains(7));
        assert!(tries.judge(fresh(ForwardError::ClosedEarly), 7, ALONE, || true).is_err());
    }

    #[test]
    fn after_a_race_others_are_asked_first() {
        let mut tries = tries(true, 9);
        assert!(tries.judge(race(), 7, ALL, || true).is_ok());
        assert!(!tries.only_fresh() && tries.tried().contains(7));
    }

    #[test]
    fn a_status_given_up_counts_as_a_try_and_is_what_is_told_when_nobody_is_left() {
        let plan = RetryPlan { attempts: 3, statuses: vec![503], ..RetryPlan::default() };
        let mut tries = Tries::new(true, &plan);
        assert!(tries.may_give_up_status());
        let given_up =
            tries.judge(fresh(ForwardError::Status(503)), 1, ALONE, || panic!("it was asked before"));
        assert!(given_up.is_ok() && tries.may_give_up_status());
        assert!(judged(&mut tries, fresh(ForwardError::ClosedEarly), ALL));
        assert!(!tries.may_give_up_status());
        let error = weir_upstream::PickError::AllTried;
        let error = tries.without_endpoint(ForwardError::Pick { upstream: "app".into(), error });
        assert!(matches!(error, ForwardError::ClosedEarly));
    }
}
