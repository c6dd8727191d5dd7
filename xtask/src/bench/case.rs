//! The questions that the bench answers.

use clap::ValueEnum;

use super::entry::{Entry, Kind};

/// What a case sends through the contestants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plane {
    Http1,
    Tls,
    Http2,
    Tcp,
    Udp,
}

impl Plane {
    /// The name on the command line and in templates.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Tls => "tls",
            Self::Http2 => "http2",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// Whether HTTP requests are sent, by whatever version.
    pub(super) fn is_http(self) -> bool {
        matches!(self, Self::Http1 | Self::Tls | Self::Http2)
    }
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
    /// CPU per full TLS 1.3 handshake: P-256, X25519
    TlsP256,
    /// The same with RSA-2048
    TlsRsa,
    /// The same with P-256 and X25519MLKEM768
    TlsHybrid,
    /// CPU per GET with a 128-byte body over kept TLS connections, 64 of them
    TlsGet128,
    /// CPU per GB with 1 MiB bodies over TLS
    TlsBody1m,
    /// Resident memory per idle TLS connection
    TlsIdle,
    /// Start and handshakes with 10,000 certificates and with one
    TlsCertificates,
    /// CPU per GET with a 128-byte body over HTTP/2: 8 connections, 32 streams on each, to HTTP/1.1
    H2Get128,
    /// CPU per unary gRPC call, HTTP/2 on both sides, 8 connections, 32 streams on each
    H2Grpc,
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
            Self::TlsP256 => "tls-p256",
            Self::TlsRsa => "tls-rsa",
            Self::TlsHybrid => "tls-hybrid",
            Self::TlsGet128 => "tls-get128",
            Self::TlsBody1m => "tls-body1m",
            Self::TlsIdle => "tls-idle",
            Self::TlsCertificates => "tls-certificates",
            Self::H2Get128 => "h2-get128",
            Self::H2Grpc => "h2-grpc",
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
            Self::TlsP256
            | Self::TlsRsa
            | Self::TlsHybrid
            | Self::TlsGet128
            | Self::TlsBody1m
            | Self::TlsIdle
            | Self::TlsCertificates => Plane::Tls,
            Self::H2Get128 | Self::H2Grpc => Plane::Http2,
            _ => Plane::Http1,
        }
    }

    /// Whether what is counted are handshakes.
    pub(super) fn is_handshakes(self) -> bool {
        matches!(self, Self::TlsP256 | Self::TlsRsa | Self::TlsHybrid | Self::TlsCertificates)
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
            // OpenSSL has no hybrid key exchange before 3.5.
            Self::TlsHybrid => vec![weir],
            Self::TlsCertificates => vec![weir.clone(), weir.variant("many")],
            // HAProxy has no UDP.
            Self::UdpEcho | Self::UdpSessions => vec![weir, nginx],
            _ => vec![weir, nginx, haproxy],
        }
    }
}
