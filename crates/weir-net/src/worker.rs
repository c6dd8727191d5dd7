use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use weir_task::{DeadlineWaker, Deadlines, DrainSignal};
use weir_telemetry::{Level, Log, Shard, Value};

use crate::admission::Counts;
use crate::connections::{ConnectionHandle, Connections};
use crate::stats::{ConnectionStats, ProxyHeaderFailure};
use crate::tls::TlsFailure;
use crate::{ListenerState, Spares, Tunnels};

/// What all workers share, whatever they serve.
#[derive(Debug)]
pub struct WorkerShared {
    /// Where events go.
    pub log: Log,
    /// Counters of connections.
    pub stats: Arc<ConnectionStats>,
    /// Who opens streams to agents; set once, before anybody asks.
    pub tunnels: OnceLock<Arc<dyn Tunnels>>,
    /// Told when a listener cannot accept any more, for a reason that does not pass.
    pub listener_failed: Notify,
    pub(crate) counts: Counts,
    workers: Mutex<Vec<Weak<Worker>>>,
    /// Goes up when an endpoint becomes available or ceases to be.
    health_changes: AtomicU64,
    /// Goes up when descriptors are short, so that every worker gives up what is idle.
    shortages: AtomicU64,
}

impl WorkerShared {
    /// What all workers share.
    pub fn new(stats: Arc<ConnectionStats>, log: Log) -> Arc<Self> {
        Arc::new(Self {
            log,
            stats,
            tunnels: OnceLock::new(),
            listener_failed: Notify::new(),
            counts: Counts::default(),
            workers: Mutex::default(),
            health_changes: AtomicU64::new(0),
            shortages: AtomicU64::new(0),
        })
    }

    /// An endpoint became available, or ceased to be: connections that care are woken to look.
    pub fn health_changed(&self) {
        self.health_changes.fetch_add(1, Ordering::Relaxed);
    }
}

/// What belongs to one worker, whatever it serves: its connections, its buffers, its deadlines.
///
/// Its locks are taken by tasks of this worker's one thread and are therefore free; they are there so that
/// futures stay `Send` and code ordinary. The one exception is making room: another worker may close what is idle here.
#[derive(Debug)]
pub struct Worker {
    /// What it shares with the other workers.
    pub shared: Arc<WorkerShared>,
    /// Its place in counters.
    pub shard: Shard,
    /// When its connections give up.
    pub deadlines: Arc<Deadlines>,
    /// Unused buffers and pipes.
    pub spares: Spares,
    /// How far the process has come on its way out.
    pub drain: DrainSignal,
    draining: AtomicBool,
    stopping: AtomicBool,
    connections: Mutex<Connections>,
    /// How many of them are idle; changed by this worker's thread alone.
    pub(crate) idle: AtomicUsize,
    random: AtomicU64,
    born: Instant,
    shortages_seen: AtomicU64,
    hoarders: Mutex<Vec<Weak<dyn Hoard>>>,
    /// When a refused PROXY header was last told, in milliseconds of the worker's life plus one; 0 for never.
    proxy_failure_told_ms: AtomicU64,
    /// The same for failed TLS handshakes, those that do not matter and those that do.
    tls_failure_told_ms: [AtomicU64; 2],
    /// The same for a shortage of descriptors.
    shortage_told_ms: AtomicU64,
}

/// Something on a worker that keeps idle upstream connections.
pub trait Hoard: Send + Sync + std::fmt::Debug {
    /// Closes up to `count` of them at once, those that have been idle longest; returns how many.
    fn shed(&self, count: usize) -> usize;
}

/// How often a worker looks after its own.
const TICK: Duration = Duration::from_millis(200);

/// Least pause between two events about a shortage of descriptors.
const SHORTAGE_PAUSE_MS: u64 = 10_000;

/// Least pause between two events about refused PROXY headers, or failed handshakes: a client can cause them at will.
const CLIENT_FAILURE_PAUSE_MS: u64 = 1_000;

/// Of so many idle client connections one more is closed at once where room is needed.
const IDLE_FOR_ONE: usize = 64;

/// Idle client connections that a worker closes at once when descriptors run out.
const SHED_CLIENTS: usize = 16;

/// Idle upstream connections that a worker closes at once when descriptors run out.
const SHED_UPSTREAMS: usize = 16;

/// Locks; every critical section is a few lines that leave whole data behind, whatever happens.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Worker {
    /// Makes the worker with this shard.
    pub fn new(shared: Arc<WorkerShared>, shard: Shard, drain: DrainSignal, now: Instant) -> Arc<Self> {
        let worker = Arc::new(Self {
            shared,
            shard,
            deadlines: Deadlines::new(now),
            spares: Spares::default(),
            drain,
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            connections: Mutex::default(),
            idle: AtomicUsize::new(0),
            random: AtomicU64::new(fastrand::u64(..)),
            born: now,
            shortages_seen: AtomicU64::new(0),
            hoarders: Mutex::default(),
            proxy_failure_told_ms: AtomicU64::new(0),
            tls_failure_told_ms: Default::default(),
            shortage_told_ms: AtomicU64::new(0),
        });
        locked(&worker.shared.workers).push(Arc::downgrade(&worker));
        worker
    }

    /// Asks `hoarder`, too, where a descriptor is needed.
    pub fn ask_too(&self, hoarder: Weak<dyn Hoard>) {
        locked(&self.hoarders).push(hoarder);
    }

    /// Keeps the worker's house until its runtime ends: deadlines, buffers, the way out.
    pub async fn run(self: Arc<Self>) {
        let deadlines = Arc::clone(&self.deadlines);
        tokio::join!(deadlines.run(), self.tick(), self.watch_drain());
    }

    async fn tick(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round: u32 = 0;
        let mut health_seen = self.shared.health_changes.load(Ordering::Relaxed);
        loop {
            ticks.tick().await;
            round = round.wrapping_add(1);
            self.shed_when_asked();
            let changes = self.shared.health_changes.load(Ordering::Relaxed);
            if std::mem::replace(&mut health_seen, changes) != changes {
                self.wake_all();
            }
            if round.is_multiple_of(5) {
                self.spares.pipes.shrink();
            }
            if round.is_multiple_of(50) {
                self.spares.buffers.shrink();
            }
        }
    }

    async fn watch_drain(&self) {
        let mut drain = self.drain.clone();
        drain.begun().await;
        self.draining.store(true, Ordering::Relaxed);
        self.wake_all();
        drain.stopped().await;
        self.stopping.store(true, Ordering::Relaxed);
        self.wake_all();
        // Streams of HTTP/2 are no connections, and have their own.
        self.deadlines.wake_all();
    }

    /// Whether connections should end after what they serve.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether connections should end at once.
    #[inline]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Whether no client connection is open here.
    pub fn is_deserted(&self) -> bool {
        locked(&self.connections).is_empty()
    }

    /// Wakes every connection, so that it looks at what has changed: a listener that was retired, an endpoint that is
    /// gone.
    pub fn wake_all(&self) {
        locked(&self.connections).wake_all();
    }

    /// A number that a client cannot guess cheaply; not for secrets. SplitMix64 over a per-worker seed.
    #[inline]
    pub fn random(&self) -> u64 {
        let state = self.random.load(Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.store(state, Ordering::Relaxed);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Milliseconds of the worker's life at this moment.
    pub fn age_ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX - 1)
    }

    pub(crate) fn register(&self, waker: DeadlineWaker) -> (u32, Arc<ConnectionHandle>) {
        locked(&self.connections).insert(waker)
    }

    pub(crate) fn unregister(&self, id: u32) {
        locked(&self.connections).remove(id);
    }

    /// A listener is broken for good: the control side drains what is left.
    pub fn listener_failed(&self) {
        self.shared.listener_failed.notify_one();
    }

    /// Says that a listener cannot accept.
    pub fn log_accept_failure(&self, listener: &ListenerState, error: &std::io::Error) {
        let fields = [("listener", Value::Str(&listener.name)), ("error", Value::Str(&error.to_string()))];
        self.shared.log.event(Level::Error, "accept_failed", &fields);
    }

    /// A connection is closed over its PROXY header; told once a second at most, counted always.
    pub fn proxy_header_failed(
        &self,
        listener: &ListenerState,
        peer: Option<SocketAddr>,
        failure: ProxyHeaderFailure,
    ) {
        self.shared.stats.proxy_header_failed(failure);
        let now = self.age_ms(Instant::now()) + 1;
        let told = self.proxy_failure_told_ms.load(Ordering::Relaxed);
        if told > 0 && now < told + CLIENT_FAILURE_PAUSE_MS {
            return;
        }
        self.proxy_failure_told_ms.store(now, Ordering::Relaxed);
        let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
        let fields = [
            ("listener", Value::Str(&listener.name)),
            ("peer", Value::Str(&peer)),
            ("reason", Value::Str(failure.as_str())),
        ];
        self.shared.log.event(Level::Warn, "proxy_header_refused", &fields);
    }

    /// There is no TLS with a client; what may be a fault of the configuration is told once a second at most, the daily
    /// business of an open port only to who looks for a fault. Counted already.
    pub fn tls_failed(&self, listener: &ListenerState, peer: Option<SocketAddr>, failure: &TlsFailure) {
        let reason = failure.reason();
        let level = if reason.matters() { Level::Warn } else { Level::Debug };
        let log = &self.shared.log;
        if !log.wants(level) {
            return;
        }
        let now = self.age_ms(Instant::now()) + 1;
        let told_ms = &self.tls_failure_told_ms[usize::from(reason.matters())];
        let told = told_ms.load(Ordering::Relaxed);
        if told > 0 && now < told + CLIENT_FAILURE_PAUSE_MS {
            return;
        }
        told_ms.store(now, Ordering::Relaxed);
        let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
        let fields = [
            ("listener", Value::Str(&listener.name)),
            ("peer", Value::Str(&peer)),
            ("reason", Value::Str(reason.as_str())),
            ("error", Value::Str(&failure.to_string())),
        ];
        log.event(level, "tls_handshake_failed", &fields);
    }

    /// A descriptor was needed and none was left: gives up idle connections here at once and asks every
    /// other worker to do the same.
    pub fn descriptors_ran_out(&self) {
        self.shared.stats.descriptors_exhausted.add(1);
        let now = self.age_ms(Instant::now()) + 1;
        let told = self.shortage_told_ms.load(Ordering::Relaxed);
        if told == 0 || now >= told + SHORTAGE_PAUSE_MS {
            self.shortage_told_ms.store(now, Ordering::Relaxed);
            self.shared.log.event(Level::Error, "descriptors_exhausted", &[]);
        }
        let asked = self.shared.shortages.fetch_add(1, Ordering::Relaxed) + 1;
        self.shortages_seen.store(asked, Ordering::Relaxed);
        self.shed();
    }

    /// Closes those that have been idle longest, here or else at another worker; false where none is idle.
    pub(crate) fn make_room(&self) -> bool {
        let mut shed = self.close_idle();
        if shed == 0 {
            let others = locked(&self.shared.workers).clone();
            let mut others = others.iter().filter_map(Weak::upgrade);
            shed = others.find_map(|other| Some(other.close_idle()).filter(|&shed| shed > 0)).unwrap_or(0);
        }
        self.shared.stats.shed_idle_clients.add(shed as u64);
        shed > 0
    }

    /// Closes some of those that have been idle longest, one where few are: to find them all connections are looked at,
    /// which a flood must not cause with each newcomer.
    fn close_idle(&self) -> usize {
        match self.idle.load(Ordering::Relaxed) {
            0 => 0,
            idle => locked(&self.connections).close_oldest_idle(1 + idle / IDLE_FOR_ONE),
        }
    }

    fn shed_when_asked(&self) {
        let asked = self.shared.shortages.load(Ordering::Relaxed);
        if self.shortages_seen.swap(asked, Ordering::Relaxed) != asked {
            self.shed();
        }
    }

    fn shed(&self) {
        let hoarders = locked(&self.hoarders).clone();
        let upstreams: usize =
            hoarders.iter().filter_map(Weak::upgrade).map(|hoarder| hoarder.shed(SHED_UPSTREAMS)).sum();
        self.spares.pipes.shed();
        self.shared.stats.shed_idle_upstreams.add(upstreams as u64);
        let clients = locked(&self.connections).close_oldest_idle(SHED_CLIENTS);
        self.shared.stats.shed_idle_clients.add(clients as u64);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use weir_task::Drain;

    /// Two workers of one process.
    pub(crate) fn workers() -> [Arc<Worker>; 2] {
        let log = Log::discard();
        let shared = WorkerShared::new(ConnectionStats::new(3), log);
        let drain = Drain::default();
        [0, 1].map(|index| Worker::new(Arc::clone(&shared), Shard(index), drain.signal(), Instant::now()))
    }
}
