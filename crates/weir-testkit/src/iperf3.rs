use std::net::SocketAddr;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::server::{Server, listens};

/// Debian's iperf3 as a server: one measurement at a time.
pub struct Iperf3Server {
    _server: Server,
    addr: SocketAddr,
}

impl Iperf3Server {
    /// Starts it on a free port.
    ///
    /// # Panics
    ///
    /// When iperf3 is not installed or does not start.
    pub fn start() -> Self {
        let (server, addr) = Server::on_free_port("iperf3", |addr| {
            let mut command = Command::new("iperf3");
            command.args(["--server", "--bind", &addr.ip().to_string(), "--port", &addr.port().to_string()]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            Server::start(&mut command, Signal::TERM, || listens(addr))
        });
        Self { _server: server, addr }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// A bulk transfer over TCP, by Debian's iperf3, to an [`Iperf3Server`] or to what stands before it.
#[derive(Debug, Clone)]
pub struct Iperf3 {
    to: SocketAddr,
    flags: Vec<String>,
}

/// What iperf3 measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Iperf3Report {
    /// Bytes that the sender handed to its kernel.
    pub sent: u64,
    /// Bytes that the receiver read; it stops when the sender is done, so the last ones may be missing.
    pub received: u64,
    /// Length of the transfer at the receiver, in seconds.
    pub seconds: f64,
}

impl Iperf3 {
    /// One stream from client to server.
    pub fn new(to: SocketAddr) -> Self {
        Self { to, flags: Vec::new() }
    }

    /// Streams at the same time; default 1.
    #[must_use]
    pub fn streams(self, streams: u32) -> Self {
        self.flag(&format!("--parallel={streams}"))
    }

    /// Ends after this many seconds; without it and `bytes`, after ten.
    #[must_use]
    pub fn seconds(self, seconds: u32) -> Self {
        self.flag(&format!("--time={seconds}"))
    }

    /// Ends after this many bytes.
    #[must_use]
    pub fn bytes(self, bytes: u64) -> Self {
        self.flag(&format!("--bytes={bytes}"))
    }

    /// From server to client.
    #[must_use]
    pub fn reverse(self) -> Self {
        self.flag("--reverse")
    }

    /// Any other flag of iperf3.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// When iperf3 is not installed, or the transfer fails.
    pub fn run(&self) -> Iperf3Report {
        let output = Command::new("iperf3")
            .args(["--json", "--client", &self.to.ip().to_string(), "--port", &self.to.port().to_string()])
            .args(&self.flags)
            .stdin(Stdio::null())
            .output()
            .expect("iperf3 is installed by scripts/test");
        let text = String::from_utf8_lossy(&output.stdout);
        Iperf3Report::parse(&text).unwrap_or_else(|| panic!("iperf3 {:?}: {text}", self.flags))
    }
}

impl Iperf3Report {
    fn parse(text: &str) -> Option<Self> {
        let report: Value = serde_json::from_str(text).ok()?;
        if report.get("error").is_some() {
            return None;
        }
        let end = &report["end"];
        Some(Self {
            sent: end["sum_sent"]["bytes"].as_u64()?,
            received: end["sum_received"]["bytes"].as_u64()?,
            seconds: end["sum_received"]["seconds"].as_f64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_read_and_an_error_is_no_report() {
        let text = "{\"end\":{\"sum_sent\":{\"bytes\":12},\"sum_received\":{\"bytes\":10,\"seconds\":0.5}}}";
        assert_eq!(Iperf3Report::parse(text), Some(Iperf3Report { sent: 12, received: 10, seconds: 0.5 }));
        assert_eq!(Iperf3Report::parse("{\"end\":{},\"error\":\"refused\"}"), None);
    }
}
