//! Metrics of the process itself, by their standard names, read from `/proc` at each scrape.

use std::fs;

use crate::{Collect, Exposition, Kind};

/// Clock ticks in a second as `/proc` shows them: USER_HZ, 100 on every Linux that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// The `process_*` families and `weir_build_info`. What cannot be read is left out.
#[derive(Debug, Clone)]
pub struct Process {
    version: String,
}

impl Process {
    /// With the version that the build information shows.
    pub fn new(version: &str) -> Self {
        Self { version: version.to_owned() }
    }
}

impl Collect for Process {
    fn collect(&self, out: &mut Exposition) {
        out.family("weir_build_info", "The running version; always 1.", Kind::Gauge)
            .sample(&[("version", &self.version)], 1.0);
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let families = [
            ("process_cpu_seconds_total", "User and system time spent.", Kind::Counter, cpu_seconds(&stat)),
            ("process_resident_memory_bytes", "Resident memory.", Kind::Gauge, kib_of(&status, "VmRSS:")),
            ("process_virtual_memory_bytes", "Virtual memory.", Kind::Gauge, kib_of(&status, "VmSize:")),
            ("process_open_fds", "Open descriptors.", Kind::Gauge, open_descriptors()),
            ("process_max_fds", "Most descriptors that may be open.", Kind::Gauge, descriptors_max()),
            ("process_threads", "Threads.", Kind::Gauge, word_of(&status, "Threads:")),
            ("process_start_time_seconds", "Start, in Unix time.", Kind::Gauge, start_time(&stat)),
        ];
        for (name, help, kind, value) in families {
            if let Some(value) = value {
                out.family(name, help, kind).sample(&[], value);
            }
        }
    }
}

/// A field of `/proc/self/stat`, counted from 1 as proc(5) does; the name in field 2 may have blanks in it.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(number - 3)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((stat_field(stat, 14)? + stat_field(stat, 15)?) / TICKS_PER_SECOND)
}

fn start_time(stat: &str) -> Option<f64> {
    let boot = word_of(&fs::read_to_string("/proc/stat").ok()?, "btime ")?;
    Some(boot + stat_field(stat, 22)? / TICKS_PER_SECOND)
}

fn word_of(text: &str, key: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

fn kib_of(status: &str, key: &str) -> Option<f64> {
    Some(word_of(status, key)? * 1024.0)
}

fn open_descriptors() -> Option<f64> {
    // Less the one that reads the folder.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn descriptors_max() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match soft.split_ascii_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_standard_name_is_shown_with_a_likely_value() {
        let mut out = Exposition::new();
        Process::new("1.2.3").collect(&mut out);
        let text = out.into_text();
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|l| l.starts_with(&format!("{name} "))).expect(name);
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(text.contains("weir_build_info{version=\"1.2.3\"} 1\n"));
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") < value("process_max_fds"));
        assert!(value("process_threads") >= 1.0);
        let age = crate::now_micros() as f64 / 1e6 - value("process_start_time_seconds");
        assert!((-2.0..86_400.0).contains(&age), "{age}");
    }

    #[test]
    fn a_process_name_with_blanks_and_brackets_moves_no_field() {
        let stat = "7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 250 50 0 0 20 0 1 0 900 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(stat_field(stat, 22), Some(900.0));
    }
}
