use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::balancer::Ewma;
use crate::health::Vitals;
use crate::link::Link;
use crate::queue::Queue;
use crate::{Address, EndpointPlan, EndpointState, LinkId, Outcome, Spoken};

/// One address of an upstream, with the settings of one configuration; its load, counters and health are shared with
/// its earlier and later selves.
#[derive(Debug)]
pub struct Endpoint {
    address: Address,
    label: Arc<str>,
    host: Arc<str>,
    weight: u16,
    max_connections: Option<u32>,
    backup: bool,
    pub(crate) link: Arc<Link>,
    pub(crate) load: Arc<Load>,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) queue: Arc<Queue>,
}

/// What an endpoint shares with its earlier and later selves.
pub(crate) struct Lasting {
    pub(crate) link: Arc<Link>,
    pub(crate) load: Arc<Load>,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) queue: Arc<Queue>,
}

impl Endpoint {
    /// An endpoint for `address` with a plan line's settings.
    pub(crate) fn new(address: Address, host: Arc<str>, plan: &EndpointPlan, lasting: Lasting) -> Self {
        let Lasting { link, load, vitals, queue } = lasting;
        Self {
            label: address.to_string().into(),
            address,
            host,
            weight: plan.weight,
            max_connections: plan.max_connections,
            backup: plan.backup,
            link,
            load,
            vitals,
            queue,
        }
    }

    /// Says whether any configuration still wants this endpoint, in all its generations.
    pub fn set_retired(&self, retired: bool) {
        self.load.retired.store(retired, Ordering::Relaxed);
    }

    /// Whether no configuration wants this endpoint any more.
    pub fn is_retired(&self) -> bool {
        self.load.retired.load(Ordering::Relaxed)
    }

    /// What connections to it are known by: another one when they are made in another way.
    pub fn link_id(&self) -> LinkId {
        self.link.id()
    }

    /// Says whether any configuration still wants connections that are made as this one makes them.
    pub fn set_link_wanted(&self, wanted: bool) {
        self.link.set_unwanted(!wanted);
    }

    /// Whether a connection to it that has become idle may be kept.
    pub fn keeps_connections(&self) -> bool {
        !self.is_retired() && !self.link.is_unwanted()
    }

    /// Remembers which version of HTTP a connection to it turned out to speak.
    pub fn set_spoken(&self, spoken: Spoken) {
        self.link.set_spoken(spoken);
    }

    /// The version of HTTP that was spoken on the last connection to it; none before the first.
    pub fn spoken(&self) -> Option<Spoken> {
        self.link.spoken()
    }

    /// Whether connections to it are secured by TLS.
    pub fn is_secured(&self) -> bool {
        self.link.secured().is_some()
    }

    /// Whom it must prove to be, where connections to it are secured by TLS.
    pub fn server_name(&self) -> Option<String> {
        self.link.secured().map(|secured| secured.name.to_str().into_owned())
    }

    /// A number that is unique in the process and stays with this address of this upstream across reloads.
    pub fn id(&self) -> u32 {
        self.load.id
    }

    /// Where it listens.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Its name in logs, metrics and the admin API: the address as written.
    pub const fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// What `host: endpoint` sends: `name:port` for an address found by name, `address:port` otherwise, `localhost` for
    /// a unix socket.
    pub const fn host(&self) -> &Arc<str> {
        &self.host
    }

    /// The configured weight.
    pub const fn weight(&self) -> u16 {
        self.weight
    }

    /// Most requests in flight.
    pub const fn max_connections(&self) -> Option<u32> {
        self.max_connections
    }

    /// Whether it is used only while no other is available.
    pub const fn is_backup(&self) -> bool {
        self.backup
    }

    /// Requests in flight, over all workers.
    pub fn in_flight(&self) -> u32 {
        Busy::in_flight(self.load.busy.0.load(Ordering::Relaxed))
    }

    /// What it is and why; one relaxed load.
    pub fn state(&self) -> EndpointState {
        self.vitals.state()
    }

    /// Requests ever sent to it; begins anew at 2^40, which takes four months at a hundred thousand a second.
    pub fn requests(&self) -> u64 {
        self.load.busy.0.load(Ordering::Relaxed) >> Busy::IN_FLIGHT_BITS
    }

    /// Attempts that failed in this way.
    pub fn failures(&self, kind: FailureKind) -> u64 {
        self.load.tally.failures[kind as usize].load(Ordering::Relaxed)
    }

    /// How often it was paused.
    pub fn ejections(&self) -> u64 {
        self.load.tally.ejections.load(Ordering::Relaxed)
    }

    /// Counts a connection that it took, and how long that was.
    pub fn connected(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.load.tally.connects.fetch_add(1, Ordering::Relaxed);
        self.load.tally.connect_ns.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Connections that it took.
    pub fn connects(&self) -> u64 {
        self.load.tally.connects.load(Ordering::Relaxed)
    }

    /// How long it took to take them, all together.
    pub fn connect_time(&self) -> Duration {
        Duration::from_nanos(self.load.tally.connect_ns.load(Ordering::Relaxed))
    }

    /// Counts bytes that were relayed to it and from it, beside HTTP.
    pub fn passed(&self, to: u64, from: u64) {
        self.load.tally.bytes_to.fetch_add(to, Ordering::Relaxed);
        self.load.tally.bytes_from.fetch_add(from, Ordering::Relaxed);
    }

    /// Bytes that were relayed to it, beside HTTP.
    pub fn bytes_to(&self) -> u64 {
        self.load.tally.bytes_to.load(Ordering::Relaxed)
    }

    /// Bytes that were relayed from it, beside HTTP.
    pub fn bytes_from(&self) -> u64 {
        self.load.tally.bytes_from.load(Ordering::Relaxed)
    }

    pub(crate) fn ewma(&self) -> &Ewma {
        &self.load.tally.ewma
    }

    pub(crate) fn is_full(&self) -> bool {
        self.max_connections
            .is_some_and(|max| Busy::in_flight(self.load.busy.0.load(Ordering::SeqCst)) >= max)
    }

    /// Counts one more request in flight, unless it is at its cap.
    pub(crate) fn enter(&self) -> bool {
        let busy = &self.load.busy.0;
        match self.max_connections {
            // SeqCst pairs with the queue's count of waiters: see `Queue::slot_freed`.
            Some(max) => busy
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |busy| {
                    (Busy::in_flight(busy) < max).then(|| busy.wrapping_add(Busy::ONE_MORE))
                })
                .is_ok(),
            None => {
                busy.fetch_add(Busy::ONE_MORE, Ordering::Relaxed);
                true
            }
        }
    }

    /// Ends what [`Self::enter`] began.
    pub(crate) fn leave(&self) {
        self.load.busy.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The ways in which an attempt fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The connection was refused or reset while being made.
    Connect,
    /// There was no TLS on the connection: a certificate that is not to be trusted, no common version.
    Tls,
    /// The connection was not made in time.
    ConnectTimeout,
    /// The head did not come in time.
    ResponseTimeout,
    /// The connection ended before the head.
    ClosedEarly,
    /// The answer was not one unambiguous HTTP message.
    Malformed,
    /// A listed status.
    Status,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Tls,
        Self::ConnectTimeout,
        Self::ResponseTimeout,
        Self::ClosedEarly,
        Self::Malformed,
        Self::Status,
    ];

    /// The word used in logs, metrics and the admin API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::ConnectTimeout => "connect-timeout",
            Self::ResponseTimeout => "response-timeout",
            Self::ClosedEarly => "closed-early",
            Self::Malformed => "malformed",
            Self::Status => "status",
        }
    }

    /// What an outcome counts as; `None` for success and cancellation.
    pub const fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Success { .. } | Outcome::Cancelled => None,
            Outcome::ConnectFailed => Some(Self::Connect),
            Outcome::TlsFailed => Some(Self::Tls),
            Outcome::ConnectTimeout => Some(Self::ConnectTimeout),
            Outcome::ResponseTimeout => Some(Self::ResponseTimeout),
            Outcome::ClosedEarly => Some(Self::ClosedEarly),
            Outcome::Malformed => Some(Self::Malformed),
            Outcome::Status(_) => Some(Self::Status),
        }
    }
}

/// What every request to an address changes, shared by all its configurations.
#[derive(Debug)]
pub(crate) struct Load {
    /// No configuration wants it any more: connections to it are not kept.
    retired: AtomicBool,
    id: u32,
    /// Written at every pick and end of a request; two cache lines for itself, as processors fetch pairs.
    busy: Busy,
    pub(crate) tally: Tally,
}

/// Requests in flight in the low 24 bits (a process has at most some million descriptors), requests ever in the others:
/// one atomic step begins both.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Busy(AtomicU64);

impl Busy {
    const IN_FLIGHT_BITS: u32 = 24;
    const ONE_MORE: u64 = (1 << Self::IN_FLIGHT_BITS) + 1;

    const fn in_flight(busy: u64) -> u32 {
        (busy & ((1 << Self::IN_FLIGHT_BITS) - 1)) as u32
    }
}

/// Written on failures, and by `least_time` on every answer.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Tally {
    pub(crate) failures: [AtomicU64; FailureKind::ALL.len()],
    pub(crate) ejections: AtomicU64,
    connects: AtomicU64,
    connect_ns: AtomicU64,
    bytes_to: AtomicU64,
    bytes_from: AtomicU64,
    ewma: Ewma,
}

/// The next id; process-wide, because pools of all upstreams are keyed by it.
static NEXT_ID: AtomicU32 = AtomicU32::new(1);

impl Load {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            retired: AtomicBool::new(false),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            busy: Busy::default(),
            tally: Tally {
                failures: Default::default(),
                ejections: AtomicU64::new(0),
                connects: AtomicU64::new(0),
                connect_ns: AtomicU64::new(0),
                bytes_to: AtomicU64::new(0),
                bytes_from: AtomicU64::new(0),
                ewma: Ewma::new(now),
            },
        }
    }
}
