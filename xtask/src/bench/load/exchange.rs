//! Our own clients of stream proxies: `cargo xtask exchange`.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;

use super::{Load, seconds};
use crate::bench::process::{Cores, Process, own_program, pinned};
use crate::bench::seen::Seen;
use crate::exchange::Kind;

/// Messages that must come back.
pub(in crate::bench) struct Exchange {
    pub(in crate::bench) kind: Kind,
    pub(in crate::bench) clients: usize,
    /// Of a message.
    pub(in crate::bench) bytes: usize,
    pub(in crate::bench) cores: Cores,
}

impl Load for Exchange {
    fn apply(&self, to: SocketAddr, duration: Duration) -> anyhow::Result<Seen> {
        let kind = self.kind.to_possible_value().context("every kind has a name")?;
        let mut command = pinned(&self.cores, &own_program()?);
        command
            .args(["exchange", "--to", &to.to_string(), "--kind", kind.get_name()])
            .args(["--clients", &self.clients.to_string(), "--bytes", &self.bytes.to_string()])
            .args(["--seconds", &seconds(duration)])
            .stdout(Stdio::piped());
        let output = Process::start(&mut command)?.output().context("reading from the clients")?;
        Seen::parse(&output).with_context(|| format!("the clients said: {output}"))
    }
}
