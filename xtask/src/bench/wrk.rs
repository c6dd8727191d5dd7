//! wrk, and what its script reports.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::process::{Cores, Process, pinned};
use crate::install;

/// A load to apply.
#[derive(Clone)]
pub(super) struct Load {
    pub(super) path: &'static str,
    pub(super) connections: usize,
    pub(super) threads: usize,
    pub(super) cores: Cores,
}

/// What wrk saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    /// Complete responses.
    pub(super) requests: f64,
    /// Bytes received, heads included.
    pub(super) bytes: f64,
    pub(super) seconds: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Statuses of 400 and above, and socket errors and timeouts.
    pub(super) failed: f64,
}

/// A wrk that is running.
pub(super) struct Running {
    process: Process,
}

impl Load {
    /// Applies the load and waits for its end.
    pub(super) fn apply(&self, to: SocketAddr, duration: Duration) -> anyhow::Result<Seen> {
        self.start(to, duration)?.finish()
    }

    /// Starts the load; `duration` is rounded up to seconds, as wrk has no finer ones.
    pub(super) fn start(&self, to: SocketAddr, duration: Duration) -> anyhow::Result<Running> {
        let script = super::lab::bench_folder()?.join("wrk-report.lua");
        let mut command = pinned(&self.cores, &install::WRK.path());
        command
            .args(["-t", &self.threads.to_string(), "-c", &self.connections.to_string()])
            .args(["-d", &format!("{}s", duration.as_secs_f64().ceil()), "--timeout", "10s"])
            .arg("-s")
            .arg(script)
            .arg(format!("http://{to}{}", self.path))
            .stdout(Stdio::piped());
        Ok(Running { process: Process::start(&mut command)? })
    }
}

impl Running {
    /// Waits for its end.
    pub(super) fn finish(mut self) -> anyhow::Result<Seen> {
        let output = self.process.output().context("reading from wrk")?;
        parse(&output).with_context(|| format!("wrk said: {output}"))
    }
}

fn parse(output: &str) -> anyhow::Result<Seen> {
    let line = output.lines().find_map(|line| line.strip_prefix("JSON ")).context("no report")?;
    let report: Value = serde_json::from_str(line)?;
    let number = |name: &str| report[name].as_f64().with_context(|| format!("no number `{name}`"));
    let seen = Seen {
        requests: number("requests")?,
        bytes: number("bytes")?,
        seconds: number("duration_us")? / 1e6,
        p50_us: number("p50_us")?,
        p99_us: number("p99_us")?,
        failed: number("failed")?,
    };
    ensure!(seen.requests > 0.0, "not one request succeeded");
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_found_among_what_wrk_prints() {
        let output = "Running 5s test @ http://127.0.0.1:1/128\n\
            JSON {\"requests\":1000,\"bytes\":300000,\"duration_us\":2000000,\"p50_us\":80,\"p99_us\":200,\"failed\":2}\n";
        let seen = parse(output).unwrap();
        let wanted = Seen {
            requests: 1000.0,
            bytes: 300_000.0,
            seconds: 2.0,
            p50_us: 80.0,
            p99_us: 200.0,
            failed: 2.0,
        };
        assert_eq!(seen, wanted);
    }

    #[test]
    fn a_run_without_a_request_is_an_error() {
        let output =
            "JSON {\"requests\":0,\"bytes\":0,\"duration_us\":1,\"p50_us\":0,\"p99_us\":0,\"failed\":64}";
        assert!(parse(output).is_err());
        assert!(parse("unable to connect").is_err());
    }
}
