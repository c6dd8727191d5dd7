//! Tasks of this workspace: the benches and the small servers and clients that they need.
//!
//! `cargo xtask bench http1` measures Weir beside nginx and HAProxy; see `bench/README.md`. Linux only: it reads
//! `/proc`, pins processes with `taskset` and installs missing tools as Debian packages.

mod bench;
mod hold;
mod install;
mod origin;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of this workspace")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure Weir beside its peers
    #[command(subcommand)]
    Bench(Bench),
    /// Run the benches' origin server: GET /128, /1m and /upgrade
    Origin(origin::Args),
    /// Open connections, send one request on each, and hold them until standard input ends
    Hold(hold::Args),
}

#[derive(Subcommand)]
enum Bench {
    /// HTTP/1.1 proxying: CPU per request, memory per connection, routes, reload
    Http1(bench::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Bench(Bench::Http1(args)) => bench::run(&args),
        Task::Origin(args) => origin::run(&args),
        Task::Hold(args) => hold::run(&args),
    }
}
