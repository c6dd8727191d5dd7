use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

/// Most addresses taken from one answer; the rest is ignored.
pub(crate) const ADDRESSES_MAX: usize = 256;

/// A DNS name and the port of all its addresses.
pub(crate) type Name = (String, u16);

/// The last good answers, kept while the resolver fails.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: HashMap<Name, NameAnswer>,
    /// How often addresses changed.
    pub(crate) changes: u64,
}

/// What is known about one name.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameAnswer {
    /// Sorted, so that a rotated answer is no change; empty until the first good answer.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) resolved_at: Option<Instant>,
    pub(crate) failures: u64,
    /// Why the last look-up failed; `None` after a good one.
    pub(crate) fault: Option<String>,
}

impl Names {
    pub(crate) fn answer(&self, name: &Name) -> Option<&NameAnswer> {
        self.known.get(name)
    }

    /// Forgets the names that are not used any more.
    pub(crate) fn retain(&mut self, is_used: impl Fn(&Name) -> bool) {
        self.known.retain(|name, _| is_used(name));
    }

    /// Takes an answer into account and says whether the addresses changed. An empty answer is a failed one: it never
    /// empties the set.
    pub(crate) fn record(
        &mut self,
        name: &Name,
        found: Result<Vec<SocketAddr>, String>,
        now: Instant,
    ) -> bool {
        let answer = self.known.entry(name.clone()).or_default();
        let found = found.and_then(|found| {
            if found.is_empty() { Err("the name has no address".to_owned()) } else { Ok(found) }
        });
        match found {
            Ok(mut found) => {
                found.sort_unstable();
                found.dedup();
                found.truncate(ADDRESSES_MAX);
                (answer.resolved_at, answer.fault) = (Some(now), None);
                let changed = found != answer.addresses;
                self.changes += u64::from(changed);
                answer.addresses = found;
                changed
            }
            Err(fault) => {
                answer.failures += 1;
                answer.fault = Some(fault);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_or_empty_answer_keeps_the_last_good_one() {
        let (now, name) = (Instant::now(), ("app".to_owned(), 80));
        let mut names = Names::default();
        let good: Vec<SocketAddr> = vec!["10.0.0.2:80".parse().unwrap(), "10.0.0.1:80".parse().unwrap()];
        assert!(names.record(&name, Ok(good.clone()), now));
        assert!(!names.record(&name, Err("timed out".into()), now));
        assert!(!names.record(&name, Ok(vec![]), now));
        let answer = names.answer(&name).unwrap();
        assert_eq!((answer.addresses.len(), answer.failures), (2, 2));
        assert!(answer.fault.is_some());
        assert!(
            !names.record(&name, Ok(good.into_iter().rev().collect()), now),
            "another order is no change"
        );
        assert_eq!(names.answer(&name).unwrap().fault, None);
    }
}
