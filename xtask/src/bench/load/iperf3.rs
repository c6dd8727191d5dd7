//! iperf3: as many bytes as can be.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::{Load, seconds};
use crate::bench::process::{Cores, Process, pinned};
use crate::bench::seen::Seen;
use crate::install;

/// How often a client asks a busy server again, and how long it waits before.
const BUSY_TRIES_MAX: usize = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Client to server.
pub(in crate::bench) struct Iperf3 {
    pub(in crate::bench) streams: usize,
    pub(in crate::bench) cores: Cores,
}

impl Load for Iperf3 {
    fn apply(&self, to: SocketAddr, duration: Duration) -> anyhow::Result<Seen> {
        client(&self.cores, to, &["--parallel", &self.streams.to_string(), "--time", &seconds(duration)])
    }
}

/// Runs a client against a server, or what stands before it.
pub(in crate::bench) fn client(cores: &Cores, to: SocketAddr, more: &[&str]) -> anyhow::Result<Seen> {
    for _ in 0..BUSY_TRIES_MAX {
        match try_client(cores, to, more)? {
            Answer::Measured(seen) => return Ok(seen),
            Answer::Busy => std::thread::sleep(BUSY_PAUSE),
        }
    }
    bail!("the server remained busy")
}

enum Answer {
    Measured(Seen),
    /// The server still ends the measurement before.
    Busy,
}

fn try_client(cores: &Cores, to: SocketAddr, more: &[&str]) -> anyhow::Result<Answer> {
    let mut command = pinned(cores, &install::IPERF3.path());
    command
        .args(["--json", "--client", &to.ip().to_string(), "--port", &to.port().to_string()])
        .args(more)
        .stdout(Stdio::piped());
    let output = Process::start(&mut command)?.output().context("reading from iperf3")?;
    parse(&output)
}

/// Starts a server; it listens a moment later.
pub(in crate::bench) fn server(cores: &Cores, listen: SocketAddr) -> anyhow::Result<Process> {
    let mut command = pinned(cores, &install::IPERF3.path());
    command
        .args(["--server", "--bind", &listen.ip().to_string(), "--port", &listen.port().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start(&mut command)
}

fn parse(output: &str) -> anyhow::Result<Answer> {
    let report: Value = serde_json::from_str(output).with_context(|| format!("iperf3 said: {output}"))?;
    match report["error"].as_str() {
        Some(error) if error.contains("the server is busy") => return Ok(Answer::Busy),
        Some(error) => bail!("iperf3: {error}"),
        None => {}
    }
    let received = &report["end"]["sum_received"];
    let number = |name: &str| received[name].as_f64().with_context(|| format!("no number `{name}`"));
    let (bytes, seconds) = (number("bytes")?, number("seconds")?);
    Ok(Answer::Measured(Seen { requests: 0.0, bytes, seconds, p50_us: 0.0, p99_us: 0.0, failed: 0.0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_received_counts() {
        let output =
            "{\"end\":{\"sum_sent\":{\"bytes\":12},\"sum_received\":{\"bytes\":10,\"seconds\":0.5}}}";
        let Answer::Measured(seen) = parse(output).unwrap() else { panic!("not busy") };
        assert_eq!((seen.bytes, seen.seconds), (10.0, 0.5));
    }

    #[test]
    fn a_busy_server_is_no_error_and_others_are() {
        let busy = "{\"error\":\"error - the server is busy running a test. try again later\"}";
        assert!(matches!(parse(busy), Ok(Answer::Busy)));
        assert!(parse("{\"end\":{},\"error\":\"unable to connect\"}").is_err());
    }
}
