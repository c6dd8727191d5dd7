use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So long a pair may be broken before that is told: whoever renews it writes one file behind the other.
const GRACE: Duration = Duration::from_secs(2);

/// Decides which faults are told, each once.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Faults as the last look found them, by listener and text.
    known: HashMap<(Arc<str>, String), Fault>,
    /// The same as this look finds them.
    found: HashMap<(Arc<str>, String), Fault>,
    again: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    since: Instant,
    is_told: bool,
}

impl Patience {
    /// A look begins.
    pub(super) fn begin(&mut self) {
        self.found.clear();
        self.again = None;
    }

    /// Whether a fault that is there at `now` is to be told; at once where somebody asked.
    pub(super) fn is_to_be_told(&mut self, fault: (&Arc<str>, &str), now: Instant, is_asked: bool) -> bool {
        let key = (Arc::clone(fault.0), fault.1.to_owned());
        let before = self.known.get(&key).copied().unwrap_or(Fault { since: now, is_told: false });
        let is_over = is_asked || now >= before.since + GRACE;
        self.found.insert(key, Fault { is_told: before.is_told || is_over, ..before });
        if !is_over {
            let due = before.since + GRACE;
            self.again = Some(self.again.map_or(due, |again| again.min(due)));
        }
        is_over && !before.is_told
    }

    /// The look is over: what it did not find is mended. When to look again, if something waits to be told.
    pub(super) fn end(&mut self) -> Option<Instant> {
        std::mem::swap(&mut self.known, &mut self.found);
        self.again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(
        patience: &mut Patience,
        faults: &[&str],
        now: Instant,
        is_asked: bool,
    ) -> (Vec<bool>, Option<Instant>) {
        patience.begin();
        let listener = Arc::from("web");
        let told =
            faults.iter().map(|fault| patience.is_to_be_told((&listener, fault), now, is_asked)).collect();
        (told, patience.end())
    }

    #[test]
    fn a_fault_is_told_once_when_it_has_lasted() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        assert_eq!(look(&mut patience, &["a"], start, false), (vec![false], Some(start + GRACE)));
        let later = start + GRACE / 2;
        assert_eq!(look(&mut patience, &["a", "b"], later, false), (vec![false, false], Some(start + GRACE)));
        let over = start + GRACE;
        assert_eq!(look(&mut patience, &["a", "b"], over, false), (vec![true, false], Some(later + GRACE)));
        assert_eq!(look(&mut patience, &["a"], over + GRACE, false), (vec![false], None));
    }

    #[test]
    fn a_fault_that_was_mended_in_time_is_never_told_and_a_new_one_is_again() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        look(&mut patience, &["a"], start, false);
        look(&mut patience, &[], start + GRACE / 2, false);
        let later = start + 2 * GRACE;
        assert_eq!(look(&mut patience, &["a"], later, false).0, [false]);
        assert_eq!(look(&mut patience, &["a"], later + GRACE, false).0, [true]);
    }

    #[test]
    fn who_asks_is_told_at_once() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        assert_eq!(look(&mut patience, &["a"], start, true), (vec![true], None));
        assert_eq!(look(&mut patience, &["a"], start, true).0, [false], "told already");
    }
}
