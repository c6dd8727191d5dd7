use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::server::{Server, is_bound_udp, listens};

/// Debian's dnsmasq, answering for fixed names over UDP and TCP; it refuses all others.
pub struct Dnsmasq {
    server: Option<Server>,
    addr: SocketAddr,
    records: Vec<String>,
}

impl Dnsmasq {
    /// Starts it on a free port, with an A record for each name.
    ///
    /// # Panics
    ///
    /// When dnsmasq is not installed or does not start.
    pub fn start(records: &[(&str, Ipv4Addr)]) -> Self {
        let records: Vec<_> = records.iter().map(|(name, ip)| format!("--host-record={name},{ip}")).collect();
        let (server, addr) = Server::on_free_port("dnsmasq", |addr| serve(addr, &records));
        Self { server: Some(server), addr, records }
    }

    /// Where it listens, for UDP and for TCP.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends it: the kernel refuses datagrams to its port until [`Dnsmasq::resume`].
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again on the same port.
    ///
    /// # Panics
    ///
    /// When it does not start, which also happens when somebody has taken the port.
    pub fn resume(&mut self) {
        self.server = Some(serve(self.addr, &self.records).expect("dnsmasq starts again on its port"));
    }
}

fn serve(addr: SocketAddr, records: &[String]) -> Option<Server> {
    let mut command = Command::new("dnsmasq");
    command
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=/dev/null"])
        .args(["--no-resolv", "--no-hosts", "--bind-interfaces"])
        .args([format!("--listen-address={}", addr.ip()), format!("--port={}", addr.port())])
        .args(records)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    Server::start(&mut command, Signal::TERM, || is_bound_udp(addr) && listens(addr))
}
