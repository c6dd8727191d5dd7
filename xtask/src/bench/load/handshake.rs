//! Our own TLS clients: `cargo xtask exchange --kind handshake`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;

use super::{Load, seconds};
use crate::bench::process::{Cores, Process, own_program, pinned};
use crate::bench::seen::Seen;
use crate::tls::Group;

/// Full handshakes, each on a connection of its own.
pub(in crate::bench) struct Handshakes {
    pub(in crate::bench) group: Group,
    pub(in crate::bench) clients: usize,
    /// Whom the clients trust.
    pub(in crate::bench) authority: PathBuf,
    pub(in crate::bench) cores: Cores,
}

impl Load for Handshakes {
    fn apply(&self, to: SocketAddr, duration: Duration) -> anyhow::Result<Seen> {
        let group = self.group.to_possible_value().context("every group has a name")?;
        let mut command = pinned(&self.cores, &own_program()?);
        command
            .args(["exchange", "--to", &to.to_string(), "--kind", "handshake", "--group", group.get_name()])
            .args(["--clients", &self.clients.to_string(), "--seconds", &seconds(duration), "--authority"])
            .arg(&self.authority)
            .stdout(Stdio::piped());
        let output = Process::start(&mut command)?.output().context("reading from the clients")?;
        Seen::parse(&output).with_context(|| format!("the clients said: {output}"))
    }
}
