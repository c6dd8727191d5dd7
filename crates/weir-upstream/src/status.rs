//! What the admin API shows of an upstream, as plain values.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::{
    AdminState, CheckResult, EndpointState, FailureKind, HealthPlan, Spoken, TlsStatus, Upstream, balancer,
};

/// An upstream at one moment.
#[derive(Debug, Clone)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: Arc<str>,
    /// The balancer's word.
    pub balance: &'static str,
    /// Whether all endpoints are used because too few are available.
    pub panic: bool,
    /// Endpoints available by their own health.
    pub available: u16,
    /// Retries that the budget allowed.
    pub retries_allowed: u64,
    /// Retries that the budget refused.
    pub retries_refused: u64,
    /// What became of handshakes; none where connections are not secured.
    pub tls: Option<TlsStatus>,
    /// The queue.
    pub queue: QueueStatus,
    /// The checks' effective settings.
    pub health: HealthPlan,
    /// Every endpoint.
    pub endpoints: Vec<EndpointStatus>,
    /// Every DNS name of the plan.
    pub names: Vec<NameStatus>,
}

/// A queue at one moment.
#[derive(Debug, Clone, Copy)]
pub struct QueueStatus {
    /// Requests that wait now.
    pub waiting: u32,
    /// Most that may wait.
    pub size: usize,
    /// Requests that ever waited.
    pub waits: u64,
    /// Requests refused because the queue was full.
    pub full: u64,
    /// Requests that gave up, by timeout.
    pub timeouts: u64,
}

/// An endpoint at one moment.
#[derive(Debug, Clone)]
pub struct EndpointStatus {
    /// Its shown name: the address.
    pub label: Arc<str>,
    /// Its id.
    pub id: u32,
    /// Whom it must prove to be, where connections are secured.
    pub server_name: Option<String>,
    /// The version of HTTP that was spoken on the last connection to it.
    pub spoken: Option<Spoken>,
    /// What it is and why.
    pub state: EndpointState,
    /// The operator's word.
    pub admin: AdminState,
    /// Whether it is a backup.
    pub backup: bool,
    /// The configured weight.
    pub weight: u16,
    /// The weight now, in hundredths; 0 takes no requests.
    pub weight_now: u32,
    /// Requests in flight.
    pub in_flight: u32,
    /// Most requests in flight.
    pub max_connections: Option<u32>,
    /// Requests ever sent to it.
    pub requests: u64,
    /// Failed attempts by kind.
    pub failures: [(FailureKind, u64); FailureKind::ALL.len()],
    /// Failures in a row.
    pub failures_in_a_row: u32,
    /// How often it was paused.
    pub ejections: u64,
    /// Connections that it took.
    pub connects: u64,
    /// How long it took to take them, all together.
    pub connect_time: Duration,
    /// Bytes that tcp and udp listeners relayed to it.
    pub bytes_to: u64,
    /// Bytes that tcp and udp listeners relayed from it.
    pub bytes_from: u64,
    /// What is left of its pause.
    pub ejected_for: Option<Duration>,
    /// Average latency, kept by `least_time` only.
    pub latency: Option<Duration>,
    /// The last active check.
    pub last_check: Option<CheckResult>,
}

/// A DNS name at one moment.
#[derive(Debug, Clone)]
pub struct NameStatus {
    /// `name:port`.
    pub name: String,
    /// How many addresses the last good answer had.
    pub addresses: usize,
    /// Age of the last good answer; `None` if there was none yet.
    pub age: Option<Duration>,
    /// Look-ups that failed.
    pub failures: u64,
    /// Why the last one failed; `None` after a good one.
    pub fault: Option<String>,
}

impl Upstream {
    /// What the admin API shows. Costs one allocation an endpoint and short locks.
    pub fn status(&self, now: Instant) -> UpstreamStatus {
        let view = self.view(now);
        let (queue, weights) = (self.queue(), view.weights());
        UpstreamStatus {
            name: Arc::clone(self.name()),
            balance: balancer::kind(&self.plan().balance).name,
            panic: view.is_panic,
            available: view.available,
            retries_allowed: self.retries().allowed.load(Ordering::Relaxed),
            retries_refused: self.retries().refused.load(Ordering::Relaxed),
            tls: self.plan().tls.as_ref().map(|_| self.tls_tally().status()),
            queue: QueueStatus {
                waiting: queue.waiting(),
                size: self.plan().queue.size,
                waits: queue.counters.waits.load(Ordering::Relaxed),
                full: queue.counters.full.load(Ordering::Relaxed),
                timeouts: queue.counters.timeouts.load(Ordering::Relaxed),
            },
            health: self.plan().health.clone(),
            endpoints: view
                .endpoints
                .iter()
                .map(|endpoint| EndpointStatus {
                    label: Arc::clone(endpoint.label()),
                    id: endpoint.id(),
                    server_name: endpoint.server_name(),
                    spoken: endpoint.spoken(),
                    state: endpoint.state(),
                    admin: endpoint.vitals.admin(),
                    backup: endpoint.is_backup(),
                    weight: endpoint.weight(),
                    weight_now: weights.get(&endpoint.id()).copied().unwrap_or(0),
                    in_flight: endpoint.in_flight(),
                    max_connections: endpoint.max_connections(),
                    requests: endpoint.requests(),
                    failures: FailureKind::ALL.map(|kind| (kind, endpoint.failures(kind))),
                    failures_in_a_row: endpoint.vitals.streak(),
                    ejections: endpoint.ejections(),
                    connects: endpoint.connects(),
                    connect_time: endpoint.connect_time(),
                    bytes_to: endpoint.bytes_to(),
                    bytes_from: endpoint.bytes_from(),
                    ejected_for: endpoint.vitals.ejected_until().map(|u| u.saturating_duration_since(now)),
                    latency: endpoint.ewma().read(now).map(|us| Duration::from_secs_f32(us / 1e6)),
                    last_check: endpoint.vitals.last_check(),
                })
                .collect(),
            names: self.name_statuses(now),
        }
    }

    fn name_statuses(&self, now: Instant) -> Vec<NameStatus> {
        self.plan()
            .names()
            .map(|name| {
                let answer = self.name_answer(&name).unwrap_or_default();
                NameStatus {
                    name: format!("{}:{}", name.0, name.1),
                    addresses: answer.addresses.len(),
                    age: answer.resolved_at.map(|at| now.saturating_duration_since(at)),
                    failures: answer.failures,
                    fault: answer.fault,
                }
            })
            .collect()
    }
}
