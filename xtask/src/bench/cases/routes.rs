//! Ten thousand routes: instructions per lookup, and a reload under load.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use anyhow::Context;

use crate::bench::contestant::Contestant;
use crate::bench::lab::{self, Lab};
use crate::bench::load::wrk::Wrk;
use crate::bench::report::{Report, need};
use crate::bench::stats::Spread;

use crate::bench::{Args, Case, Entry, Kind, callgrind};

const FEW: u64 = 10;
const MANY: u64 = 10_000;

/// Most instructions per lookup among many routes, relative to few.
const LOOKUP_RATIO_MAX: f64 = 2.0;

/// Longest reload, in milliseconds.
const RELOAD_MS_MAX: f64 = 200.0;

/// Time between two reloads under load.
const RELOAD_PAUSE: Duration = Duration::from_millis(300);

pub(in crate::bench) fn run(args: &Args) -> anyhow::Result<()> {
    need(args.wants(Kind::Weir), "weir")?;
    let mut report = Report::new(Case::Routes, "quantity,value", &["quantity", "value"]);
    lookups(args, &mut report)?;
    reloads(args, &mut report)?;
    report.finish(args)
}

fn lookups(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    if !args.no_build {
        lab::cargo(&["build", "--release", "--package", "weir-route", "--example", "lookup_cost"])?;
    }
    let (few, many) = (lookup(FEW)?, lookup(MANY)?);
    for (routes, cost) in [(FEW, few), (MANY, many)] {
        println!("{routes} routes: {cost:.0} instructions per lookup");
        report.raw(format!("instructions_per_lookup_{routes},{cost:.1}"));
        report.row(vec![format!("instructions per lookup, {routes} routes"), format!("{cost:.0}")]);
    }
    report.verdict("instructions per lookup, 10,000 routes / 10", many / few, LOOKUP_RATIO_MAX);
    Ok(())
}

/// Instructions per lookup: the difference of two runs, so that building the table does not count.
fn lookup(routes: u64) -> anyhow::Result<f64> {
    /// A multiple of both route counts, so that lookups spread evenly.
    const LOOKUPS: u64 = 20_000;
    let program = lab::built("release/examples/lookup_cost")?;
    let count = |lookups: u64| callgrind::instructions(&program, &[routes.to_string(), lookups.to_string()]);
    let (once, again) = (count(LOOKUPS)?, count(3 * LOOKUPS)?);
    let difference = again.checked_sub(once).context("more lookups took fewer instructions")?;
    Ok(difference as f64 / (2 * LOOKUPS) as f64)
}

fn reloads(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let lab = Lab::open(Case::Routes, args)?;
    let contestant = Contestant::start(&lab, Case::Routes, &Entry::of(Kind::Weir))?;
    let base = fs::read_to_string(&contestant.configuration)?;
    let load =
        Wrk { scheme: "http", path: "/128", connections: 64, threads: 1, cores: lab.load_cores.clone() };
    fs::write(&contestant.configuration, with_routes(&base, MANY, 0))?;
    contestant.reload()?;

    let running = load.start(contestant.address, RELOAD_PAUSE * u32::try_from(2 * args.rounds)?)?;
    let mut times = Vec::new();
    for revision in 1..=args.rounds {
        // Each file differs from the one before, so that none can be skipped as known.
        fs::write(&contestant.configuration, with_routes(&base, MANY, revision))?;
        std::thread::sleep(RELOAD_PAUSE);
        let took = contestant.reload()?.as_secs_f64() * 1e3;
        println!("reload {revision}: {took:.0} ms");
        report.raw(format!("reload_ms,{took:.1}"));
        times.push(took);
    }
    let seen = running.finish()?;
    report.raw(format!("failed_during_reloads,{}", seen.failed));
    let spread = Spread::of(times).context("no round")?;
    report.row(vec!["reload of 10,000 routes under load, ms".into(), spread.to_string()]);
    report.row(vec!["requests meanwhile".into(), format!("{:.0}", seen.requests)]);
    report.verdict("longest reload in ms", spread.max, RELOAD_MS_MAX);
    report.verdict("failed requests during reloads", seen.failed, 0.0);
    Ok(())
}

/// The configuration with `count` more routes: a third by exact host, the rest by literal and parameter paths.
fn with_routes(base: &str, count: u64, revision: usize) -> String {
    let mut routes = String::from("routes:\n");
    for route in 0..count {
        let (service, item) = (route / 100, route % 100);
        let matcher = match route % 3 {
            0 => format!("host: s{service}.bench.example, path: /items/{item}/*"),
            1 => format!("path: /service-{service}/items-{item}"),
            _ => format!("path: /service-{service}/items-{item}/:id/revision-{revision}"),
        };
        writeln!(routes, "  - {{ match: {{ {matcher} }}, forward: origin }}").expect("a String takes all");
    }
    base.replacen("routes:\n", &routes, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_written_and_the_rest_is_kept() {
        let text = with_routes("workers: 1\nroutes:\n  - own\nlog: {}\n", 300, 7);
        assert_eq!(text.matches("forward: origin").count(), 300);
        assert!(text.starts_with("workers: 1\nroutes:\n  - {") && text.ends_with("\n  - own\nlog: {}\n"));
    }

    #[test]
    fn another_revision_is_another_text() {
        let base = "routes:\n";
        assert_ne!(with_routes(base, 3, 1), with_routes(base, 3, 2));
        assert_eq!(with_routes(base, 3, 1), with_routes(base, 3, 1));
    }

    #[test]
    fn no_route_is_written_twice() {
        let text = with_routes("routes:\n", MANY, 1);
        let distinct: std::collections::HashSet<_> = text.lines().collect();
        assert_eq!(distinct.len() as u64, MANY + 1);
    }
}
