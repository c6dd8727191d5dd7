use weir_telemetry::{Counter, Exposition, Kind, Shard, Shards, Tally};

use super::{FailureReason, Handshakes, TlsFacts};

/// The handshakes with clients, those under way and those that are over.
#[derive(Debug)]
pub struct TlsStats {
    /// Those under way.
    pub handshakes: Handshakes,
    /// By version, and whether a session was resumed: see [`place`].
    shaken: Shards<[Tally; 4]>,
    failed: [Counter; FailureReason::ALL.len()],
}

/// The labels of a place.
const PLACES: [(&str, &str); 4] =
    [("TLSv1.2", "false"), ("TLSv1.2", "true"), ("TLSv1.3", "false"), ("TLSv1.3", "true")];

fn place(facts: &TlsFacts) -> usize {
    usize::from(facts.version == "TLSv1.3") * 2 + usize::from(facts.resumed)
}

impl TlsStats {
    /// Zeroes for that many workers and the control side.
    pub fn new(shards: usize) -> Self {
        Self {
            handshakes: Handshakes::default(),
            shaken: Shards::new(shards, Default::default),
            failed: Default::default(),
        }
    }

    /// A handshake is over, and both sides agree.
    pub(super) fn shaken(&self, shard: Shard, facts: &TlsFacts) {
        self.shaken.at(shard)[place(facts)].add(1);
    }

    /// A handshake has failed.
    pub(super) fn failed(&self, reason: FailureReason) {
        self.failed[reason as usize].add(1);
    }

    /// How many handshakes have failed for this reason.
    pub fn failures(&self, reason: FailureReason) -> u64 {
        self.failed[reason as usize].get()
    }

    /// Writes all of it.
    pub(crate) fn collect(&self, out: &mut Exposition) {
        let shaken = out.family(
            "weir_tls_handshakes_total",
            "TLS handshakes with clients that succeeded, by version and whether a session was resumed.",
            Kind::Counter,
        );
        for (at, (version, resumed)) in PLACES.into_iter().enumerate() {
            let count: u64 = self.shaken.iter().map(|shard| shard[at].get()).sum();
            if count > 0 {
                shaken.sample(&[("version", version), ("resumed", resumed)], count as f64);
            }
        }
        let failed = out.family(
            "weir_tls_handshake_failures_total",
            "TLS handshakes with clients that failed, by reason.",
            Kind::Counter,
        );
        for reason in FailureReason::ALL {
            let count = self.failures(reason);
            if count > 0 {
                failed.sample(&[("reason", reason.as_str())], count as f64);
            }
        }
        out.family(
            "weir_tls_handshakes_open",
            "TLS handshakes with clients that are under way.",
            Kind::Gauge,
        )
        .sample(&[], self.handshakes.open() as f64);
    }
}
