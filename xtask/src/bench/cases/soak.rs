//! Resident memory over minutes: load, a reload every second, a thousand upgraded streams held throughout.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::idle::Held;
use crate::bench::contestant::Contestant;
use crate::bench::lab::Lab;
use crate::bench::load::wrk::Wrk;
use crate::bench::report::{Report, need};

use crate::bench::{Args, Case, Entry, Kind};

/// Upgraded streams held from start to end.
const STREAMS: usize = 1_000;

/// Time between two reloads.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

/// The share of the whole time at which memory is read first: minute 2 of 10.
const FIRST_READING: f64 = 0.2;

/// Most growth between the two readings.
const GROWTH_MAX: f64 = 1.05;

pub(in crate::bench) fn run(args: &Args) -> anyhow::Result<()> {
    need(args.wants(Kind::Weir), "weir")?;
    let whole = Duration::from_secs_f64(args.minutes * 60.0);
    let lab = Lab::open(Case::Soak, args)?;
    let contestant = Contestant::start(&lab, Case::Soak, &Entry::of(Kind::Weir))?;
    let held = Held::open(&lab, &contestant, STREAMS, "upgrade")?;
    let load =
        Wrk { scheme: "http", path: "/128", connections: 64, threads: 1, cores: lab.load_cores.clone() };
    let running = load.start(contestant.address, whole)?;

    let readings = watch(&contestant, whole)?;
    let seen = running.finish()?;
    let alive = held.close()?;

    let mut report = Report::new(Case::Soak, "seconds,resident_bytes,reload_ms", &["quantity", "value"]);
    for reading in &readings {
        report.raw(format!("{:.1},{},{:.2}", reading.at, reading.resident, reading.reload_ms));
    }
    let first = around(&readings, whole.as_secs_f64() * FIRST_READING).context("no first reading")?;
    let last = around(&readings, whole.as_secs_f64()).context("no last reading")?;
    let reload_ms = readings.iter().map(|reading| reading.reload_ms).fold(0.0, f64::max);
    let rows = [
        ("minutes", args.minutes.to_string()),
        ("requests", format!("{:.0}", seen.requests)),
        ("reloads", readings.len().to_string()),
        ("longest reload, ms", format!("{reload_ms:.1}")),
        ("resident KiB at a fifth of the time", format!("{:.0}", first / 1024.0)),
        ("resident KiB at the end", format!("{:.0}", last / 1024.0)),
        ("streams still alive", format!("{alive} of {STREAMS}")),
    ];
    rows.into_iter().for_each(|(name, value)| report.row(vec![name.to_owned(), value]));
    report.verdict("resident memory, end / a fifth of the time", last / first, GROWTH_MAX);
    report.verdict("failed requests", seen.failed, 0.0);
    report.verdict("streams lost", STREAMS as f64 - alive as f64, 0.0);
    if args.minutes < 10.0 {
        report.note(format!("the target is for 10 minutes; this run took {}", args.minutes));
    }
    report.finish(args)
}

struct Reading {
    /// Seconds since the start.
    at: f64,
    resident: u64,
    reload_ms: f64,
}

/// Reloads and reads once a second until the time is over.
fn watch(contestant: &Contestant, whole: Duration) -> anyhow::Result<Vec<Reading>> {
    let base = fs::read_to_string(&contestant.configuration)?;
    let start = Instant::now();
    let mut readings = Vec::new();
    while start.elapsed() < whole {
        let next = start + RELOAD_PAUSE * u32::try_from(readings.len() + 1)?;
        // A value that alternates: every reload has something to change.
        let timeout = if readings.len() % 2 == 0 { "30s" } else { "31s" };
        fs::write(
            &contestant.configuration,
            base.replace("response_timeout: 60s", &format!("response_timeout: {timeout}")),
        )?;
        let reload_ms = contestant.reload()?.as_secs_f64() * 1e3;
        let reading =
            Reading { at: start.elapsed().as_secs_f64(), resident: contestant.resident_bytes()?, reload_ms };
        if readings.len() % 10 == 0 {
            println!("{:>5.0} s: {} KiB resident", reading.at, reading.resident / 1024);
        }
        readings.push(reading);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(readings)
}

/// The mean of the ten readings up to `at`: one reading would catch a passing buffer.
fn around(readings: &[Reading], at: f64) -> Option<f64> {
    let upto: Vec<_> = readings.iter().rev().filter(|reading| reading.at <= at).take(10).collect();
    let sum: u64 = upto.iter().map(|reading| reading.resident).sum();
    (!upto.is_empty()).then(|| sum as f64 / upto.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_at_a_time_is_the_mean_of_what_came_just_before() {
        let readings: Vec<_> = (1..=30)
            .map(|second| Reading { at: f64::from(second), resident: second as u64, reload_ms: 1.0 })
            .collect();
        assert_eq!(around(&readings, 20.0), Some(15.5));
        assert_eq!(around(&readings, 3.0), Some(2.0));
        assert_eq!(around(&readings, 0.5), None);
    }
}
