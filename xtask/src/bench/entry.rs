//! Who can take part in a case.

use std::net::SocketAddr;

use clap::ValueEnum;

use super::process::own_program;
use super::{Plane, lab};
use crate::install;

/// The gateways that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Weir,
    Nginx,
    Haproxy,
    /// A relay that only receives and sends; no peer, but what the kernel alone asks
    Floor,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Floor => "floor",
        }
    }

    /// Its configuration, below the folder `bench`; the floor has none, and HAProxy no UDP.
    pub(super) fn template(self, plane: Plane) -> Option<&'static str> {
        match (self, plane) {
            (Self::Weir, Plane::Http1 | Plane::Tls | Plane::Http2) => Some("peers/weir.yaml.in"),
            (Self::Weir, Plane::Tcp | Plane::Udp) => Some("peers/weir-stream.yaml.in"),
            (Self::Nginx, Plane::Http1 | Plane::Tls | Plane::Http2) => Some("peers/nginx.conf.in"),
            (Self::Nginx, Plane::Tcp | Plane::Udp) => Some("peers/nginx-stream.conf.in"),
            (Self::Haproxy, Plane::Http1 | Plane::Tls | Plane::Http2) => Some("peers/haproxy.cfg.in"),
            (Self::Haproxy, Plane::Tcp) => Some("peers/haproxy-tcp.cfg.in"),
            (Self::Haproxy, Plane::Udp) | (Self::Floor, _) => None,
        }
    }

    /// The program to start.
    pub(super) fn program(self) -> anyhow::Result<String> {
        match self {
            Self::Weir => lab::built("release/weir"),
            Self::Nginx => Ok(install::NGINX.path()),
            Self::Haproxy => Ok(install::HAPROXY.path()),
            Self::Floor => own_program(),
        }
    }

    pub(super) fn arguments(
        self,
        file: &str,
        folder: &str,
        listen: SocketAddr,
        origin: SocketAddr,
    ) -> Vec<String> {
        let (listen, origin) = (listen.to_string(), origin.to_string());
        let words: &[&str] = match self {
            Self::Weir => &["run", file],
            Self::Nginx => &["-p", folder, "-c", file, "-e", "stderr"],
            Self::Haproxy => &["-db", "-f", file],
            Self::Floor => &["relay", "--listen", &listen, "--to", &origin],
        };
        words.iter().map(|&word| word.to_owned()).collect()
    }
}

/// A gateway in one of the ways it can be run.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// Its name in reports and templates: the kind, and what differs from its usual way.
    pub(super) label: String,
    pub(super) workers: usize,
    /// Runs as a user without privileges, even when the bench is run by root.
    pub(super) unprivileged: bool,
}

impl Entry {
    /// One worker, the configuration of the case.
    pub(super) fn of(kind: Kind) -> Self {
        Self { kind, label: kind.name().to_owned(), workers: 1, unprivileged: false }
    }

    pub(super) fn workers(self, workers: usize) -> Self {
        Self { workers, ..self.variant(&workers.to_string()) }
    }

    pub(super) fn unprivileged(self) -> Self {
        Self { unprivileged: true, ..self.variant("nobody") }
    }

    /// Differs in lines of its configuration that are marked with the label, `KIND-NAME`.
    pub(super) fn variant(self, name: &str) -> Self {
        Self { label: format!("{}-{name}", self.label), ..self }
    }
}
