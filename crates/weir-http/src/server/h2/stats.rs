use std::sync::Arc;

use h2::Reason;
use weir_telemetry::{Collect, Counter, Exposition, Gauge, Kind, Shard, Shards, Tally};
use weir_wire::h2_meter;

/// Counters of client connections that speak HTTP/2.
#[derive(Debug)]
pub(crate) struct Http2Stats {
    shards: Shards<Http2Shard>,
    connections: Arc<Gauge>,
    goaways: [Counter; GoAway::COUNT],
}

#[derive(Debug, Default)]
struct Http2Shard {
    began: Tally,
    ended: Tally,
    /// By the code of the reset, which the client said or we.
    resets: [[Tally; CODES.len()]; 2],
}

/// Who reset a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetBy {
    Client,
    Gateway,
}

/// The codes of RFC 9113 section 7 by their numbers; the last stands for all others.
const CODES: [&str; 15] = [
    "no_error",
    "protocol_error",
    "internal_error",
    "flow_control_error",
    "settings_timeout",
    "stream_closed",
    "frame_size_error",
    "refused_stream",
    "cancel",
    "compression_error",
    "connect_error",
    "enhance_your_calm",
    "inadequate_security",
    "http_1_1_required",
    "unknown",
];

/// Why a connection was told that no new streams are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GoAway {
    /// Its listener is gone, or the process is on its way out.
    Drain,
    /// Nothing came for too long.
    Idle,
    /// It has had as many requests as it may.
    Requests,
    /// Its descriptor was needed.
    Shed,
    /// It broke the rules of HTTP/2.
    Protocol,
    /// It did too much of something that costs it nothing.
    Calm(h2_meter::Reason),
}

impl GoAway {
    const PLAIN: [Self; 5] = [Self::Drain, Self::Idle, Self::Requests, Self::Shed, Self::Protocol];
    const COUNT: usize = Self::PLAIN.len() + h2_meter::Reason::ALL.len();

    fn all() -> impl Iterator<Item = Self> {
        Self::PLAIN.into_iter().chain(h2_meter::Reason::ALL.into_iter().map(Self::Calm))
    }

    fn index(self) -> usize {
        Self::all().position(|reason| reason == self).unwrap_or_default()
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Idle => "idle",
            Self::Requests => "requests",
            Self::Shed => "shed",
            Self::Protocol => "protocol",
            Self::Calm(reason) => reason.as_str(),
        }
    }
}

/// A connection that is counted as open until this is dropped.
pub(super) struct OpenConnection(Arc<Gauge>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

impl Http2Stats {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: Shards::new(shards, Http2Shard::default),
            connections: Arc::default(),
            goaways: std::array::from_fn(|_| Counter::default()),
        }
    }

    pub(super) fn connection_opened(&self) -> OpenConnection {
        self.connections.add(1);
        OpenConnection(Arc::clone(&self.connections))
    }

    pub(super) fn stream_began(&self, shard: Shard) {
        self.shards.at(shard).began.add(1);
    }

    pub(super) fn stream_ended(&self, shard: Shard) {
        self.shards.at(shard).ended.add(1);
    }

    pub(super) fn stream_reset(&self, shard: Shard, by: ResetBy, code: Reason) {
        let index = usize::try_from(u32::from(code)).unwrap_or(usize::MAX).min(CODES.len() - 1);
        self.shards.at(shard).resets[by as usize][index].add(1);
    }

    pub(super) fn went_away(&self, reason: GoAway) {
        self.goaways[reason.index()].add(1);
    }

    fn sum(&self, read: impl Fn(&Http2Shard) -> u64) -> f64 {
        self.shards.iter().map(read).sum::<u64>() as f64
    }
}

impl Collect for Http2Stats {
    fn collect(&self, out: &mut Exposition) {
        let began = self.sum(|shard| shard.began.get());
        let ended = self.sum(|shard| shard.ended.get());
        out.family("weir_h2_connections", "Open client connections that speak HTTP/2.", Kind::Gauge)
            .sample(&[], self.connections.get() as f64);
        out.family("weir_h2_streams", "Open streams of HTTP/2 clients.", Kind::Gauge)
            .sample(&[], (began - ended).max(0.0));
        out.family("weir_h2_streams_total", "Streams begun by HTTP/2 clients.", Kind::Counter)
            .sample(&[], began);
        let resets = out.family(
            "weir_h2_stream_resets_total",
            "Streams reset before they were over, by who did it (client, gateway) and the code.",
            Kind::Counter,
        );
        for (by, side) in [(ResetBy::Client, "client"), (ResetBy::Gateway, "gateway")] {
            for (index, code) in CODES.into_iter().enumerate() {
                let count = self.sum(|shard| shard.resets[by as usize][index].get());
                if count > 0.0 {
                    resets.sample(&[("side", side), ("code", code)], count);
                }
            }
        }
        let goaways = out.family(
            "weir_h2_goaways_total",
            "HTTP/2 client connections told that no new streams are taken, by reason.",
            Kind::Counter,
        );
        for (reason, count) in GoAway::all().zip(&self.goaways).filter(|(_, count)| count.get() > 0) {
            goaways.sample(&[("reason", reason.as_str())], count.get() as f64);
        }
    }
}
