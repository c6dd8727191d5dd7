use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use http::HeaderValue;
use weir_net::{Hoard, ListenerState, Socket, Worker};
use weir_task::{Deadline, Live, LiveCache, Snapshot};
use weir_telemetry::AccessBuffer;
use weir_upstream::pool::Pool;
use weir_upstream::{Endpoint, LinkId, PoolPlan};

use crate::exchange::Exchange;
use crate::former::FormerPlanes;
use crate::plane::Plane;
use crate::shared::{Shared, SharedPool};
use crate::stats::HttpStats;

/// What the HTTP side of all workers shares.
pub struct HttpShared {
    /// The snapshot that requests are served by.
    pub live: Arc<Live<Plane>>,
    /// What connections of listeners that are gone are still served by.
    pub former: Arc<FormerPlanes>,
    /// Counters of the plane.
    pub stats: Arc<HttpStats>,
}

/// What belongs to the HTTP side of one worker: its pool, its exchanges, its counters.
///
/// Its locks are taken by tasks of this worker's one thread and are therefore free; they are there so that
/// futures stay `Send` and code ordinary.
pub struct HttpWorker {
    /// The worker itself.
    pub base: Arc<Worker>,
    pub(crate) shared: HttpShared,
    plane: Mutex<LiveCache<Plane>>,
    #[expect(clippy::vec_box, reason = "requests take them and give them back by pointer")]
    exchanges: Mutex<Vec<Box<Exchange>>>,
    /// Of streams that have ended. Each may still stand in the queue, which is why they are not made anew.
    deadlines: Mutex<Vec<Deadline>>,
    pool: Mutex<Pool<Socket>>,
    shared_pool: SharedPool,
    access: Mutex<AccessBuffer>,
    date: Mutex<Date>,
    /// Endpoints that said what nobody had asked, and until when their connections are used only once.
    distrusted: Mutex<Vec<(LinkId, Instant)>>,
}

/// The time, as `Date` tells it.
struct Date {
    text: String,
    value: HeaderValue,
}

impl Date {
    fn now() -> Self {
        let text = httpdate::fmt_http_date(SystemTime::now());
        let value = HeaderValue::try_from(text.as_str()).expect("a date has no byte that a value may not");
        Self { text, value }
    }
}

/// Unused exchanges that a worker keeps.
const EXCHANGES_KEPT_MAX: usize = 256;

/// Unused deadlines that a worker keeps.
const DEADLINES_KEPT_MAX: usize = 1_024;

/// How long an endpoint's connections are used only once after one of them said what nobody had asked.
const DISTRUST: Duration = Duration::from_secs(10);

/// Most endpoints that are distrusted at a time.
const DISTRUSTED_MAX: usize = 1_024;

/// How often a worker looks after its own: its pool, the log's buffer, the snapshot.
const TICK: Duration = Duration::from_millis(200);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each critical section is a few lines that leave whole data behind, whatever happens.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpWorker {
    /// The HTTP side of `base`; `access` is where its access lines go.
    pub fn new(base: Arc<Worker>, shared: HttpShared, access: AccessBuffer) -> Arc<Self> {
        let worker = Arc::new(Self {
            base,
            shared,
            plane: Mutex::default(),
            exchanges: Mutex::default(),
            deadlines: Mutex::default(),
            pool: Mutex::new(Pool::new()),
            shared_pool: SharedPool::default(),
            access: Mutex::new(access),
            date: Mutex::new(Date::now()),
            distrusted: Mutex::default(),
        });
        let hoard: Weak<dyn Hoard> = Arc::<Self>::downgrade(&worker);
        worker.base.ask_too(hoard);
        worker
    }

    /// Keeps the house until the worker's runtime ends: the pool, the log, the snapshot.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.tick(), self.watch_drain());
    }

    async fn tick(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round: u32 = 0;
        loop {
            ticks.tick().await;
            round = round.wrapping_add(1);
            locked(&self.access).flush();
            *locked(&self.date) = Date::now();
            locked(&self.plane).refresh(&self.shared.live);
            if round.is_multiple_of(5) {
                let expired = locked(&self.pool).sweep(Instant::now(), |_| false);
                drop(expired);
                self.shared_pool.sweep(Instant::now());
            }
            if round.is_multiple_of(50) {
                let mut kept = locked(&self.exchanges);
                let half = kept.len() / 2;
                kept.truncate(half);
            }
        }
    }

    async fn watch_drain(&self) {
        let mut drain = self.base.drain.clone();
        drain.begun().await;
        drop(locked(&self.pool).sweep(Instant::now(), |_| true));
        self.shared_pool.end_all();
    }

    #[inline]
    pub(crate) fn plane(&self) -> Arc<Snapshot<Plane>> {
        locked(&self.plane).load(&self.shared.live)
    }

    /// What a request on a connection of this listener is served by.
    #[inline]
    pub(crate) fn plane_for(&self, listener: &ListenerState) -> Arc<Snapshot<Plane>> {
        let plane = self.plane();
        if plane.listener(listener.id).is_some() {
            return plane;
        }
        self.shared.former.of(listener).unwrap_or(plane)
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

    /// A deadline for a stream.
    pub(crate) fn take_deadline(&self) -> Deadline {
        let kept = locked(&self.deadlines).pop();
        kept.unwrap_or_else(|| self.base.deadlines.deadline())
    }

    pub(crate) fn put_deadline(&self, deadline: Deadline) {
        deadline.rest();
        let mut kept = locked(&self.deadlines);
        if kept.len() < DEADLINES_KEPT_MAX {
            kept.push(deadline);
        }
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool<Socket>> {
        locked(&self.pool)
    }

    /// The connections to an endpoint that requests share.
    pub(crate) fn shared_with(&self, endpoint: &Endpoint, plan: &PoolPlan) -> Arc<Shared> {
        self.shared_pool.of(endpoint, plan, &self.base, &self.shared.stats)
    }

    /// An endpoint sent bytes that belong to no answer: on a connection that is used again, they would become the next
    /// one. For a while none of its connections is, those that lie idle here among them.
    pub(crate) fn distrust(&self, link: LinkId, now: Instant) {
        self.shared.stats.unasked_bytes.add(1);
        let idle = locked(&self.pool).sweep(now, |idle| idle == link);
        drop(idle);
        let mut distrusted = locked(&self.distrusted);
        distrusted.retain(|(distrusted, until)| *distrusted != link && *until > now);
        if distrusted.len() < DISTRUSTED_MAX {
            distrusted.push((link, now + DISTRUST));
        }
    }

    /// Whether an endpoint's connections may be used again.
    #[inline]
    pub(crate) fn is_trusted(&self, link: LinkId, now: Instant) -> bool {
        !locked(&self.distrusted).iter().any(|(distrusted, until)| *distrusted == link && *until > now)
    }

    pub(crate) fn access(&self) -> MutexGuard<'_, AccessBuffer> {
        locked(&self.access)
    }

    /// Appends the value of a `Date` field; renewed by the worker's tick.
    pub(crate) fn write_date(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(locked(&self.date).text.as_bytes());
    }

    /// The same as a value to send in a frame; copying it copies no bytes.
    pub(crate) fn date(&self) -> HeaderValue {
        locked(&self.date).value.clone()
    }

    /// Ends what a new configuration no longer wants: idle connections that were made otherwise than these.
    pub fn review(&self, links: &HashSet<LinkId>) {
        let unwanted = locked(&self.pool).sweep(Instant::now(), |link| !links.contains(&link));
        drop(unwanted);
        self.shared_pool.review(links);
        locked(&self.plane).refresh(&self.shared.live);
    }
}

impl Hoard for HttpWorker {
    fn shed(&self, count: usize) -> usize {
        let shed = locked(&self.pool).shed(count).len();
        shed + self.shared_pool.shed(count - shed)
    }
}

impl std::fmt::Debug for HttpWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpWorker").field("shard", &self.base.shard).finish_non_exhaustive()
    }
}
