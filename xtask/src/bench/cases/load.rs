//! CPU under load: `get128`, `get128-log`, `body1m` and `two-workers`.

use clap::ValueEnum;

use crate::bench::contestant::{Contestant, Kind};
use crate::bench::lab::Lab;
use crate::bench::report::Report;
use crate::bench::sampling::{Sample, alternate, spread};
use crate::bench::wrk::Load;
use crate::bench::{Args, Case};

/// Limits of the targets, as ratios.
const GET128_MAX: f64 = 0.80;
const GET128_LOG_MAX: f64 = 0.85;
const BODY1M_MAX: f64 = 1.0;
const TWO_WORKERS_MAX: f64 = 1.15;

pub(in crate::bench) fn run(case: Case, args: &Args) -> anyhow::Result<()> {
    let lab = Lab::open(case, args)?;
    let contestants = start(&lab, case, args)?;
    let samples = alternate(&contestants, &load(&lab, case, args), args)?;
    if case == Case::Get128Log {
        for contestant in &contestants {
            anyhow::ensure!(contestant.access_log_lines() > 0, "{} wrote no access log", contestant.label);
        }
    }
    report(case, &contestants, &samples).finish(args)
}

fn start(lab: &Lab, case: Case, args: &Args) -> anyhow::Result<Vec<Contestant>> {
    let workers: &[usize] = if case == Case::TwoWorkers { &[1, 2] } else { &[1] };
    let mut contestants = Vec::new();
    for &kind in Kind::value_variants() {
        // HAProxy writes access logs only to a syslog server, which is another job.
        let compared = case != Case::Get128Log || kind != Kind::Haproxy;
        if compared && (args.only.is_empty() || args.only.contains(&kind)) {
            for &count in workers {
                contestants.push(Contestant::start(lab, case, kind, count)?);
            }
        }
    }
    Ok(contestants)
}

fn load(lab: &Lab, case: Case, args: &Args) -> Load {
    let (path, connections) = match case {
        Case::Body1m => ("/1m", 16),
        _ => ("/128", 64),
    };
    let threads = if case == Case::TwoWorkers { 2 } else { 1 };
    Load {
        path,
        connections: args.connections.unwrap_or(connections),
        threads,
        cores: lab.load_cores.clone(),
    }
}

fn report(case: Case, contestants: &[Contestant], samples: &[Sample]) -> Report {
    let raw = "round,contestant,requests,bytes,seconds,cpu_seconds,cpu_us_per_request,system_us_per_request,cpu_ms_per_gb,requests_per_second,\
               p50_us,p99_us,failed";
    let columns = [
        "contestant",
        "CPU µs/request",
        "of it kernel",
        "CPU ms/GB",
        "requests/s",
        "p50 µs",
        "p99 µs",
        "cores busy",
        "failed",
    ];
    let mut report = Report::new(case, raw, &columns);
    for sample in samples {
        let (seen, cpu) = (sample.seen, sample.cpu.total().as_secs_f64());
        report.raw(format!(
            "{},{},{},{},{:.3},{cpu:.3},{:.3},{:.3},{:.1},{:.0},{},{},{}",
            sample.round,
            sample.contestant,
            seen.requests,
            seen.bytes,
            seen.seconds,
            sample.cpu_us_per_request(),
            sample.system_us_per_request(),
            sample.cpu_ms_per_gb(),
            sample.requests_per_second(),
            seen.p50_us,
            seen.p99_us,
            seen.failed,
        ));
    }
    for contestant in contestants {
        let quantities: [fn(&Sample) -> f64; 7] = [
            Sample::cpu_us_per_request,
            Sample::system_us_per_request,
            Sample::cpu_ms_per_gb,
            Sample::requests_per_second,
            |sample| sample.seen.p50_us,
            |sample| sample.seen.p99_us,
            Sample::busy,
        ];
        let mut cells = vec![contestant.label.clone()];
        let spreads = quantities.map(|of| spread(samples, &contestant.label, of));
        cells.extend(
            spreads.into_iter().map(|spread| spread.map_or_else(String::new, |spread| spread.to_string())),
        );
        cells.push(failed(samples, &contestant.label).to_string());
        report.row(cells);
    }
    judge(case, samples, &mut report);
    report
}

/// Adds the targets whose contestants were all measured.
fn judge(case: Case, samples: &[Sample], report: &mut Report) {
    let request = |label: &str| Some(spread(samples, label, Sample::cpu_us_per_request)?.median);
    let gigabyte = |label: &str| Some(spread(samples, label, Sample::cpu_ms_per_gb)?.median);
    let weir = Kind::Weir.name();
    let (what, ratio, limit) = match case {
        Case::Get128 => {
            let better = [request("nginx"), request("haproxy")].into_iter().flatten().reduce(f64::min);
            ("CPU per request, weir / better peer", divide(request(weir), better), GET128_MAX)
        }
        Case::Get128Log => {
            ("CPU per request, weir / nginx", divide(request(weir), request("nginx")), GET128_LOG_MAX)
        }
        Case::Body1m => {
            ("CPU per GB, weir / haproxy", divide(gigabyte(weir), gigabyte("haproxy")), BODY1M_MAX)
        }
        _ => {
            ("CPU per request, two workers / one", divide(request("weir-2"), request(weir)), TWO_WORKERS_MAX)
        }
    };
    if let Some(ratio) = ratio {
        report.verdict(what, ratio, limit);
        report.verdict("failed requests of weir", failed(samples, weir) + failed(samples, "weir-2"), 0.0);
    }
}

fn divide(ours: Option<f64>, theirs: Option<f64>) -> Option<f64> {
    Some(ours? / theirs?)
}

fn failed(samples: &[Sample], label: &str) -> f64 {
    samples.iter().filter(|sample| sample.contestant == label).map(|sample| sample.seen.failed).sum()
}
