//! What runs beside the requests: health checks, name look-ups, and pauses that end by time.

mod change;
mod checks;
mod names;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::names::Name;
use crate::{Address, Upstream, lock};
pub use change::{Change, NameChange};
use checks::CheckTask;
use names::Lookup;

/// Health checks that are under way at a time, over all upstreams: ten thousand endpoints do not take ten thousand
/// descriptors at once. A check's own timeout begins when its turn comes.
pub const CHECKS_MAX: usize = 256;

/// How often pauses that are over are ended and announced while no request does so.
const TICK: Duration = Duration::from_secs(1);

/// Runs the health checks and the name look-ups of all upstreams until it is dropped.
///
/// A check is identified by upstream, address and settings, a look-up by upstream, name and port: whatever of them is
/// the same after a reload goes on undisturbed, with its interval and its place in it.
pub struct Upkeep {
    keeper: Arc<Keeper>,
    _ticker: Task,
}

type OnChange = Arc<dyn Fn(&Change) + Send + Sync>;

/// What the tasks share.
struct Keeper {
    runtime: Handle,
    on_change: OnChange,
    lookup: Lookup,
    checks: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
    wards: Mutex<HashMap<Arc<str>, Ward>>,
}

/// One upstream in its newest generation, and what runs for it.
struct Ward {
    upstream: Arc<Upstream>,
    checks: HashMap<Address, CheckTask>,
    names: HashMap<Name, Task>,
}

impl Upkeep {
    /// Looks after nothing yet. `on_change` hears of every endpoint that a check or the clock brings up or takes out, and
    /// of every name whose look-ups begin to fail or succeed again; it is called on the runtime's threads and must not
    /// block.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with time and sockets.
    pub fn new(on_change: impl Fn(&Change) + Send + Sync + 'static) -> Self {
        Self::start(Arc::new(on_change), names::system(), CHECKS_MAX)
    }

    fn start(on_change: OnChange, lookup: Lookup, checks_max: usize) -> Self {
        let keeper = Arc::new(Keeper {
            runtime: Handle::current(),
            on_change,
            lookup,
            checks: Arc::new(Semaphore::new(checks_max)),
            lookups: Arc::new(Semaphore::new(names::LOOKUPS_MAX)),
            wards: Mutex::default(),
        });
        let watched = Arc::downgrade(&keeper);
        let ticker = keeper.spawn(async move {
            loop {
                tokio::time::sleep(TICK).await;
                let Some(keeper) = watched.upgrade() else { return };
                keeper.tick(now());
            }
        });
        Self { keeper, _ticker: ticker }
    }

    /// Looks after exactly these upstreams from now on, each in its newest generation.
    ///
    /// To be called at the start and after each reload was published, never two at a time. Starts and stops only what
    /// differs; costs a hash look-up an endpoint.
    pub fn sync(&self, upstreams: &[Arc<Upstream>]) {
        self.keeper.sync(upstreams);
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        // A task may hold the keeper for a moment; the tasks must not outlive us for that.
        lock(&self.keeper.wards).clear();
    }
}

impl Keeper {
    fn sync(self: &Arc<Self>, upstreams: &[Arc<Upstream>]) {
        let listed: HashSet<&str> = upstreams.iter().map(|upstream| &**upstream.name()).collect();
        let mut wards = lock(&self.wards);
        wards.retain(|name, _| listed.contains(&**name));
        for upstream in upstreams {
            upstream.adopt(now());
            let ward = wards.entry(Arc::clone(upstream.name())).or_insert_with(|| Ward {
                upstream: Arc::clone(upstream),
                checks: HashMap::new(),
                names: HashMap::new(),
            });
            ward.upstream = Arc::clone(upstream);
            self.sync_names(ward);
            self.sync_checks(ward);
        }
    }

    fn sync_names(self: &Arc<Self>, ward: &mut Ward) {
        let wanted: HashSet<Name> = ward.upstream.plan().names().collect();
        ward.names.retain(|name, task| wanted.contains(name) && task.is_running());
        for name in wanted {
            let upstream = ward.upstream.name();
            ward.names.entry(name).or_insert_with_key(|name| {
                self.spawn(names::run(Arc::downgrade(self), Arc::clone(upstream), name.clone()))
            });
        }
    }

    fn sync_checks(&self, ward: &mut Ward) {
        let Some(plan) = &ward.upstream.plan().health.active else {
            ward.checks.clear();
            return;
        };
        let mut before = std::mem::take(&mut ward.checks);
        for endpoint in ward.upstream.endpoints().iter() {
            let task = match before.remove(endpoint.address()) {
                Some(task) if task.is_for(plan, endpoint) => {
                    task.follow(&ward.upstream, endpoint);
                    task
                }
                _ => CheckTask::start(self, plan, &ward.upstream, endpoint),
            };
            ward.checks.insert(endpoint.address().clone(), task);
        }
    }

    /// After the addresses of a name changed, those that are new are checked and those that are gone no more.
    fn addresses_changed(&self, upstream: &str) {
        if let Some(ward) = lock(&self.wards).get_mut(upstream) {
            self.sync_checks(ward);
        }
    }

    fn upstream(&self, name: &str) -> Option<Arc<Upstream>> {
        lock(&self.wards).get(name).map(|ward| Arc::clone(&ward.upstream))
    }

    fn tick(&self, now: Instant) {
        let upstreams: Vec<_> = lock(&self.wards).values().map(|ward| Arc::clone(&ward.upstream)).collect();
        for change in upstreams.iter().flat_map(|upstream| upstream.tick(now)) {
            (self.on_change)(&Change::Endpoint(change));
        }
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(self.runtime.spawn(work).abort_handle())
    }
}

/// A running task that ends when this is dropped.
struct Task(AbortHandle);

impl Task {
    /// False after a panic: it is then to be started again.
    fn is_running(&self) -> bool {
        !self.0.is_finished()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The runtime's time, which tests may stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// `pause` ±10 %, so that what began together does not stay together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + 0.2 * fastrand::f64())
}
