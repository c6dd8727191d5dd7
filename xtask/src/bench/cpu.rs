//! CPU time and resident memory of a process and all its descendants, from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};

/// CPU time used, in and out of the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cpu {
    pub(super) user: Duration,
    pub(super) system: Duration,
}

impl Cpu {
    pub(super) fn total(self) -> Duration {
        self.user + self.system
    }

    /// What was used since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
        }
    }
}

/// CPU time used so far by the tree under `root`.
///
/// The kernel counts it exactly and shows it in ticks of 10 ms. Children that ended before the call are not
/// counted; none of the contestants has any.
pub(super) fn time(root: u32) -> anyhow::Result<Cpu> {
    let per_second = rustix::param::clock_ticks_per_second();
    let tree = tree(root)?;
    let sum = |ticks: fn(&Stat) -> u64| {
        let ticks: u64 = tree.iter().map(ticks).sum();
        Duration::from_secs_f64(ticks as f64 / per_second as f64)
    };
    Ok(Cpu { user: sum(|stat| stat.user_ticks), system: sum(|stat| stat.system_ticks) })
}

/// Resident bytes of the tree under `root`. Pages shared between its processes count once in each.
pub(super) fn resident_bytes(root: u32) -> anyhow::Result<u64> {
    // Not the quick counter of /proc/PID/status: that one may lag by some hundred KiB per thread.
    tree(root)?
        .iter()
        .map(|stat| {
            let path = format!("/proc/{}/smaps_rollup", stat.pid);
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            parse_resident(&text).with_context(|| format!("no Rss in {path}"))
        })
        .sum()
}

struct Stat {
    pid: u32,
    parent: u32,
    user_ticks: u64,
    system_ticks: u64,
}

fn tree(root: u32) -> anyhow::Result<Vec<Stat>> {
    let mut all: HashMap<u32, Vec<Stat>> = HashMap::new();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end between listing and reading.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let stat = parse_stat(&text).with_context(|| format!("cannot read /proc/{pid}/stat"))?;
        if pid == root {
            found.push(stat);
        } else {
            all.entry(stat.parent).or_default().push(stat);
        }
    }
    ensure!(!found.is_empty(), "process {root} has ended");
    let mut next = 0;
    while let Some(stat) = found.get(next) {
        found.extend(all.remove(&stat.pid).unwrap_or_default());
        next += 1;
    }
    Ok(found)
}

/// Reads proc_pid_stat(5): fields 1 (pid), 4 (parent), 14 and 15 (user and system time).
fn parse_stat(text: &str) -> Option<Stat> {
    let pid = text.split(' ').next()?.parse().ok()?;
    // Field 2, the name, is in parentheses and may itself hold spaces and parentheses.
    let (_, rest) = text.rsplit_once(") ")?;
    let from_third: Vec<_> = rest.split_whitespace().collect();
    let number = |field: usize| from_third.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        pid,
        parent: u32::try_from(number(4)?).ok()?,
        user_ticks: number(14)?,
        system_ticks: number(15)?,
    })
}

fn parse_resident(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "42 (a) b (c)) S 7 42 42 0 -1 4194304 9 0 0 0 130 25 0 0 20 0 1 0 100 0 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.pid, stat.parent, stat.user_ticks, stat.system_ticks), (42, 7, 130, 25));
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        let text = "5581-7ffd ---p 00000000 00:00 0   [rollup]\nRss:                2840 kB\nPss:  1 kB\n";
        assert_eq!(parse_resident(text), Some(2840 * 1024));
    }

    #[test]
    fn this_process_has_memory_and_a_tree() {
        let own = std::process::id();
        assert!(resident_bytes(own).unwrap() > 100_000);
        assert!(tree(own).unwrap().iter().any(|stat| stat.pid == own));
        assert!(time(own).is_ok());
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(time(u32::MAX).is_err());
    }
}
