//! `cargo xtask bench http1`: Weir beside nginx and HAProxy, in one run, on pinned cores.

mod callgrind;
mod cases;
mod contestant;
mod cpu;
mod lab;
mod machine;
mod process;
mod report;
mod sampling;
mod stats;
mod template;
mod wrk;

use clap::ValueEnum;
use contestant::Kind;

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
    /// Connections of wrk; by default 64, and 16 for 1 MiB bodies
    #[arg(long)]
    connections: Option<usize>,
    /// Idle connections of the case `idle`
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
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
    /// The core of wrk and the origin
    #[arg(long, default_value_t = 1)]
    load_core: usize,
}

/// One question the bench answers.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// CPU per request: GET, 128-byte body, 64 connections
    Get128,
    /// The same with JSON access logs on
    Get128Log,
    /// CPU per GB with 1 MiB bodies
    Body1m,
    /// CPU per request with two workers against one, on the same two cores
    TwoWorkers,
    /// Resident memory per idle keep-alive connection
    Idle,
    /// Lookup and reload with 10,000 routes
    Routes,
    /// Resident memory over time, under load, reloads and held streams
    Soak,
}

impl Case {
    /// The name on the command line and in folders and templates.
    fn name(self) -> &'static str {
        match self {
            Self::Get128 => "get128",
            Self::Get128Log => "get128-log",
            Self::Body1m => "body1m",
            Self::TwoWorkers => "two-workers",
            Self::Idle => "idle",
            Self::Routes => "routes",
            Self::Soak => "soak",
        }
    }
}

/// Runs the cases one after the other; a case that cannot run is an error at once.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    lab::prepare(args)?;
    let cases = if args.cases.is_empty() { Case::value_variants() } else { &args.cases };
    for &case in cases {
        println!("\n== {}", case.name());
        match case {
            Case::Get128 | Case::Get128Log | Case::Body1m | Case::TwoWorkers => cases::load::run(case, args)?,
            Case::Idle => cases::idle::run(args)?,
            Case::Routes => cases::routes::run(args)?,
            Case::Soak => cases::soak::run(args)?,
        }
    }
    Ok(())
}
