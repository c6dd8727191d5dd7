//! What is kept of an exchange: counters and a line in the access log.

use weir_base::Origin;
use weir_telemetry::{AccessRecord, Level};

use crate::connection::Connection;
use crate::exchange::{Exchange, Record};

/// Counts and logs one exchange, once its last byte is sent or its connection is lost.
pub(super) fn record(connection: &Connection, exchange: &Exchange) {
    let record = &exchange.record;
    let worker = &connection.worker;
    let duration = record.ended_at.saturating_duration_since(record.started);
    if let Some(route) = &record.route {
        route.stats.record(worker.base.shard, record.status, record.bytes_in, record.bytes_out, duration);
    }
    if let Some(code) = record.error {
        worker.shared.stats.error(worker.base.shard, code);
    }
    if record.compression_refused {
        worker.shared.stats.compression_refused(worker.base.shard);
    }
    if exchange.replay.overflowed && record.attempts > 0 {
        worker.shared.stats.replay_overflowed(worker.base.shard);
    }
    let mut access = worker.access();
    if !access.is_on() {
        return;
    }
    let timestamp_us = access.micros_at(record.ended_at);
    access.push(&AccessRecord {
        timestamp_us,
        level: level(record),
        trace_id: &exchange.trace.trace_id_hex(),
        request_id: &exchange.request_id,
        listener: &connection.client.admitted.listener.name,
        http_status: record.status,
        method: exchange.request.method_bytes(),
        host: &exchange.authority,
        path: exchange.request.target_bytes(),
        route: record.route.as_ref().map_or("", |route| &route.name),
        upstream: record.upstream.as_deref().unwrap_or_default(),
        endpoint: record.endpoint.as_deref().unwrap_or_default(),
        attempts: record.attempts,
        client_ip: exchange.client,
        protocol: exchange.request.version().as_str(),
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        duration,
        queue_us: known(record.queue_us),
        connect_us: known(record.connect_us),
        head_us: known(record.head_us),
        body_us: (record.attempts > 0 && record.head_at > record.started)
            .then(|| record.ended_at.saturating_duration_since(record.head_at).as_micros() as u64),
        error: record.error,
        tls: connection.client.tls.as_ref().map(|facts| facts.record()),
        user_agent: exchange.request.fields.get(weir_wire::http1::Known::UserAgent).unwrap_or_default(),
    });
}

fn level(record: &Record) -> Level {
    match record.error.map(weir_base::ErrorCode::origin) {
        None | Some(Origin::Client) => Level::Info,
        Some(Origin::Upstream | Origin::Operator) => Level::Warn,
        Some(Origin::Gateway) => Level::Error,
    }
}

/// A part of the duration; one that did not happen is left out.
fn known(micros: u32) -> Option<u64> {
    (micros > 0).then_some(u64::from(micros))
}
