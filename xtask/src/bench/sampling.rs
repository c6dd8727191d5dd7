//! Measuring contestants in turns, so that what the machine does meanwhile meets all of them alike.

use std::time::Duration;

use anyhow::Context;

use super::contestant::Contestant;
use super::cpu::Cpu;
use super::load::Load;
use super::quantity::quantities;
use super::seen::Seen;
use super::stats::Spread;
use super::{Args, Case};

/// Load before each measurement, so that connections and caches are there.
const WARM_UP: Duration = Duration::from_secs(1);

/// One measurement of one contestant.
pub(super) struct Sample {
    pub(super) round: usize,
    pub(super) contestant: String,
    pub(super) cpu: Cpu,
    pub(super) seen: Seen,
}

impl Sample {
    /// CPU time of the whole process tree, in microseconds per request.
    pub(super) fn cpu_us_per_request(&self) -> f64 {
        self.cpu.total().as_secs_f64() * 1e6 / self.seen.requests
    }

    /// The part of it spent in the kernel.
    pub(super) fn system_us_per_request(&self) -> f64 {
        self.cpu.system.as_secs_f64() * 1e6 / self.seen.requests
    }

    /// CPU time in milliseconds per 10^9 bytes delivered.
    pub(super) fn cpu_ms_per_gb(&self) -> f64 {
        self.cpu.total().as_secs_f64() * 1e3 / (self.seen.bytes / 1e9)
    }

    /// The part of it spent in the kernel.
    pub(super) fn system_ms_per_gb(&self) -> f64 {
        self.cpu.system.as_secs_f64() * 1e3 / (self.seen.bytes / 1e9)
    }

    pub(super) fn gb_per_second(&self) -> f64 {
        self.seen.bytes / 1e9 / self.seen.seconds
    }

    pub(super) fn requests_per_second(&self) -> f64 {
        self.seen.requests / self.seen.seconds
    }

    /// Share of the time in which the contestant used a core; 1 per core.
    pub(super) fn busy(&self) -> f64 {
        self.cpu.total().as_secs_f64() / self.seen.seconds
    }
}

/// Measures each contestant once per round; every round starts with another one.
pub(super) fn alternate(
    case: Case,
    contestants: &[Contestant],
    load: &dyn Load,
    args: &Args,
) -> anyhow::Result<Vec<Sample>> {
    let quantities = quantities(case);
    let mut samples = Vec::new();
    for round in 1..=args.rounds {
        for turn in 0..contestants.len() {
            let contestant = &contestants[(round - 1 + turn) % contestants.len()];
            let sample = measure(contestant, load, args.seconds, round)
                .with_context(|| format!("measuring {}", contestant.label))?;
            let numbers = quantities
                .iter()
                .map(|quantity| format!("{:>8.2} {}", (quantity.of)(&sample), quantity.title))
                .collect::<String>();
            let (rounds, label, failed) = (args.rounds, &sample.contestant, sample.seen.failed);
            println!("round {round}/{rounds} {label:<15}{numbers}, failed {failed}");
            samples.push(sample);
        }
    }
    Ok(samples)
}

/// The spread of one quantity of one contestant.
pub(super) fn spread(samples: &[Sample], contestant: &str, of: impl Fn(&Sample) -> f64) -> Option<Spread> {
    Spread::of(samples.iter().filter(|sample| sample.contestant == contestant).map(of))
}

fn measure(contestant: &Contestant, load: &dyn Load, seconds: u64, round: usize) -> anyhow::Result<Sample> {
    contestant.empty_access_log()?;
    load.apply(contestant.address, WARM_UP)?;
    contestant.empty_access_log()?;
    let before = contestant.cpu_time()?;
    let seen = load.apply(contestant.address, Duration::from_secs(seconds))?;
    let cpu = contestant.cpu_time()?.since(before);
    Ok(Sample { round, contestant: contestant.label.clone(), cpu, seen })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(contestant: &str, cpu_ms: u64, requests: f64) -> Sample {
        let seen = Seen { requests, bytes: 2e9, seconds: 2.0, p50_us: 1.0, p99_us: 2.0, failed: 0.0 };
        let cpu = Cpu { user: Duration::ZERO, system: Duration::from_millis(cpu_ms) };
        Sample { round: 1, contestant: contestant.into(), cpu, seen }
    }

    #[test]
    fn cost_is_cpu_over_what_was_delivered() {
        let sample = sample("a", 1000, 50_000.0);
        assert_eq!(sample.cpu_us_per_request(), 20.0);
        assert_eq!(sample.cpu_ms_per_gb(), 500.0);
        assert_eq!(sample.requests_per_second(), 25_000.0);
        assert_eq!(sample.busy(), 0.5);
    }

    #[test]
    fn a_spread_is_of_one_contestant_alone() {
        let samples = [sample("a", 1, 1.0), sample("b", 50, 1.0), sample("a", 3, 1.0)];
        assert_eq!(spread(&samples, "a", Sample::cpu_us_per_request).unwrap().median, 2000.0);
        assert!(spread(&samples, "c", Sample::cpu_us_per_request).is_none());
    }
}
