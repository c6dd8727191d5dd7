use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weir_net::Worker;
use weir_net::udp::Batch;
use weir_task::{Live, LiveCache, Snapshot};
use weir_telemetry::AccessBuffer;

use crate::StreamPlane;

/// What belongs to the stream side of one worker.
///
/// Its locks are taken by tasks of this worker's one thread and are therefore free; they are there so that
/// futures stay `Send` and code ordinary.
pub struct StreamWorker {
    /// The worker itself.
    pub base: Arc<Worker>,
    live: Arc<Live<StreamPlane>>,
    plane: Mutex<LiveCache<StreamPlane>>,
    access: Mutex<AccessBuffer>,
    datagrams: Mutex<Batch>,
}

/// How often a worker looks after its own: the log's buffer, the snapshot.
const TICK: Duration = Duration::from_millis(200);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each critical section is a few lines that leave whole data behind, whatever happens.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StreamWorker {
    /// The stream side of `base`; `access` is where its access lines go.
    pub fn new(base: Arc<Worker>, live: Arc<Live<StreamPlane>>, access: AccessBuffer) -> Arc<Self> {
        Arc::new(Self {
            base,
            live,
            plane: Mutex::default(),
            access: Mutex::new(access),
            datagrams: Mutex::default(),
        })
    }

    /// Keeps the house until the worker's runtime ends.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            locked(&self.access).flush();
            locked(&self.plane).refresh(&self.live);
        }
    }

    /// Takes a new configuration to heart.
    pub fn review(&self) {
        locked(&self.plane).refresh(&self.live);
    }

    /// Whether what connects to this listener is relayed, by the configuration of this moment.
    pub fn takes_connections(&self, listener: u32) -> bool {
        self.plane().tcp(listener).is_some()
    }

    pub(crate) fn plane(&self) -> Arc<Snapshot<StreamPlane>> {
        locked(&self.plane).load(&self.live)
    }

    /// Where datagrams of all listeners pass through.
    pub(crate) fn datagrams(&self) -> MutexGuard<'_, Batch> {
        locked(&self.datagrams)
    }

    pub(crate) fn access(&self) -> MutexGuard<'_, AccessBuffer> {
        locked(&self.access)
    }
}
