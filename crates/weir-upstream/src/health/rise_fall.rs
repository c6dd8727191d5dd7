use crate::ActivePlan;

/// The verdict of the active checks, with the run of results that may change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RiseFall {
    /// Never checked: counts as up, so that a start is not an outage; the first result decides alone.
    Unknown,
    /// Good, with this many failures in a row since.
    Up { failures: u32 },
    /// Bad, with this many good results in a row since.
    Down { successes: u32 },
}

impl RiseFall {
    /// Takes one result into account.
    pub(crate) fn record(&mut self, good: bool, plan: &ActivePlan) {
        *self = match (*self, good) {
            (Self::Unknown | Self::Up { .. }, true) => Self::Up { failures: 0 },
            (Self::Unknown, false) | (Self::Down { .. }, false) => Self::Down { successes: 0 },
            (Self::Up { failures }, false) if failures + 1 >= plan.down_after => Self::Down { successes: 0 },
            (Self::Up { failures }, false) => Self::Up { failures: failures + 1 },
            (Self::Down { successes }, true) if successes + 1 >= plan.up_after => Self::Up { failures: 0 },
            (Self::Down { successes }, true) => Self::Down { successes: successes + 1 },
        };
    }

    /// Whether requests may be sent.
    pub(crate) const fn is_up(self) -> bool {
        !matches!(self, Self::Down { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CheckPlan;

    fn after(results: &[bool]) -> RiseFall {
        let plan = ActivePlan::new(CheckPlan::Tcp);
        let mut verdict = RiseFall::Unknown;
        for good in results {
            verdict.record(*good, &plan);
        }
        verdict
    }

    #[test]
    fn an_endpoint_is_up_until_its_first_check_which_decides_alone() {
        assert!(after(&[]).is_up());
        assert!(after(&[true]).is_up());
        assert!(!after(&[false]).is_up());
    }

    #[test]
    fn an_endpoint_goes_down_only_after_three_failures_in_a_row() {
        assert!(after(&[true, false, false]).is_up());
        assert!(after(&[true, false, false, true, false, false]).is_up());
        assert!(!after(&[true, false, false, false]).is_up());
    }

    #[test]
    fn an_endpoint_comes_up_only_after_two_good_checks_in_a_row() {
        assert!(!after(&[false, true]).is_up());
        assert!(!after(&[false, true, false, true]).is_up());
        assert!(after(&[false, true, true]).is_up());
    }
}
