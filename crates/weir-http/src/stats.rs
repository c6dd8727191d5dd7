use std::sync::Arc;
use std::time::Duration;

use crate::server::Http2Stats;
use crate::shared::SharedStats;
use weir_base::ErrorCode;
use weir_telemetry::{Collect, Counter, Exposition, Gauge, Histogram, Kind, Shard, Shards, Tally};

/// Counters of one route; they live as long as a route of that name does.
#[derive(Debug)]
pub struct RouteStats {
    shards: Shards<RouteShard>,
}

#[derive(Debug, Default)]
struct RouteShard {
    /// By the first digit of the status; place 0 for requests that were never answered.
    classes: [Tally; 6],
    bytes_in: Tally,
    bytes_out: Tally,
    duration: Histogram,
}

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl RouteStats {
    /// Zeroes for that many workers and the control side.
    pub fn new(shards: usize) -> Arc<Self> {
        Arc::new(Self { shards: Shards::new(shards, RouteShard::default) })
    }

    pub(crate) fn record(
        &self,
        shard: Shard,
        status: u16,
        bytes_in: u64,
        bytes_out: u64,
        duration: Duration,
    ) {
        let own = self.shards.at(shard);
        own.classes[usize::from(status / 100).min(5)].add(1);
        own.bytes_in.add(bytes_in);
        own.bytes_out.add(bytes_out);
        own.duration.record(duration);
    }

    /// Requests answered so far.
    pub fn requests(&self) -> u64 {
        self.shards.iter().flat_map(|shard| &shard.classes).map(Tally::get).sum()
    }
}

/// Counters of the plane as a whole, for its whole life.
#[derive(Debug)]
pub struct HttpStats {
    shards: Shards<PlaneShard>,
    pub(crate) unasked_bytes: Counter,
    pub(crate) upgraded: Gauge,
    pub(crate) shared: SharedStats,
    pub(crate) h2: Http2Stats,
}

#[derive(Debug)]
struct PlaneShard {
    errors: [Tally; ErrorCode::ALL.len()],
    retries: Tally,
    replays_overflowed: Tally,
    compressions_refused: Tally,
    upstream_connects: Tally,
    upstream_reuses: Tally,
}

impl Default for PlaneShard {
    fn default() -> Self {
        Self {
            errors: std::array::from_fn(|_| Tally::default()),
            retries: Tally::default(),
            replays_overflowed: Tally::default(),
            compressions_refused: Tally::default(),
            upstream_connects: Tally::default(),
            upstream_reuses: Tally::default(),
        }
    }
}

impl HttpStats {
    /// Zeroes for that many workers and the control side.
    pub fn new(shards: usize) -> Arc<Self> {
        Arc::new(Self {
            shards: Shards::new(shards, PlaneShard::default),
            unasked_bytes: Counter::default(),
            upgraded: Gauge::default(),
            shared: SharedStats::new(shards),
            h2: Http2Stats::new(shards),
        })
    }

    pub(crate) fn error(&self, shard: Shard, code: ErrorCode) {
        self.shards.at(shard).errors[code as usize].add(1);
    }

    pub(crate) fn retried(&self, shard: Shard) {
        self.shards.at(shard).retries.add(1);
    }

    pub(crate) fn replay_overflowed(&self, shard: Shard) {
        self.shards.at(shard).replays_overflowed.add(1);
    }

    pub(crate) fn compression_refused(&self, shard: Shard) {
        self.shards.at(shard).compressions_refused.add(1);
    }

    pub(crate) fn connected(&self, shard: Shard) {
        self.shards.at(shard).upstream_connects.add(1);
    }

    pub(crate) fn reused(&self, shard: Shard) {
        self.shards.at(shard).upstream_reuses.add(1);
    }

    fn sum(&self, read: impl Fn(&PlaneShard) -> u64) -> f64 {
        self.shards.iter().map(read).sum::<u64>() as f64
    }
}

impl Collect for HttpStats {
    fn collect(&self, out: &mut Exposition) {
        out.family("weir_connections_upgraded", "Open upgraded connections.", Kind::Gauge)
            .sample(&[], self.upgraded.get() as f64);
        let errors =
            out.family("weir_errors_total", "Errors that Weir answered itself, by code.", Kind::Counter);
        for code in ErrorCode::ALL {
            let count = self.sum(|shard| shard.errors[*code as usize].get());
            if count > 0.0 {
                errors.sample(&[("code", code.as_str()), ("origin", code.origin().as_str())], count);
            }
        }
        let mut counter = |name: &str, help: &str, value: f64| {
            out.family(name, help, Kind::Counter).sample(&[], value);
        };
        counter("weir_retries_total", "Attempts after the first.", self.sum(|s| s.retries.get()));
        counter(
            "weir_replays_overflowed_total",
            "Requests whose body outgrew the replay buffer and could not be retried any more.",
            self.sum(|s| s.replays_overflowed.get()),
        );
        counter(
            "weir_compressions_refused_total",
            "Answers sent as they are because so many were being compressed.",
            self.sum(|s| s.compressions_refused.get()),
        );
        counter(
            "weir_upstream_connects_total",
            "Connections opened to endpoints.",
            self.sum(|s| s.upstream_connects.get()),
        );
        counter(
            "weir_upstream_reuses_total",
            "Requests sent over a kept connection.",
            self.sum(|s| s.upstream_reuses.get()),
        );
        counter(
            "weir_upstream_unasked_bytes_total",
            "Times that an endpoint sent bytes that belong to no answer; its connections are then used only once for 10 s.",
            self.unasked_bytes.get() as f64,
        );
        self.shared.collect(out);
        self.h2.collect(out);
    }
}

/// Writes the per-route families for the routes given, by name.
pub(crate) fn collect_routes<'a>(
    routes: impl Iterator<Item = (&'a str, &'a RouteStats)> + Clone,
    out: &mut Exposition,
) {
    let requests = out.family(
        "weir_http_requests_total",
        "Requests answered, by route and class of status.",
        Kind::Counter,
    );
    for (name, stats) in routes.clone() {
        for (class, label) in CLASSES.iter().enumerate() {
            let count: u64 = stats.shards.iter().map(|shard| shard.classes[class].get()).sum();
            if count > 0 {
                requests.sample(&[("route", name), ("code", label)], count as f64);
            }
        }
    }
    type Field = fn(&RouteShard) -> &Tally;
    let sums: [(&str, &str, Field); 2] = [
        ("weir_http_request_body_bytes_total", "Request body bytes received, by route.", |shard| {
            &shard.bytes_in
        }),
        ("weir_http_response_body_bytes_total", "Response body bytes sent, by route.", |shard| {
            &shard.bytes_out
        }),
    ];
    for (family, help, field) in sums {
        let samples = out.family(family, help, Kind::Counter);
        for (name, stats) in routes.clone().filter(|(_, stats)| stats.requests() > 0) {
            let count: u64 = stats.shards.iter().map(|shard| field(shard).get()).sum();
            samples.sample(&[("route", name)], count as f64);
        }
    }
    let durations = out.family(
        "weir_http_request_duration_seconds",
        "From the first byte of a request to the last of its answer.",
        Kind::Histogram,
    );
    for (name, stats) in routes.filter(|(_, stats)| stats.requests() > 0) {
        durations.histogram(&[("route", name)], stats.shards.iter().map(|shard| &shard.duration));
    }
}
