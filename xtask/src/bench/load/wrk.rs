//! wrk: HTTP/1.1 requests on connections that are kept, with TLS or without.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;

use super::{Load, seconds};
use crate::bench::lab;
use crate::bench::process::{Cores, Process, pinned};
use crate::bench::seen::Seen;
use crate::install;

/// GET requests.
pub(in crate::bench) struct Wrk {
    pub(in crate::bench) scheme: &'static str,
    pub(in crate::bench) path: &'static str,
    pub(in crate::bench) connections: usize,
    pub(in crate::bench) threads: usize,
    pub(in crate::bench) cores: Cores,
}

/// A wrk that is running.
pub(in crate::bench) struct Running {
    process: Process,
}

impl Load for Wrk {
    fn apply(&self, to: SocketAddr, duration: Duration) -> anyhow::Result<Seen> {
        self.start(to, duration)?.finish()
    }
}

impl Wrk {
    /// Starts the load, for a case that does something else meanwhile.
    pub(in crate::bench) fn start(&self, to: SocketAddr, duration: Duration) -> anyhow::Result<Running> {
        let script = lab::bench_folder()?.join("wrk-report.lua");
        let mut command = pinned(&self.cores, &install::WRK.path());
        command
            .args(["-t", &self.threads.to_string(), "-c", &self.connections.to_string()])
            .args(["-d", &format!("{}s", seconds(duration)), "--timeout", "10s"])
            .arg("-s")
            .arg(script)
            .arg(format!("{}://{to}{}", self.scheme, self.path))
            .stdout(Stdio::piped());
        Ok(Running { process: Process::start(&mut command)? })
    }
}

impl Running {
    /// Waits for its end.
    pub(in crate::bench) fn finish(mut self) -> anyhow::Result<Seen> {
        let output = self.process.output().context("reading from wrk")?;
        Seen::parse(&output).with_context(|| format!("wrk said: {output}"))
    }
}
