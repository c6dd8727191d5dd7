use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::source::Source;

/// Wrong tokens from one source within [`LOCKOUT_WINDOW`] after which it is locked out.
pub const TOKEN_FAILURES_MAX: u32 = 10;

/// How long wrong tokens are counted together, and how long a lock-out lasts; what comes during one does not prolong it.
pub const LOCKOUT_WINDOW: Duration = Duration::from_secs(60);

/// Most sources of wrong tokens that are remembered, about 64 KiB. For one more, those are forgotten whose time has
/// passed, else the one with the fewest failures: who is locked out goes last.
pub const LOCKOUT_SOURCES_MAX: usize = 1_024;

/// Most reports in [`LOCKOUT_WINDOW`], from all sources together; what is left out is counted in the next one.
pub const LOCKOUT_REPORTS_MAX: u32 = 10;

/// For the log: somebody presented a wrong token. Reported for a source's first one and when it is locked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRefused {
    /// An IPv4 address, a /64 of IPv6, or `unix`.
    pub source: String,
    /// Wrong tokens from there within [`LOCKOUT_WINDOW`].
    pub failures: u32,
    /// How long the source is locked out, if it is.
    pub locked_for: Option<Duration>,
    /// Wrong tokens, of any source, since the last report that are in no report.
    pub unreported: u64,
}

/// Wrong tokens by source.
#[derive(Debug, Default)]
pub(crate) struct Lockout {
    rows: HashMap<Source, Row>,
    reports: Reports,
}

/// What a wrong token leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// For the log.
    pub(crate) report: Option<TokenRefused>,
    /// Whether another source was forgotten before its time.
    pub(crate) forgot: bool,
}

/// Locked out from [`TOKEN_FAILURES_MAX`] failures on.
#[derive(Debug, Clone, Copy)]
struct Row {
    failures: u32,
    until: Instant,
}

impl Row {
    fn is_locked(&self) -> bool {
        self.failures >= TOKEN_FAILURES_MAX
    }
}

impl Lockout {
    /// How much longer a source is locked out.
    pub(crate) fn locked_for(&self, source: Source, now: Instant) -> Option<Duration> {
        let row = self.rows.get(&source).filter(|row| row.is_locked())?;
        row.until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Counts a wrong token. Linear in [`LOCKOUT_SOURCES_MAX`] when that is reached.
    pub(crate) fn fail(&mut self, source: Source, now: Instant) -> Failure {
        let known = self.rows.get(&source).copied().filter(|row| row.until > now);
        let mut row = known.unwrap_or(Row { failures: 0, until: now + LOCKOUT_WINDOW });
        row.failures += 1;
        let is_news = row.failures == 1 || row.failures == TOKEN_FAILURES_MAX;
        let locked_for = row.is_locked().then_some(LOCKOUT_WINDOW);
        if row.failures == TOKEN_FAILURES_MAX {
            row.until = now + LOCKOUT_WINDOW;
        }
        let is_full = self.rows.len() >= LOCKOUT_SOURCES_MAX && !self.rows.contains_key(&source);
        let forgot = is_full && self.make_room(now);
        self.rows.insert(source, row);
        let report = self.reports.take(is_news, now).map(|unreported| TokenRefused {
            source: source.to_string(),
            failures: row.failures,
            locked_for,
            unreported,
        });
        Failure { report, forgot }
    }

    /// Whether a source had to be forgotten before its time.
    fn make_room(&mut self, now: Instant) -> bool {
        self.rows.retain(|_, row| row.until > now);
        if self.rows.len() < LOCKOUT_SOURCES_MAX {
            return false;
        }
        let least =
            self.rows.iter().min_by_key(|(_, row)| (row.failures, row.until)).map(|(source, _)| *source);
        least.is_some_and(|source| self.rows.remove(&source).is_some())
    }
}

/// Bounds what is logged.
#[derive(Debug, Default)]
struct Reports {
    /// Until when, and how many so far.
    window: Option<(Instant, u32)>,
    unreported: u64,
}

impl Reports {
    /// The failures that were left out before this one, if this one may be reported.
    fn take(&mut self, is_news: bool, now: Instant) -> Option<u64> {
        let (until, count) =
            self.window.filter(|(until, _)| *until > now).unwrap_or((now + LOCKOUT_WINDOW, 0));
        if !is_news || count >= LOCKOUT_REPORTS_MAX {
            self.unreported += 1;
            return None;
        }
        self.window = Some((until, count + 1));
        Some(std::mem::take(&mut self.unreported))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn source(number: u32) -> Source {
        Source::V4(Ipv4Addr::from(number))
    }

    fn fail_often(lockout: &mut Lockout, source: Source, times: u32, now: Instant) {
        for _ in 0..times {
            lockout.fail(source, now);
        }
    }

    #[test]
    fn the_tenth_failure_locks_a_source_out_for_a_minute_and_no_other() {
        let (mut lockout, start) = (Lockout::default(), Instant::now());
        fail_often(&mut lockout, source(1), TOKEN_FAILURES_MAX - 1, start);
        assert_eq!(lockout.locked_for(source(1), start), None);
        let late = start + LOCKOUT_WINDOW - SECOND;
        lockout.fail(source(1), late);
        assert_eq!(lockout.locked_for(source(1), late), Some(LOCKOUT_WINDOW));
        assert_eq!(lockout.locked_for(source(2), late), None);
        let end = late + LOCKOUT_WINDOW;
        assert_eq!(lockout.locked_for(source(1), end - SECOND), Some(SECOND));
        assert_eq!(lockout.locked_for(source(1), end), None);
        lockout.fail(source(1), end);
        assert_eq!(lockout.locked_for(source(1), end), None, "the count begins anew");
    }

    #[test]
    fn failures_far_apart_lock_nobody_out() {
        let (mut lockout, start) = (Lockout::default(), Instant::now());
        for minute in 0..10 {
            let now = start + LOCKOUT_WINDOW * minute;
            fail_often(&mut lockout, source(1), TOKEN_FAILURES_MAX - 1, now);
            assert_eq!(lockout.locked_for(source(1), now), None);
        }
    }

    #[test]
    fn failures_during_a_lockout_do_not_prolong_it() {
        let (mut lockout, start) = (Lockout::default(), Instant::now());
        fail_often(&mut lockout, source(1), TOKEN_FAILURES_MAX, start);
        fail_often(&mut lockout, source(1), 100, start + 30 * SECOND);
        assert_eq!(lockout.locked_for(source(1), start + LOCKOUT_WINDOW), None);
    }

    #[test]
    fn many_sources_do_not_push_out_who_is_locked_out() {
        let (mut lockout, start) = (Lockout::default(), Instant::now());
        fail_often(&mut lockout, source(0), TOKEN_FAILURES_MAX, start);
        let forgot = (1..20_000).filter(|&number| lockout.fail(source(number), start).forgot).count();
        assert_eq!(lockout.rows.len(), LOCKOUT_SOURCES_MAX);
        assert!(lockout.locked_for(source(0), start).is_some());
        assert_eq!(forgot, 20_000 - LOCKOUT_SOURCES_MAX);
        assert!(!lockout.fail(source(30_000), start + LOCKOUT_WINDOW).forgot);
        assert_eq!(lockout.rows.len(), 1, "what has passed is forgotten without being counted");
    }

    #[test]
    fn the_first_failure_and_the_lockout_are_reported() {
        let (mut lockout, start) = (Lockout::default(), Instant::now());
        let reports: Vec<TokenRefused> =
            (0..15).filter_map(|_| lockout.fail(source(1), start).report).collect();
        let report = |failures, locked_for, unreported| TokenRefused {
            source: "0.0.0.1".to_owned(),
            failures,
            locked_for,
            unreported,
        };
        assert_eq!(reports, [report(1, None, 0), report(10, Some(LOCKOUT_WINDOW), 8)]);
    }

    #[test]
    fn reports_are_bounded_over_all_sources_and_the_rest_is_counted() {
        let (mut lockout, start) = (Lockout::default(), Instant::now());
        let reported =
            (0..500).filter(|&number| lockout.fail(source(number), start).report.is_some()).count();
        assert_eq!(reported, LOCKOUT_REPORTS_MAX as usize);
        let next = lockout.fail(source(1_000), start + LOCKOUT_WINDOW).report.unwrap();
        assert_eq!(next.unreported, 490);
    }
}
