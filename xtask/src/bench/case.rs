//! The questions that the bench answers.

use clap::ValueEnum;

use super::entry::{Entry, Kind};

/// What a case sends through the contestants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plane {
    Http1,
    Tcp,
    Udp,
}

/// One question the bench answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Case {
    /// CPU per request: GET, 128-byte body, 64 connections
    Get128,
    /// The same with JSON access logs on
    Get128Log,
    /// CPU per GB with 1 MiB bodies
    Body1m,
    /// CPU per request with two workers against one, on the same two cores
    TwoWorkers,
    /// Resident memory per idle keep-alive connection
    Idle,
    /// Lookup and reload with 10,000 routes
    Routes,
    /// Resident memory over time, under load, reloads and held streams
    Soak,
    /// CPU per GB of one stream of iperf3
    TcpBulk,
    /// The same with 100 streams, whose pipes are more than an unprivileged user may have
    TcpBulkMany,
    /// CPU per exchange of 100 bytes over 64 long connections
    TcpExchange,
    /// CPU per connection with one exchange
    TcpConnect,
    /// Resident memory per idle connection
    TcpIdle,
    /// CPU per echo of 64 bytes, 64 clients
    UdpEcho,
    /// Resident memory per session
    UdpSessions,
}

impl Case {
    /// The name on the command line and in folders and templates.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get128 => "get128",
            Self::Get128Log => "get128-log",
            Self::Body1m => "body1m",
            Self::TwoWorkers => "two-workers",
            Self::Idle => "idle",
            Self::Routes => "routes",
            Self::Soak => "soak",
            Self::TcpBulk => "tcp-bulk",
            Self::TcpBulkMany => "tcp-bulk-many",
            Self::TcpExchange => "tcp-exchange",
            Self::TcpConnect => "tcp-connect",
            Self::TcpIdle => "tcp-idle",
            Self::UdpEcho => "udp-echo",
            Self::UdpSessions => "udp-sessions",
        }
    }

    pub(super) fn plane(self) -> Plane {
        match self {
            Self::TcpBulk | Self::TcpBulkMany | Self::TcpExchange | Self::TcpConnect | Self::TcpIdle => {
                Plane::Tcp
            }
            Self::UdpEcho | Self::UdpSessions => Plane::Udp,
            _ => Plane::Http1,
        }
    }

    /// Every case of a plane, in the order in which they run.
    pub(super) fn all_of(plane: Plane) -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|case| case.plane() == plane).collect()
    }

    /// Who takes part.
    pub(super) fn entries(self) -> Vec<Entry> {
        let (weir, nginx, haproxy) =
            (Entry::of(Kind::Weir), Entry::of(Kind::Nginx), Entry::of(Kind::Haproxy));
        match self {
            // HAProxy writes access logs only to a syslog server, which is another job.
            Self::Get128Log => vec![weir, nginx],
            Self::Get128 | Self::TcpExchange => vec![weir, nginx, haproxy, Entry::of(Kind::Floor)],
            Self::TwoWorkers => [weir, nginx, haproxy]
                .map(|entry| [entry.clone(), entry.workers(2)])
                .into_iter()
                .flatten()
                .collect(),
            Self::TcpBulk | Self::TcpBulkMany => {
                let copying = haproxy.clone().variant("copying");
                vec![weir.clone(), weir.unprivileged(), nginx, haproxy, copying]
            }
            // HAProxy has no UDP.
            Self::UdpEcho | Self::UdpSessions => vec![weir, nginx],
            _ => vec![weir, nginx, haproxy],
        }
    }
}
