use std::sync::Arc;

use weir_telemetry::{Collect, Counter, Exposition, Gauge, Kind, Shard, Shards, Tally};

use crate::tls::TlsStats;

/// Counters of client connections, whatever is spoken on them, and of what was given up for want of descriptors.
#[derive(Debug)]
pub struct ConnectionStats {
    accepted: Shards<Tally>,
    /// Open client connections.
    pub(crate) open: Gauge,
    /// Idle client connections that were closed to make room.
    pub(crate) shed_idle_clients: Counter,
    /// Idle upstream connections that were closed to make room.
    pub(crate) shed_idle_upstreams: Counter,
    refused: Counter,
    /// Connections closed for want of a good PROXY header, by reason.
    proxy_header_failures: [Counter; ProxyHeaderFailure::ALL.len()],
    pub(crate) descriptors_exhausted: Counter,
    /// TLS handshakes.
    pub tls: TlsStats,
}

/// Why a connection was closed over its PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeaderFailure {
    /// Only trusted proxies may connect, and this peer is none.
    UntrustedPeer,
    /// It began without one where one is required.
    Missing,
    /// It began with one that is none after all.
    Malformed,
    /// It ended, or time was up, within one.
    Unfinished,
}

impl ProxyHeaderFailure {
    const ALL: [Self; 4] = [Self::UntrustedPeer, Self::Missing, Self::Malformed, Self::Unfinished];

    /// The word used in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UntrustedPeer => "untrusted_peer",
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unfinished => "unfinished",
        }
    }
}

impl ConnectionStats {
    /// Zeroes for that many workers and the control side.
    pub fn new(shards: usize) -> Arc<Self> {
        Arc::new(Self {
            accepted: Shards::new(shards, Tally::default),
            open: Gauge::default(),
            shed_idle_clients: Counter::default(),
            shed_idle_upstreams: Counter::default(),
            refused: Counter::default(),
            proxy_header_failures: Default::default(),
            descriptors_exhausted: Counter::default(),
            tls: TlsStats::new(shards),
        })
    }

    /// A worker accepted one more connection.
    pub fn accepted(&self, shard: Shard) {
        self.accepted.at(shard).add(1);
    }

    /// A connection was turned away because a limit was reached.
    pub fn refused(&self) {
        self.refused.add(1);
    }

    /// A connection was closed over its PROXY header.
    pub fn proxy_header_failed(&self, failure: ProxyHeaderFailure) {
        self.proxy_header_failures[failure as usize].add(1);
    }

    /// Open client connections.
    pub fn open(&self) -> i64 {
        self.open.get()
    }
}

impl Collect for ConnectionStats {
    fn collect(&self, out: &mut Exposition) {
        let accepted = out.family(
            "weir_connections_accepted_total",
            "Client connections accepted, by worker.",
            Kind::Counter,
        );
        for (worker, count) in self.accepted.iter().enumerate().take(self.accepted.len() - 1) {
            accepted.sample(&[("worker", &worker.to_string())], count.get() as f64);
        }
        out.family("weir_connections", "Open client connections.", Kind::Gauge)
            .sample(&[], self.open.get() as f64);
        let failures = out.family(
            "weir_proxy_protocol_errors_total",
            "Connections closed because their PROXY header was missing, malformed or not to be believed, by reason.",
            Kind::Counter,
        );
        for failure in ProxyHeaderFailure::ALL {
            let count = self.proxy_header_failures[failure as usize].get();
            if count > 0 {
                failures.sample(&[("reason", failure.as_str())], count as f64);
            }
        }
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            out.family(name, help, Kind::Counter).sample(&[], counter.get() as f64);
        };
        counter(
            "weir_idle_clients_shed_total",
            "Idle client connections closed to free a descriptor.",
            &self.shed_idle_clients,
        );
        counter(
            "weir_idle_upstreams_shed_total",
            "Idle upstream connections closed to free a descriptor.",
            &self.shed_idle_upstreams,
        );
        counter(
            "weir_connections_refused_total",
            "Client connections answered 503 or closed because a connection limit was reached.",
            &self.refused,
        );
        counter(
            "weir_descriptors_exhausted_total",
            "Times that a descriptor was needed and none was left.",
            &self.descriptors_exhausted,
        );
        self.tls.collect(out);
    }
}
