//! CPU under load.

use crate::bench::contestant::Contestant;
use crate::bench::lab::Lab;
use crate::bench::load::Load;
use crate::bench::load::exchange::Exchange;
use crate::bench::load::h2load::{self, H2load};
use crate::bench::load::handshake::Handshakes;
use crate::bench::load::iperf3::Iperf3;
use crate::bench::load::wrk::Wrk;
use crate::bench::quantity::quantities;
use crate::bench::report::{Report, need};
use crate::bench::sampling::{Sample, alternate, spread};
use crate::bench::{Args, Case, Plane};
use crate::exchange::Kind;
use crate::tls::Group;

pub(in crate::bench) fn run(case: Case, args: &Args) -> anyhow::Result<()> {
    let entries = args.entries(case);
    need(!entries.is_empty(), "a contestant")?;
    let lab = Lab::open(case, args)?;
    let contestants: Vec<_> =
        entries.iter().map(|entry| Contestant::start(&lab, case, entry)).collect::<Result<_, _>>()?;
    let samples = alternate(case, &contestants, &*load(&lab, case, args), args)?;
    let mut report = report(case, &contestants, &samples);
    for contestant in contestants.iter().filter(|contestant| contestant.label == "weir-many") {
        report.verdict("seconds to start with 10,000 certificates", contestant.started_in.as_secs_f64(), 3.0);
    }
    if case == Case::Get128Log {
        for contestant in &contestants {
            anyhow::ensure!(contestant.access_log_lines() > 0, "{} wrote no access log", contestant.label);
        }
    }
    report.finish(args)
}

fn load(lab: &Lab, case: Case, args: &Args) -> Box<dyn Load> {
    let cores = lab.load_cores.clone();
    let clients = args.connections.unwrap_or(match case {
        Case::Body1m | Case::TlsBody1m => 16,
        Case::H2Get128 | Case::H2Grpc => 8,
        _ if case.is_handshakes() => 8,
        Case::TcpBulk => 1,
        Case::TcpBulkMany => 100,
        _ => 64,
    });
    match case {
        Case::TcpBulk | Case::TcpBulkMany => Box::new(Iperf3 { streams: clients, cores }),
        Case::TcpExchange => Box::new(Exchange { kind: Kind::Long, clients, bytes: 100, cores }),
        Case::TcpConnect => Box::new(Exchange { kind: Kind::Connect, clients, bytes: 100, cores }),
        Case::UdpEcho => Box::new(Exchange { kind: Kind::Datagram, clients, bytes: 64, cores }),
        Case::TlsP256 | Case::TlsRsa | Case::TlsHybrid | Case::TlsCertificates => {
            let group = if case == Case::TlsHybrid { Group::X25519mlkem768 } else { Group::X25519 };
            Box::new(Handshakes { group, clients, authority: lab.certificates.authority(), cores })
        }
        Case::H2Get128 => {
            Box::new(H2load { request: h2load::Request::Get("/128"), connections: clients, cores })
        }
        Case::H2Grpc => Box::new(H2load { request: h2load::Request::Call, connections: clients, cores }),
        _ => {
            let path = if matches!(case, Case::Body1m | Case::TlsBody1m) { "/1m" } else { "/128" };
            let scheme = if case.plane() == Plane::Tls { "https" } else { "http" };
            let threads = if case == Case::TwoWorkers { 2 } else { 1 };
            Box::new(Wrk { scheme, path, connections: clients, threads, cores })
        }
    }
}

fn report(case: Case, contestants: &[Contestant], samples: &[Sample]) -> Report {
    let raw = "round,contestant,requests,bytes,seconds,cpu_seconds,system_seconds,p50_us,p99_us,failed";
    let quantities = quantities(case);
    let titles = quantities.iter().map(|quantity| quantity.title.as_str());
    let columns: Vec<_> = ["contestant"].into_iter().chain(titles).chain(["failed"]).collect();
    let mut report = Report::new(case, raw, &columns);
    for sample in samples {
        let (seen, cpu) = (sample.seen, sample.cpu);
        report.raw(format!(
            "{},{},{},{},{:.3},{:.3},{:.3},{},{},{}",
            sample.round,
            sample.contestant,
            seen.requests,
            seen.bytes,
            seen.seconds,
            cpu.total().as_secs_f64(),
            cpu.system.as_secs_f64(),
            seen.p50_us,
            seen.p99_us,
            seen.failed,
        ));
    }
    for Contestant { label, .. } in contestants {
        let spreads = quantities.iter().filter_map(|quantity| spread(samples, label, quantity.of));
        let spreads = spreads.map(|spread| spread.to_string());
        let failed = failed(samples, label).to_string();
        report.row([label.clone()].into_iter().chain(spreads).chain([failed]).collect());
    }
    judge(case, samples, &mut report);
    report
}

/// A ratio that must not exceed its limit.
struct Target {
    what: &'static str,
    ours: &'static str,
    /// Of several, the better one counts.
    theirs: &'static [&'static str],
    of: fn(&Sample) -> f64,
    limit: f64,
}

fn targets(case: Case) -> Vec<Target> {
    let target = |what, theirs, of, limit| Target { what, ours: "weir", theirs, of, limit };
    let each = Sample::cpu_us_per_request;
    let gb = Sample::cpu_ms_per_gb;
    match case {
        Case::Get128 => {
            vec![target("CPU per request, weir / better peer", &["nginx", "haproxy"], each, 0.80)]
        }
        Case::Get128Log => vec![target("CPU per request, weir / nginx", &["nginx"], each, 0.85)],
        Case::Body1m => vec![target("CPU per GB, weir / haproxy", &["haproxy"], gb, 1.0)],
        Case::TwoWorkers => {
            let what = "CPU per request, two workers / one";
            vec![Target { what, ours: "weir-2", theirs: &["weir"], of: each, limit: 1.15 }]
        }
        Case::TcpBulk => vec![
            target("CPU per GB, weir / haproxy splicing", &["haproxy"], gb, 1.0),
            target("CPU per GB, weir / nginx", &["nginx"], gb, 0.40),
        ],
        Case::TlsP256 => vec![target("CPU per handshake, weir / nginx", &["nginx"], each, 0.55)],
        Case::TlsRsa => vec![target("CPU per handshake, weir / nginx", &["nginx"], each, 0.85)],
        Case::TlsGet128 => vec![target("CPU per request, weir / nginx", &["nginx"], each, 0.85)],
        Case::TlsBody1m => vec![target("CPU per GB, weir / nginx", &["nginx"], gb, 1.05)],
        Case::TlsCertificates => {
            let what = "CPU per handshake, 10,000 certificates / one";
            vec![Target { what, ours: "weir-many", theirs: &["weir"], of: each, limit: 1.02 }]
        }
        Case::H2Get128 => vec![
            target("CPU per request, weir / nginx", &["nginx"], each, 0.70),
            target("CPU per request, weir / haproxy", &["haproxy"], each, 1.4),
        ],
        Case::H2Grpc => vec![target("CPU per call, weir / nginx", &["nginx"], each, 0.75)],
        Case::TcpExchange => vec![target("CPU per exchange, weir / haproxy", &["haproxy"], each, 1.0)],
        Case::TcpConnect => vec![target("CPU per connection, weir / haproxy", &["haproxy"], each, 1.0)],
        Case::UdpEcho => vec![target("CPU per echo, weir / nginx", &["nginx"], each, 0.70)],
        _ => vec![],
    }
}

/// Adds the targets whose contestants were all measured.
fn judge(case: Case, samples: &[Sample], report: &mut Report) {
    for Target { what, ours, theirs, of, limit } in targets(case) {
        let median = |label: &str| Some(spread(samples, label, of)?.median);
        let better = theirs.iter().filter_map(|label| median(label)).reduce(f64::min);
        if let (Some(ours), Some(theirs)) = (median(ours), better) {
            report.verdict(what, ours / theirs, limit);
        }
    }
    if samples.iter().any(|sample| is_weir(&sample.contestant)) {
        let ours = samples.iter().filter(|sample| is_weir(&sample.contestant));
        // A datagram may be lost; that is ours to answer for as far as nginx does better.
        let allowed = if case == Case::UdpEcho { failed(samples, "nginx") } else { 0.0 };
        report.verdict("failures of weir", ours.map(|sample| sample.seen.failed).sum(), allowed);
    }
}

fn is_weir(label: &str) -> bool {
    label.split('-').next() == Some("weir")
}

fn failed(samples: &[Sample], label: &str) -> f64 {
    samples.iter().filter(|sample| sample.contestant == label).map(|sample| sample.seen.failed).sum()
}
