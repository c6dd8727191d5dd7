//! The metrics that nobody below knows: endpoints, listeners, revisions, and the plane that changes with them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use weir_telemetry::process::Process;
use weir_telemetry::{Collect, Exposition, Kind};
use weir_upstream::EndpointState;
use weir_upstream::status::{EndpointStatus, UpstreamStatus};

use crate::run::Gateway;

/// Registers everything that is shown for the gateway's whole life.
pub(super) fn register(gateway: &Arc<Gateway>) {
    let registry = &gateway.registry;
    registry.register(Arc::new(Process::new(env!("CARGO_PKG_VERSION"))));
    registry.register(Arc::clone(&gateway.connections) as Arc<dyn Collect>);
    registry.register(Arc::clone(&gateway.stats) as Arc<dyn Collect>);
    registry.register(Arc::new(gateway.access.clone()));
    // Weak: the registry belongs to the gateway, which would otherwise keep itself.
    registry.register_weak(Arc::downgrade(gateway) as std::sync::Weak<dyn Collect>);
}

impl Collect for Gateway {
    fn collect(&self, out: &mut Exposition) {
        self.live.load().collect(out);
        self.stream.load().collect(out);
        revisions(self, out);
        listeners(self, out);
        certificates(self, out);
        let now = Instant::now();
        let upstreams: Vec<UpstreamStatus> =
            self.upstreams().iter().map(|upstream| upstream.status(now)).collect();
        upstreams.iter().for_each(|upstream| whole(upstream, out));
        upstreams.iter().for_each(|upstream| handshakes(upstream, out));
        for upstream in &upstreams {
            upstream.endpoints.iter().for_each(|endpoint| each(&upstream.name, endpoint, out));
        }
    }
}

fn revisions(gateway: &Gateway, out: &mut Exposition) {
    let reloads = &gateway.reloads;
    out.family("weir_config_revision", "The revision of the configuration that is served.", Kind::Gauge)
        .sample(&[], gateway.revision() as f64);
    out.family("weir_config_reloads_total", "Reloads by result.", Kind::Counter)
        .sample(&[("result", "success")], reloads.succeeded() as f64)
        .sample(&[("result", "failure")], reloads.failed() as f64);
    out.family(
        "weir_config_last_reload_successful",
        "Whether the last reload, or the start, was taken.",
        Kind::Gauge,
    )
    .sample(&[], f64::from(u8::from(reloads.last_succeeded())));
    out.family(
        "weir_config_last_reload_success_timestamp_seconds",
        "When the configuration that is served was taken, in Unix time.",
        Kind::Gauge,
    )
    .sample(&[], seconds(reloads.last_success()));
}

fn listeners(gateway: &Gateway, out: &mut Exposition) {
    // A listener may have several addresses.
    let mut open: BTreeMap<String, i64> = BTreeMap::new();
    for row in gateway.listeners() {
        *open.entry(row.name).or_default() += row.open;
    }
    let family = out.family(
        "weir_listener_connections",
        "Open client connections, or sessions, by listener.",
        Kind::Gauge,
    );
    for (name, connections) in open {
        family.sample(&[("listener", &name)], connections as f64);
    }
}

/// Certificates of a listener that have a series of their own: those that end first. Ten thousand would be most of a
/// scrape, and say nothing more.
const CERTIFICATE_SERIES_MAX: usize = 100;

fn certificates(gateway: &Gateway, out: &mut Exposition) {
    let all = gateway.tls();
    let count = out.family("weir_certificates", "Certificates that are served, by listener.", Kind::Gauge);
    for (listener, tls) in &all {
        count.sample(&[("listener", listener)], tls.certificates().certificates().len() as f64);
    }
    let expiry = out.family(
        "weir_certificate_expiry_timestamp_seconds",
        "When a certificate ends, in Unix time: of each listener the hundred that end first.",
        Kind::Gauge,
    );
    for (listener, tls) in &all {
        // Two certificates may have the same first name, of two kinds of key or for other names: the first to end counts.
        let mut ends: BTreeMap<Arc<str>, SystemTime> = BTreeMap::new();
        for certificate in tls.certificates().certificates() {
            let end = ends.entry(Arc::clone(&certificate.label)).or_insert(certificate.not_after);
            *end = certificate.not_after.min(*end);
        }
        let mut ends: Vec<_> = ends.into_iter().collect();
        ends.sort_by_key(|(_, end)| *end);
        for (label, end) in ends.into_iter().take(CERTIFICATE_SERIES_MAX) {
            expiry.sample(&[("listener", listener), ("certificate", &label)], seconds(end));
        }
    }
    let renewed = out.family(
        "weir_certificates_renewed_total",
        "Certificates that were taken while the listener was running.",
        Kind::Counter,
    );
    for (listener, tls) in &all {
        renewed.sample(&[("listener", listener)], tls.tally().renewed() as f64);
    }
    let refused = out.family(
        "weir_certificates_refused_total",
        "Times that a certificate, a key or a file of authorities was found to be broken.",
        Kind::Counter,
    );
    for (listener, tls) in &all {
        refused.sample(&[("listener", listener)], tls.tally().refused() as f64);
    }
}

fn whole(upstream: &UpstreamStatus, out: &mut Exposition) {
    let rows: [(&str, &str, Kind, f64); 9] = [
        ("endpoints", "Endpoints known, by upstream.", Kind::Gauge, upstream.endpoints.len() as f64),
        (
            "endpoints_available",
            "Endpoints available by their own health, by upstream.",
            Kind::Gauge,
            f64::from(upstream.available),
        ),
        (
            "panic",
            "Whether all endpoints are used because too few are available, by upstream.",
            Kind::Gauge,
            f64::from(u8::from(upstream.panic)),
        ),
        (
            "retries_total",
            "Retries that the budget allowed, by upstream.",
            Kind::Counter,
            upstream.retries_allowed as f64,
        ),
        (
            "retries_refused_total",
            "Retries that the budget refused, by upstream.",
            Kind::Counter,
            upstream.retries_refused as f64,
        ),
        (
            "queue_waiting",
            "Requests that wait for an endpoint, by upstream.",
            Kind::Gauge,
            f64::from(upstream.queue.waiting),
        ),
        (
            "queue_waits_total",
            "Requests that ever waited, by upstream.",
            Kind::Counter,
            upstream.queue.waits as f64,
        ),
        (
            "queue_full_total",
            "Requests refused because the queue was full, by upstream.",
            Kind::Counter,
            upstream.queue.full as f64,
        ),
        (
            "queue_timeouts_total",
            "Requests that gave up waiting, by upstream.",
            Kind::Counter,
            upstream.queue.timeouts as f64,
        ),
    ];
    for (name, help, kind, value) in rows {
        out.family(&format!("weir_upstream_{name}"), help, kind)
            .sample(&[("upstream", &upstream.name)], value);
    }
}

fn handshakes(upstream: &UpstreamStatus, out: &mut Exposition) {
    let Some(tls) = &upstream.tls else { return };
    out.family(
        "weir_upstream_tls_handshakes_total",
        "TLS handshakes with endpoints that succeeded, by upstream.",
        Kind::Counter,
    )
    .sample(&[("upstream", &upstream.name), ("kind", "full")], tls.full as f64)
    .sample(&[("upstream", &upstream.name), ("kind", "resumed")], tls.resumed as f64);
    let failed = out.family(
        "weir_upstream_tls_failures_total",
        "TLS handshakes with endpoints that failed, by upstream and reason.",
        Kind::Counter,
    );
    for (reason, count) in tls.failed {
        failed.sample(&[("upstream", &upstream.name), ("reason", reason.as_str())], count as f64);
    }
}

fn each(upstream: &str, endpoint: &EndpointStatus, out: &mut Exposition) {
    let labels = [("upstream", upstream), ("endpoint", &*endpoint.label)];
    let mut put = |name: &str, help: &str, kind: Kind, value: f64| {
        out.family(&format!("weir_endpoint_{name}"), help, kind).sample(&labels, value);
    };
    put("requests_total", "Requests sent, by endpoint.", Kind::Counter, endpoint.requests as f64);
    put("connects_total", "Connections that it took, by endpoint.", Kind::Counter, endpoint.connects as f64);
    put(
        "connect_seconds_total",
        "How long it took to take them, all together, by endpoint.",
        Kind::Counter,
        endpoint.connect_time.as_secs_f64(),
    );
    put(
        "relayed_to_bytes_total",
        "Bytes relayed to it by tcp and udp listeners, by endpoint.",
        Kind::Counter,
        endpoint.bytes_to as f64,
    );
    put(
        "relayed_from_bytes_total",
        "Bytes relayed from it by tcp and udp listeners, by endpoint.",
        Kind::Counter,
        endpoint.bytes_from as f64,
    );
    put("in_flight", "Requests in flight, by endpoint.", Kind::Gauge, f64::from(endpoint.in_flight));
    put("weight", "The weight in force, by endpoint.", Kind::Gauge, f64::from(endpoint.weight_now) / 100.0);
    put(
        "ejections_total",
        "Pauses after failures in a row, by endpoint.",
        Kind::Counter,
        endpoint.ejections as f64,
    );
    if let Some(check) = &endpoint.last_check {
        put(
            "last_check_timestamp_seconds",
            "When the last active check ended, in Unix time, by endpoint.",
            Kind::Gauge,
            seconds(check.at),
        );
        put(
            "last_check_duration_seconds",
            "How long the last active check took, by endpoint.",
            Kind::Gauge,
            check.took.as_secs_f64(),
        );
        put(
            "last_check_successful",
            "Whether the last active check was good, by endpoint.",
            Kind::Gauge,
            f64::from(u8::from(check.fault.is_none())),
        );
    }
    let failures =
        out.family("weir_endpoint_failures_total", "Failed attempts, by endpoint and kind.", Kind::Counter);
    for (kind, count) in endpoint.failures {
        failures.sample(&[labels[0], labels[1], ("kind", kind.as_str())], count as f64);
    }
    let states = out.family("weir_endpoint_state", "1 for the state that an endpoint is in.", Kind::Gauge);
    for state in STATES {
        let is_in = f64::from(u8::from(endpoint.state == state));
        states.sample(&[labels[0], labels[1], ("state", state.as_str())], is_in);
    }
}

const STATES: [EndpointState; 5] = [
    EndpointState::Up,
    EndpointState::CheckFailed,
    EndpointState::Ejected,
    EndpointState::Drained,
    EndpointState::SwitchedOff,
];

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
