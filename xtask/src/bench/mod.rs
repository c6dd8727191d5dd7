//! `cargo xtask bench http1`, `tls`, `http2`, `tcp` and `udp`: Weir beside nginx and HAProxy, in one run, on pinned cores.

mod callgrind;
mod case;
mod cases;
mod certificates;
mod contestant;
mod cpu;
mod entry;
mod lab;
mod load;
mod machine;
mod probe;
mod process;
mod quantity;
mod report;
mod sampling;
mod seen;
mod stats;
mod template;

use anyhow::ensure;
use case::Case;
pub(crate) use case::Plane;
use entry::{Entry, Kind};

/// What every case can be told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cases to run; all by default
    #[arg(long = "case", value_enum, value_delimiter = ',')]
    cases: Vec<Case>,
    /// Contestants to run; all by default
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Rounds; each measures every contestant once, in rotating order
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of load per measurement, after one second of warm-up
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections or clients of a load; by default 64, 16 for 1 MiB bodies, 8 for HTTP/2 and handshakes, and iperf3's 1 and 100
    #[arg(long)]
    connections: Option<usize>,
    /// What is held: by default 10,000 connections for `idle`, 5,000 for `tls-idle`, 9,000 for `tcp-idle`, 15,000 sessions for `udp-sessions`
    #[arg(long)]
    idle: Option<usize>,
    /// Minutes of the case `soak`
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Print only; keep nothing under bench/runs
    #[arg(long)]
    scratch: bool,
    /// Measure the binary that is there, without building it first
    #[arg(long)]
    no_build: bool,
    /// The gateway's core; the load and the origin take --load-core
    #[arg(long, default_value_t = 0)]
    gateway_core: usize,
    /// The core of the load and of what stands behind the gateway
    #[arg(long, default_value_t = 1)]
    load_core: usize,
}

impl Args {
    /// Whom a case measures, without those that `--only` leaves out.
    fn entries(&self, case: Case) -> Vec<Entry> {
        let mut entries = case.entries();
        entries.retain(|entry| self.wants(entry.kind));
        entries
    }

    fn wants(&self, kind: Kind) -> bool {
        self.only.is_empty() || self.only.contains(&kind)
    }

    /// The cases to run; an error when one belongs to another plane.
    fn cases_of(&self, plane: Plane) -> anyhow::Result<Vec<Case>> {
        for case in &self.cases {
            let (name, own) = (case.name(), case.plane());
            ensure!(own == plane, "`{name}` is a case of `bench {}`", own.name());
        }
        Ok(if self.cases.is_empty() { Case::all_of(plane) } else { self.cases.clone() })
    }
}

/// Runs the cases one after the other; a case that cannot run is an error at once.
pub(crate) fn run(plane: Plane, args: &Args) -> anyhow::Result<()> {
    let cases = args.cases_of(plane)?;
    lab::prepare(&cases, args)?;
    for case in cases {
        println!("\n== {}", case.name());
        match case {
            Case::Idle | Case::TlsIdle | Case::TcpIdle | Case::UdpSessions => cases::idle::run(case, args)?,
            Case::Routes => cases::routes::run(args)?,
            Case::Soak => cases::soak::run(args)?,
            _ => cases::load::run(case, args)?,
        }
    }
    Ok(())
}
