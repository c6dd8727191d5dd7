use std::sync::Arc;

use weir_telemetry::{Collect, Counter, Exposition, Gauge, Kind, Shard, Shards, Tally};

/// Counters of the connections to endpoints that requests share.
#[derive(Debug)]
pub(crate) struct SharedStats {
    shards: Shards<SharedShard>,
    connections: Arc<Gauge>,
    went_away: Counter,
    lost: Counter,
}

#[derive(Debug, Default)]
struct SharedShard {
    opened: Tally,
    closed: Tally,
    refused: Tally,
    waited: Tally,
}

/// A connection that is counted as open until this is dropped.
pub(super) struct OpenConnection(Arc<Gauge>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

impl SharedStats {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: Shards::new(shards, SharedShard::default),
            connections: Arc::default(),
            went_away: Counter::default(),
            lost: Counter::default(),
        }
    }

    pub(super) fn opened_connection(&self) -> OpenConnection {
        self.connections.add(1);
        OpenConnection(Arc::clone(&self.connections))
    }

    pub(super) fn opened_stream(&self, shard: Shard) {
        self.shards.at(shard).opened.add(1);
    }

    pub(super) fn closed_stream(&self, shard: Shard) {
        self.shards.at(shard).closed.add(1);
    }

    /// A stream was refused by its peer before it did anything.
    pub(crate) fn refused(&self, shard: Shard) {
        self.shards.at(shard).refused.add(1);
    }

    /// A request waited for a place on a connection.
    pub(crate) fn waited(&self, shard: Shard) {
        self.shards.at(shard).waited.add(1);
    }

    pub(super) fn went_away(&self) {
        self.went_away.add(1);
    }

    pub(super) fn lost(&self) {
        self.lost.add(1);
    }

    #[cfg(test)]
    pub(super) fn went_away_count(&self) -> u64 {
        self.went_away.get()
    }

    #[cfg(test)]
    pub(super) fn lost_count(&self) -> u64 {
        self.lost.get()
    }

    fn sum(&self, read: impl Fn(&SharedShard) -> u64) -> f64 {
        self.shards.iter().map(read).sum::<u64>() as f64
    }
}

impl Collect for SharedStats {
    fn collect(&self, out: &mut Exposition) {
        let (opened, closed) = (self.sum(|s| s.opened.get()), self.sum(|s| s.closed.get()));
        let mut gauge = |name: &str, help: &str, value: f64| {
            out.family(name, help, Kind::Gauge).sample(&[], value);
        };
        gauge(
            "weir_upstream_h2_connections",
            "Open HTTP/2 connections to endpoints.",
            self.connections.get() as f64,
        );
        gauge(
            "weir_upstream_h2_streams",
            "Open streams on HTTP/2 connections to endpoints.",
            (opened - closed).max(0.0),
        );
        let mut counter = |name: &str, help: &str, value: f64| {
            out.family(name, help, Kind::Counter).sample(&[], value);
        };
        counter(
            "weir_upstream_h2_streams_total",
            "Streams opened on HTTP/2 connections to endpoints.",
            opened,
        );
        counter(
            "weir_upstream_h2_streams_refused_total",
            "Streams that an endpoint refused before it did anything, by REFUSED_STREAM or GOAWAY.",
            self.sum(|s| s.refused.get()),
        );
        counter(
            "weir_upstream_h2_waits_total",
            "Requests that waited for a place on an HTTP/2 connection, one that was being opened among them.",
            self.sum(|s| s.waited.get()),
        );
        counter(
            "weir_upstream_h2_goaways_total",
            "HTTP/2 connections whose endpoint said that it takes no more streams.",
            self.went_away.get() as f64,
        );
        counter(
            "weir_upstream_h2_lost_total",
            "HTTP/2 connections given up because their endpoint gave no sign of life.",
            self.lost.get() as f64,
        );
    }
}
