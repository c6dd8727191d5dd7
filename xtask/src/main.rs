//! Tasks of this workspace: the benches and the small servers and clients that they need.
//!
//! `cargo xtask bench http1`, `tls`, `http2`, `tcp` and `udp` measure Weir beside nginx and HAProxy; see `bench/README.md`. Linux only: it reads
//! `/proc`, pins processes with `taskset` and installs missing tools as Debian packages.

mod bench;
mod echo;
mod exchange;
mod grpc;
mod hold;
mod install;
mod origin;
mod poll;
mod relay;
mod tls;

use bench::Plane;
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
    /// Run what stands behind measured gRPC proxies: every call is answered with a message of 16 bytes
    Grpc(grpc::Args),
    /// Run what stands behind measured stream proxies: it returns what it receives, over TCP and UDP
    Echo(echo::Args),
    /// Run the floor that gateways are compared with: a TCP relay that only receives and sends
    Relay(relay::Args),
    /// Send messages and wait for their return until the time is over
    Exchange(exchange::Args),
    /// Open connections, send one request on each, and hold them until standard input ends
    Hold(hold::Args),
}

#[derive(Subcommand)]
enum Bench {
    /// HTTP/1.1 proxying: CPU per request, memory per connection, routes, reload
    Http1(bench::Args),
    /// TLS: CPU per handshake, per request and per GB, memory per connection, many certificates
    Tls(bench::Args),
    /// HTTP/2: CPU per request and per gRPC call
    Http2(bench::Args),
    /// TCP: CPU per GB, per exchange and per connection, memory per connection
    Tcp(bench::Args),
    /// UDP: CPU per datagram, memory per session
    Udp(bench::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Bench(Bench::Http1(args)) => bench::run(Plane::Http1, &args),
        Task::Bench(Bench::Tls(args)) => bench::run(Plane::Tls, &args),
        Task::Bench(Bench::Http2(args)) => bench::run(Plane::Http2, &args),
        Task::Bench(Bench::Tcp(args)) => bench::run(Plane::Tcp, &args),
        Task::Bench(Bench::Udp(args)) => bench::run(Plane::Udp, &args),
        Task::Origin(args) => origin::run(&args),
        Task::Grpc(args) => grpc::run(&args),
        Task::Echo(args) => echo::run(&args),
        Task::Relay(args) => relay::run(&args),
        Task::Exchange(args) => exchange::run(&args),
        Task::Hold(args) => hold::run(&args),
    }
}
