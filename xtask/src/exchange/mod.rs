//! The load of the stream benches: clients that send a message, wait for its return, and begin again.
//!
//! One thread, one `send` and one `recv` for each exchange, so that it is not the bottleneck. Every answer is compared
//! with what was sent; its last line is what the bench reads.

mod connect;
mod datagram;
mod handshake;
mod latency;
mod long;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use latency::Latencies;
use serde_json::json;

use crate::tls::Group;

/// Room for one `recv`.
const READ_BYTES: usize = 64 * 1024;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Proxy to load
    #[arg(long)]
    to: SocketAddr,
    /// What the clients do
    #[arg(long, value_enum)]
    kind: Kind,
    /// Clients at the same time
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Bytes of a message
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// How long
    #[arg(long)]
    seconds: u64,
    /// For handshakes: the certificate to trust
    #[arg(long)]
    authority: Option<PathBuf>,
    /// For handshakes: the one key exchange to offer; all by default
    #[arg(long, value_enum)]
    group: Option<Group>,
}

/// What the clients do.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// TCP, every client on one connection
    Long,
    /// TCP, a new connection for each exchange
    Connect,
    /// UDP, every client on one socket
    Datagram,
    /// Full TLS handshakes, each on a new connection
    Handshake,
}

/// Exchanges until the time is over, then prints the report.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    crate::hold::raise_descriptor_limit()?;
    let mut tally = Tally::start(Duration::from_secs(args.seconds));
    match args.kind {
        Kind::Long => long::run(args, &mut tally)?,
        Kind::Connect => connect::run(args, &mut tally)?,
        Kind::Datagram => datagram::run(args, &mut tally)?,
        Kind::Handshake => handshake::run(args, &mut tally)?,
    }
    println!("JSON {}", tally.report(args.bytes));
    Ok(())
}

/// What has happened so far.
struct Tally {
    start: Instant,
    end: Instant,
    latencies: Latencies,
    /// Exchanges that did not happen: no connection, a broken one, or no answer.
    failed: u64,
}

impl Tally {
    fn start(length: Duration) -> Self {
        let start = Instant::now();
        Self { start, end: start + length, latencies: Latencies::new(), failed: 0 }
    }

    /// Counts an exchange that took from `sent_at` until `now`.
    fn done(&mut self, sent_at: Instant, now: Instant) {
        self.latencies.record(now.saturating_duration_since(sent_at));
    }

    fn is_over(&self, now: Instant) -> bool {
        now >= self.end
    }

    /// The same keys as the script of wrk prints.
    fn report(&self, bytes: usize) -> serde_json::Value {
        let exchanges = self.latencies.count();
        json!({
            "requests": exchanges,
            "bytes": 2 * exchanges * bytes as u64,
            "duration_us": self.start.elapsed().as_micros() as u64,
            "p50_us": self.latencies.percentile(50.0).as_nanos() as f64 / 1e3,
            "p99_us": self.latencies.percentile(99.0).as_nanos() as f64 / 1e3,
            "failed": self.failed,
        })
    }
}

/// A message that no other client sends.
fn message(client: usize, bytes: usize) -> Vec<u8> {
    client.to_le_bytes().into_iter().cycle().take(bytes).collect()
}
