use std::sync::Arc;
use std::time::Duration;

use weir_telemetry::{Exposition, Histogram, Kind, Shard, Shards, Tally};

use crate::end::End;
use crate::udp::{DropReason, Places, UdpTallies};

/// Counters of one listener; they live as long as a listener of that name does.
#[derive(Debug)]
pub(crate) struct ListenerStats {
    shards: Shards<ListenerShard>,
    /// Of UDP sessions.
    pub(crate) places: Arc<Places>,
}

#[derive(Debug, Default)]
struct ListenerShard {
    ends: [Tally; End::ALL.len()],
    bytes_in: Tally,
    bytes_out: Tally,
    connect: Histogram,
    duration: Histogram,
    udp: UdpTallies,
}

impl ListenerStats {
    /// Zeroes for that many workers and the control side.
    pub(crate) fn new(shards: usize) -> Arc<Self> {
        Arc::new(Self {
            shards: Shards::new(shards, ListenerShard::default),
            places: Arc::new(Places::new(0, (shards as u32).saturating_sub(1).max(1))),
        })
    }

    /// A connection is over.
    pub(crate) fn ended(&self, shard: Shard, end: End, duration: Duration) {
        let own = self.shards.at(shard);
        own.ends[end as usize].add(1);
        own.duration.record(duration);
    }

    /// Bytes were passed on.
    pub(crate) fn passed(&self, shard: Shard, bytes_in: u64, bytes_out: u64) {
        let own = self.shards.at(shard);
        own.bytes_in.add(bytes_in);
        own.bytes_out.add(bytes_out);
    }

    /// An endpoint took a connection.
    pub(crate) fn connected(&self, shard: Shard, took: Duration) {
        self.shards.at(shard).connect.record(took);
    }

    /// Counters of UDP sessions.
    pub(crate) fn udp(&self, shard: Shard) -> &UdpTallies {
        &self.shards.at(shard).udp
    }

    /// Connections and sessions that ended in this way.
    pub(crate) fn ended_by(&self, end: End) -> u64 {
        self.shards.iter().map(|shard| shard.ends[end as usize].get()).sum()
    }

    fn sum(&self, field: impl Fn(&ListenerShard) -> u64) -> f64 {
        self.shards.iter().map(field).sum::<u64>() as f64
    }
}

/// Writes the families of the listeners given, by name.
pub(crate) fn collect<'a>(
    listeners: impl Iterator<Item = (&'a str, &'a ListenerStats)> + Clone,
    out: &mut Exposition,
) {
    let ends = out.family(
        "weir_stream_ended_total",
        "TCP connections and UDP sessions that are over, by listener and by who ended them and how.",
        Kind::Counter,
    );
    for (name, stats) in listeners.clone() {
        for end in End::ALL {
            let count = stats.ended_by(end);
            if count > 0 {
                ends.sample(&[("listener", name), ("end", end.as_str())], count as f64);
            }
        }
    }
    let drops = out.family(
        "weir_udp_dropped_datagrams_total",
        "Datagrams that were not sent on, by listener and reason.",
        Kind::Counter,
    );
    for (name, stats) in listeners.clone() {
        for reason in DropReason::ALL {
            let count = stats.sum(|shard| shard.udp.dropped(reason));
            if count > 0.0 {
                drops.sample(&[("listener", name), ("reason", reason.as_str())], count);
            }
        }
    }
    let udp = listeners.clone().filter(|(_, stats)| stats.places.max() > 0);
    let sessions = out.family("weir_udp_sessions", "UDP sessions that there are, by listener.", Kind::Gauge);
    for (name, stats) in udp.clone() {
        sessions.sample(&[("listener", name)], f64::from(stats.places.taken()));
    }
    type Field = fn(&ListenerShard) -> &Tally;
    let sums: [(&str, &str, Field); 6] = [
        ("weir_udp_sessions_total", "UDP sessions that began, by listener.", |shard| &shard.udp.sessions),
        (
            "weir_udp_sessions_moved_total",
            "UDP sessions that went on with another endpoint after a refusal, by listener.",
            |shard| &shard.udp.moved,
        ),
        (
            "weir_udp_ports_freed_early_total",
            "Ports of unanswered UDP sessions that were free before their time, by listener.",
            |shard| &shard.udp.cooled_briefly,
        ),
        (
            "weir_udp_session_lines_left_out_total",
            "UDP sessions that ended without an access line, as too many had one, by listener.",
            |shard| &shard.udp.lines_left_out,
        ),
        ("weir_udp_received_datagrams_total", "Datagrams from clients, by listener.", |shard| {
            &shard.udp.datagrams_in
        }),
        ("weir_udp_sent_datagrams_total", "Datagrams for clients, by listener.", |shard| {
            &shard.udp.datagrams_out
        }),
    ];
    for (family, help, field) in sums {
        let samples = out.family(family, help, Kind::Counter);
        for (name, stats) in udp.clone() {
            samples.sample(&[("listener", name)], stats.sum(|shard| field(shard).get()));
        }
    }
    let sums: [(&str, &str, Field); 2] = [
        ("weir_stream_received_bytes_total", "Bytes passed on from clients, by listener.", |shard| {
            &shard.bytes_in
        }),
        ("weir_stream_sent_bytes_total", "Bytes passed on to clients, by listener.", |shard| {
            &shard.bytes_out
        }),
    ];
    for (family, help, field) in sums {
        let samples = out.family(family, help, Kind::Counter);
        for (name, stats) in listeners.clone() {
            samples.sample(&[("listener", name)], stats.sum(|shard| field(shard).get()));
        }
    }
    type Times = fn(&ListenerShard) -> &Histogram;
    let times: [(&str, &str, Times); 2] = [
        (
            "weir_stream_connect_duration_seconds",
            "From the first try to the connection with an endpoint, by listener.",
            |shard| &shard.connect,
        ),
        (
            "weir_stream_duration_seconds",
            "From the beginning of a connection or session to its end, by listener.",
            |shard| &shard.duration,
        ),
    ];
    for (family, help, field) in times {
        let samples = out.family(family, help, Kind::Histogram);
        for (name, stats) in listeners.clone() {
            samples.histogram(&[("listener", name)], stats.shards.iter().map(field));
        }
    }
}
