use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use weir_task::DeadlineWaker;

/// The open client connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    entries: Vec<Option<Arc<ConnectionHandle>>>,
    free: Vec<u32>,
}

/// What others may see and ask of a connection.
#[derive(Debug)]
pub struct ConnectionHandle {
    waker: DeadlineWaker,
    /// Milliseconds of the worker's life when it became idle, plus one; 0 while it is busy.
    idle_since_ms: AtomicU64,
    close: AtomicBool,
}

impl ConnectionHandle {
    /// Says whether it was idle before. Called by its own task alone.
    pub(crate) fn set_idle(&self, since_ms: Option<u64>) -> bool {
        let was_idle = self.idle_since_ms.load(Ordering::Relaxed) > 0;
        self.idle_since_ms.store(since_ms.map_or(0, |ms| ms + 1), Ordering::Relaxed);
        was_idle
    }

    /// Whether its descriptor is needed for others.
    pub fn should_close(&self) -> bool {
        self.close.load(Ordering::Relaxed)
    }
}

impl Connections {
    pub(crate) fn insert(&mut self, waker: DeadlineWaker) -> (u32, Arc<ConnectionHandle>) {
        let handle = Arc::new(ConnectionHandle {
            waker,
            idle_since_ms: AtomicU64::new(0),
            close: AtomicBool::new(false),
        });
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.entries.push(None);
                (self.entries.len() - 1) as u32
            }
        };
        self.entries[id as usize] = Some(Arc::clone(&handle));
        (id, handle)
    }

    pub(crate) fn remove(&mut self, id: u32) {
        self.entries[id as usize] = None;
        self.free.push(id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.len() == self.free.len()
    }

    /// Wakes every task, so that it looks at what has changed.
    pub(crate) fn wake_all(&self) {
        for handle in self.entries.iter().flatten() {
            handle.waker.wake();
        }
    }

    /// Asks those that have been idle longest to close; returns how many were asked.
    pub(crate) fn close_oldest_idle(&self, count: usize) -> usize {
        let mut idle: Vec<(u64, &Arc<ConnectionHandle>)> = self
            .entries
            .iter()
            .flatten()
            .filter(|handle| !handle.should_close())
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
