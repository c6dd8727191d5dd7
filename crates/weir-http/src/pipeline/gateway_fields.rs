//! The fields that Weir vouches for: who the client is, which request and which trace this is.

use std::io::Write;

use weir_telemetry::trace::TraceContext;
use weir_wire::http1::Known;

use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::plane::Plane;
use crate::trust;

/// Longest request id that is taken from a trusted peer.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Settles the client, the request id and the trace: before anything is judged, so that errors are logged with them.
pub(super) fn begin(connection: &Connection, exchange: &mut Exchange, plane: &Plane) {
    exchange.tls = connection.client.tls.clone();
    let peer = connection.client.peer_ip();
    let fields = &exchange.request.fields;
    exchange.trusted_peer = peer.is_some_and(|peer| plane.trusted.contains(peer));
    exchange.client = match peer {
        Some(peer) if exchange.trusted_peer => Some(trust::client(&plane.trusted, peer, fields)),
        peer => peer,
    };
    match fields.get(Known::XRequestId).filter(|_| exchange.trusted_peer) {
        Some(id) if (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic) => {
            exchange.request_id.extend_from_slice(id);
        }
        _ => write_hex(
            &mut exchange.request_id,
            [connection.worker.base.random(), connection.worker.base.random()],
        ),
    }
    let random = || connection.worker.base.random();
    exchange.trace = match fields.get(Known::Traceparent).and_then(TraceContext::parse) {
        Some(parent) if fields.count(Known::Traceparent) == 1 => parent.child(random()),
        _ => TraceContext::generate(random(), random(), random()),
    };
}

/// Turns the fields into those that are forwarded: what is not ours to pass on goes, what we vouch for is written.
pub(super) fn finish(connection: &Connection, exchange: &mut Exchange) {
    let trusted = exchange.trusted_peer;
    let fields = &mut exchange.request.fields;
    let wants_trailers = fields
        .all(Known::Te)
        .flat_map(weir_wire::http1::list_items)
        .any(|item| item.eq_ignore_ascii_case(b"trailers"));
    // Before anything of ours is added: a client cannot have our fields removed by listing them.
    fields.strip_hop_by_hop();
    exchange.wants_trailers = wants_trailers;
    let mut forwarded_for = std::mem::take(&mut exchange.up);
    forwarded_for.clear();
    if trusted {
        for value in fields.all(Known::XForwardedFor) {
            forwarded_for.extend_from_slice(value);
            forwarded_for.extend_from_slice(b", ");
        }
    }
    let mut has_proto = false;
    let mut has_host = false;
    let keeps_trace_state = fields.count(Known::Traceparent) == 1;
    fields.retain(|known, name, _| match known {
        Known::Host | Known::XForwardedFor | Known::XRealIp | Known::XRequestId | Known::Traceparent => false,
        Known::Tracestate => keeps_trace_state,
        Known::Forwarded | Known::XForwardedPort => trusted,
        Known::XForwardedProto => trusted && !std::mem::replace(&mut has_proto, true),
        Known::XForwardedHost => trusted && !std::mem::replace(&mut has_host, true),
        Known::ProxyAuthorization => false,
        Known::Other => Known::twin_of(name).is_none(),
        _ => true,
    });
    let peer = connection.client.peer_text();
    if !peer.is_empty() {
        forwarded_for.extend_from_slice(peer);
        fields.append_own(Known::XForwardedFor, "X-Forwarded-For", &forwarded_for);
    }
    match exchange.client {
        Some(client) if Some(client) != connection.client.peer_ip() => {
            forwarded_for.clear();
            write!(forwarded_for, "{client}").expect("writing to memory does not fail");
            fields.append_own(Known::XRealIp, "X-Real-IP", &forwarded_for);
        }
        Some(_) => fields.append_own(Known::XRealIp, "X-Real-IP", peer),
        None => {}
    }
    exchange.up = forwarded_for;
    if !has_proto {
        fields.append_own(Known::XForwardedProto, "X-Forwarded-Proto", exchange.scheme.as_bytes());
    }
    if !has_host && !exchange.authority.is_empty() {
        fields.append_own(Known::XForwardedHost, "X-Forwarded-Host", &exchange.authority);
    }
    fields.append_own(Known::XRequestId, "X-Request-Id", &exchange.request_id);
    fields.append_own(Known::Traceparent, "traceparent", &exchange.trace.traceparent());
}

fn write_hex(out: &mut Vec<u8>, words: [u64; 2]) {
    for word in words {
        for byte in word.to_be_bytes() {
            out.push(b"0123456789abcdef"[usize::from(byte >> 4)]);
            out.push(b"0123456789abcdef"[usize::from(byte & 15)]);
        }
    }
}
