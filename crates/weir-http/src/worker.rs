use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;
use weir_net::{Socket, Spares};
use weir_task::{DeadlineWaker, Deadlines, DrainSignal, Live, LiveCache, Snapshot};
use weir_telemetry::{AccessBuffer, Level, Log, Shard, Value};
use weir_upstream::pool::Pool;

use crate::exchange::Exchange;
use crate::plane::{ListenerState, Plane};
use crate::stats::HttpStats;

/// What all workers share.
pub struct WorkerShared {
    /// The snapshot that requests are served by.
    pub live: Arc<Live<Plane>>,
    /// Counters of the plane.
    pub stats: Arc<HttpStats>,
    /// Where events go.
    pub log: Log,
    /// Told when a listener cannot accept any more, for a reason that does not pass.
    pub listener_failed: Notify,
    /// Open client connections by address, where a limit asks for it.
    pub(crate) per_ip: Mutex<HashMap<IpAddr, u32>>,
    /// Open client connections.
    pub(crate) open: AtomicU32,
    /// Set while descriptors are short, so that every worker gives up what is idle.
    pub(crate) short_of_descriptors: AtomicU64,
}

impl WorkerShared {
    /// What all workers share.
    pub fn new(live: Arc<Live<Plane>>, stats: Arc<HttpStats>, log: Log) -> Arc<Self> {
        Arc::new(Self {
            live,
            stats,
            log,
            listener_failed: Notify::new(),
            per_ip: Mutex::default(),
            open: AtomicU32::new(0),
            short_of_descriptors: AtomicU64::new(0),
        })
    }
}

/// What belongs to one worker: its pools, its buffers, its deadlines, its counters.
///
/// Its locks are taken by tasks of this worker's one thread and are therefore free; they are there so that
/// futures stay `Send` and code ordinary. The one exception is the shedding of idle connections.
pub struct Worker {
    pub(crate) shared: Arc<WorkerShared>,
    pub(crate) shard: Shard,
    pub(crate) deadlines: Arc<Deadlines>,
    pub(crate) spares: Spares,
    pub(crate) drain: DrainSignal,
    draining: AtomicBool,
    plane: Mutex<LiveCache<Plane>>,
    #[expect(clippy::vec_box, reason = "requests take them and give them back by pointer")]
    exchanges: Mutex<Vec<Box<Exchange>>>,
    pool: Mutex<Pool<Socket>>,
    access: Mutex<AccessBuffer>,
    connections: Mutex<Connections>,
    random: AtomicU64,
    born: Instant,
    date: Mutex<String>,
    /// Endpoints that said what nobody had asked, and until when their connections are used only once.
    distrusted: Mutex<Vec<(u32, Instant)>>,
    shed_seen: AtomicU64,
}

/// Unused exchanges that a worker keeps.
const EXCHANGES_KEPT_MAX: usize = 256;

/// How long an endpoint's connections are used only once after one of them said what nobody had asked.
const DISTRUST: Duration = Duration::from_secs(10);

/// Most endpoints that are distrusted at a time.
const DISTRUSTED_MAX: usize = 1_024;

/// How often a worker looks after its own: pools, buffers, the log's buffer, the snapshot.
const TICK: Duration = Duration::from_millis(200);

/// Idle client connections that a worker closes at once when descriptors run out.
const SHED_CLIENTS: usize = 16;

/// Idle upstream connections that a worker closes at once when descriptors run out.
const SHED_UPSTREAMS: usize = 16;

#[derive(Default)]
struct Connections {
    entries: Vec<Option<Arc<ConnectionHandle>>>,
    free: Vec<u32>,
}

/// What others may see and ask of a connection.
pub(crate) struct ConnectionHandle {
    waker: DeadlineWaker,
    /// Milliseconds of the worker's life when it became idle, plus one; 0 while it serves a request.
    idle_since_ms: AtomicU64,
    close: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each critical section is a few lines that leave whole data behind, whatever happens.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Worker {
    /// Makes the worker with this shard; `access` is where its access lines go.
    pub fn new(
        shared: Arc<WorkerShared>,
        shard: Shard,
        access: AccessBuffer,
        drain: DrainSignal,
        now: Instant,
    ) -> Arc<Self> {
        Arc::new(Self {
            shared,
            shard,
            deadlines: Deadlines::new(now),
            spares: Spares::default(),
            drain,
            draining: AtomicBool::new(false),
            plane: Mutex::default(),
            exchanges: Mutex::default(),
            pool: Mutex::new(Pool::new()),
            access: Mutex::new(access),
            connections: Mutex::default(),
            random: AtomicU64::new(fastrand::u64(..)),
            born: now,
            date: Mutex::new(httpdate::fmt_http_date(SystemTime::now())),
            distrusted: Mutex::default(),
            shed_seen: AtomicU64::new(0),
        })
    }

    /// Keeps the worker's house until its runtime ends: deadlines, pools, buffers, logs.
    pub async fn run(self: Arc<Self>) {
        let deadlines = Arc::clone(&self.deadlines);
        tokio::join!(deadlines.run(), self.tick(), self.watch_drain());
    }

    async fn tick(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round: u32 = 0;
        loop {
            ticks.tick().await;
            round = round.wrapping_add(1);
            locked(&self.access).flush();
            *locked(&self.date) = httpdate::fmt_http_date(SystemTime::now());
            locked(&self.plane).refresh(&self.shared.live);
            self.shed_when_asked();
            if round.is_multiple_of(5) {
                let expired = locked(&self.pool).sweep(Instant::now(), |_| false);
                drop(expired);
                self.spares.pipes.shrink();
            }
            if round.is_multiple_of(50) {
                self.spares.buffers.shrink();
                let mut kept = locked(&self.exchanges);
                let half = kept.len() / 2;
                kept.truncate(half);
            }
        }
    }

    async fn watch_drain(&self) {
        let mut drain = self.drain.clone();
        drain.begun().await;
        self.draining.store(true, Ordering::Relaxed);
        for handle in locked(&self.connections).entries.iter().flatten() {
            handle.waker.wake();
        }
        drop(locked(&self.pool).sweep(Instant::now(), |_| true));
    }

    /// Whether connections should end after what they serve.
    #[inline]
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn plane(&self) -> Arc<Snapshot<Plane>> {
        locked(&self.plane).load(&self.shared.live)
    }

    pub(crate) fn take_exchange(&self, now: Instant) -> Box<Exchange> {
        let kept = locked(&self.exchanges).pop();
        match kept {
            Some(mut exchange) => {
                exchange.reset(now);
                exchange
            }
            None => Box::new(Exchange::new(now)),
        }
    }

    pub(crate) fn put_exchange(&self, exchange: Box<Exchange>) {
        let mut kept = locked(&self.exchanges);
        if kept.len() < EXCHANGES_KEPT_MAX && exchange.is_worth_keeping() {
            kept.push(exchange);
        }
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool<Socket>> {
        locked(&self.pool)
    }

    /// An endpoint sent bytes that belong to no answer: on a connection that is used again, they would become the next
    /// one. For a while none of its connections is, those that lie idle here among them.
    pub(crate) fn distrust(&self, endpoint: u32, now: Instant) {
        self.shared.stats.unasked_bytes.add(1);
        let idle = locked(&self.pool).sweep(now, |id| id == endpoint);
        drop(idle);
        let mut distrusted = locked(&self.distrusted);
        distrusted.retain(|(id, until)| *id != endpoint && *until > now);
        if distrusted.len() < DISTRUSTED_MAX {
            distrusted.push((endpoint, now + DISTRUST));
        }
    }

    /// Whether an endpoint's connections may be used again.
    #[inline]
    pub(crate) fn is_trusted(&self, endpoint: u32, now: Instant) -> bool {
        !locked(&self.distrusted).iter().any(|(id, until)| *id == endpoint && *until > now)
    }

    pub(crate) fn access(&self) -> MutexGuard<'_, AccessBuffer> {
        locked(&self.access)
    }

    /// A number that a client cannot guess cheaply; not for secrets. SplitMix64 over a per-worker seed.
    #[inline]
    pub(crate) fn random(&self) -> u64 {
        let state = self.random.load(Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.store(state, Ordering::Relaxed);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Milliseconds of the worker's life at this moment.
    pub(crate) fn age_ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// Counts one more connection of this address; false, and not counted, where `limit` are open.
    pub(crate) fn count_ip(&self, address: IpAddr, limit: u32) -> bool {
        let mut per_ip = locked(&self.shared.per_ip);
        let open = per_ip.entry(address).or_insert(0);
        if *open >= limit {
            return false;
        }
        *open += 1;
        true
    }

    pub(crate) fn uncount_ip(&self, address: IpAddr) {
        let mut per_ip = locked(&self.shared.per_ip);
        if let Some(open) = per_ip.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                per_ip.remove(&address);
            }
        }
    }

    /// Appends the value of a `Date` field; renewed by the worker's tick.
    pub(crate) fn write_date(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(locked(&self.date).as_bytes());
    }

    pub(crate) fn register(&self, waker: DeadlineWaker) -> (u32, Arc<ConnectionHandle>) {
        let handle = Arc::new(ConnectionHandle {
            waker,
            idle_since_ms: AtomicU64::new(0),
            close: AtomicBool::new(false),
        });
        let mut connections = locked(&self.connections);
        let id = match connections.free.pop() {
            Some(id) => id,
            None => {
                connections.entries.push(None);
                (connections.entries.len() - 1) as u32
            }
        };
        connections.entries[id as usize] = Some(Arc::clone(&handle));
        (id, handle)
    }

    pub(crate) fn unregister(&self, id: u32) {
        let mut connections = locked(&self.connections);
        connections.entries[id as usize] = None;
        connections.free.push(id);
    }

    /// Ends what a new configuration no longer wants: idle connections of retired listeners, and idle connections
    /// to endpoints other than these.
    pub fn review(&self, endpoints: &HashSet<u32>) {
        let unwanted = locked(&self.pool).sweep(Instant::now(), |id| !endpoints.contains(&id));
        drop(unwanted);
        locked(&self.plane).refresh(&self.shared.live);
        for handle in locked(&self.connections).entries.iter().flatten() {
            handle.waker.wake();
        }
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

    /// A descriptor was needed and none was left: gives up idle connections here at once and asks every
    /// other worker to do the same.
    pub fn descriptors_ran_out(&self) {
        self.shared.stats.descriptors_exhausted.add(1);
        let asked = self.shared.short_of_descriptors.fetch_add(1, Ordering::Relaxed) + 1;
        self.shed_seen.store(asked, Ordering::Relaxed);
        self.shed();
    }

    fn shed_when_asked(&self) {
        let asked = self.shared.short_of_descriptors.load(Ordering::Relaxed);
        if self.shed_seen.swap(asked, Ordering::Relaxed) != asked {
            self.shed();
        }
    }

    fn shed(&self) {
        let upstreams = locked(&self.pool).shed(SHED_UPSTREAMS).len();
        self.spares.pipes.shed();
        self.shared.stats.shed_idle_upstreams.add(upstreams as u64);
        let clients = self.close_oldest_idle(SHED_CLIENTS);
        self.shared.stats.shed_idle_clients.add(clients as u64);
    }

    /// Asks the client connections that have been idle longest to close; returns how many.
    pub(crate) fn close_oldest_idle(&self, count: usize) -> usize {
        let connections = locked(&self.connections);
        let mut idle: Vec<(u64, &Arc<ConnectionHandle>)> = connections
            .entries
            .iter()
            .flatten()
            .filter(|handle| !handle.close.load(Ordering::Relaxed))
            .map(|handle| (handle.idle_since_ms.load(Ordering::Relaxed), handle))
            .filter(|(since, _)| *since > 0)
            .collect();
        let count = count.min(idle.len());
        if count > 0 && count < idle.len() {
            idle.select_nth_unstable_by_key(count - 1, |(since, _)| *since);
        }
        for (_, handle) in &idle[..count] {
            handle.close.store(true, Ordering::Relaxed);
            handle.waker.wake();
        }
        count
    }
}

impl ConnectionHandle {
    pub(crate) fn set_idle(&self, since_ms: Option<u64>) {
        self.idle_since_ms.store(since_ms.map_or(0, |ms| ms + 1), Ordering::Relaxed);
    }

    pub(crate) fn should_close(&self) -> bool {
        self.close.load(Ordering::Relaxed)
    }
}
