use std::time::{Duration, Instant};

use crate::end::End;

/// Most lines a second, of a listener and worker, for sessions that did not end in order.
pub(super) const LINES_MAX: u32 = 100;

const SECOND: Duration = Duration::from_secs(1);

/// Which sessions have a line in the log: whoever sends datagrams, made-up senders too, must not fill the disk with the
/// failures and evictions that follow from them.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// When the second began that `count` is of.
    since: Option<Instant>,
    count: u32,
}

impl Lines {
    /// Whether a session that ends like this has a line.
    pub(super) fn admit(&mut self, end: End, now: Instant) -> bool {
        if is_ordinary(end) {
            return true;
        }
        if self.since.is_none_or(|since| now >= since + SECOND) {
            (self.since, self.count) = (Some(now), 0);
        }
        let is_admitted = self.count < LINES_MAX;
        self.count += u32::from(is_admitted);
        is_admitted
    }
}

/// Whether it ends in its time, or with the process; every such session is told.
fn is_ordinary(end: End) -> bool {
    end == End::ShuttingDown || (end.error().is_none() && end != End::Evicted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(lines: &mut Lines, end: End, now: Instant) -> usize {
        (0..1_000).filter(|_| lines.admit(end, now)).count()
    }

    #[test]
    fn failures_and_evictions_share_a_hundred_lines_a_second() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!((0..60).all(|_| lines.admit(End::ConnectFailed, start)));
        assert_eq!(admitted(&mut lines, End::Evicted, at(500)), 40);
        assert_eq!(admitted(&mut lines, End::NoEndpoint, at(999)), 0);
        assert_eq!(admitted(&mut lines, End::ConnectFailed, at(1_000)), 100);
        assert_eq!(admitted(&mut lines, End::Overloaded, at(1_999)), 0);
        assert_eq!(admitted(&mut lines, End::Evicted, at(60_000)), 100);
    }

    #[test]
    fn sessions_that_end_in_order_or_with_the_process_all_have_a_line() {
        let (mut lines, now) = (Lines::default(), Instant::now());
        admitted(&mut lines, End::Evicted, now);
        for end in [End::Answered, End::IdleTimeout, End::EndpointRemoved, End::ShuttingDown] {
            assert_eq!(admitted(&mut lines, end, now), 1_000);
        }
    }
}
