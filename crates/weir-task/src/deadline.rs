use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Deadlines of one worker's connections, cheap to move.
///
/// A connection moves its deadline several times a request and almost none is ever reached. So moving one is a
/// store: the queue holds a moment not later than the deadline, looks again when that moment comes, and puts
/// the entry back if there is time left. An entry is looked at once in five seconds at the latest, so that one
/// whose connection is gone does not linger.
#[derive(Debug)]
pub struct Deadlines {
    epoch: Instant,
    queue: Mutex<BinaryHeap<Reverse<Queued>>>,
    earlier: Notify,
}

/// Longest time from one look at an entry to the next.
const LOOK_MS_MAX: u64 = 5_000;

const NONE: u64 = u64::MAX;

#[derive(Debug)]
struct Queued {
    at_ms: u64,
    entry: Arc<Entry>,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.at_ms == other.at_ms
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at_ms.cmp(&other.at_ms)
    }
}

#[derive(Debug)]
struct Entry {
    /// When it expires, in milliseconds of the worker's epoch; [`NONE`] when not set.
    due_ms: AtomicU64,
    /// Where it stands in the queue; [`NONE`] when nowhere. A queued copy with another time is outdated.
    queued_ms: AtomicU64,
    expired: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// The one deadline of a connection; see [`Deadlines`]. A clone is the same deadline.
#[derive(Debug, Clone)]
pub struct Deadline {
    all: Arc<Deadlines>,
    entry: Arc<Entry>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding these locks; a poisoned one still holds whole data.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Deadlines {
    /// Makes an empty queue; [`run`](Self::run) must be running for its deadlines to expire.
    pub fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self { epoch: now, queue: Mutex::default(), earlier: Notify::new() })
    }

    /// Makes a deadline that is not set.
    pub fn deadline(self: &Arc<Self>) -> Deadline {
        let entry = Entry {
            due_ms: AtomicU64::new(NONE),
            queued_ms: AtomicU64::new(NONE),
            expired: AtomicBool::new(false),
            waker: Mutex::default(),
        };
        Deadline { all: Arc::clone(self), entry: Arc::new(entry) }
    }

    fn ms(&self, at: Instant) -> u64 {
        let after = at.saturating_duration_since(self.epoch);
        // Rounded up, so that nothing expires early; in parts, because a division of 128 bits is a call.
        let part = u64::from(after.subsec_micros().div_ceil(1000));
        after.as_secs().saturating_mul(1000).saturating_add(part).min(NONE - 1)
    }

    /// Wakes every task that waits on a deadline, so that it looks at what else may have changed.
    pub fn wake_all(&self) {
        let entries: Vec<_> =
            locked(&self.queue).iter().map(|Reverse(queued)| Arc::clone(&queued.entry)).collect();
        for entry in entries {
            DeadlineWaker(entry).wake();
        }
    }

    fn put(&self, entry: &Arc<Entry>, at_ms: u64) {
        entry.queued_ms.store(at_ms, Ordering::Relaxed);
        let mut queue = locked(&self.queue);
        let first = queue.peek().is_none_or(|Reverse(next)| at_ms < next.at_ms);
        queue.push(Reverse(Queued { at_ms, entry: Arc::clone(entry) }));
        drop(queue);
        if first {
            self.earlier.notify_one();
        }
    }

    /// Expires what is due; runs for as long as the worker does.
    pub async fn run(&self) {
        loop {
            let next = locked(&self.queue).peek().map(|Reverse(queued)| queued.at_ms);
            match next {
                None => self.earlier.notified().await,
                Some(at_ms) => {
                    let at = self.epoch + Duration::from_millis(at_ms);
                    // An earlier entry or the time, whichever comes first; both are looked at below.
                    let _elapsed =
                        tokio::time::timeout_at(tokio::time::Instant::from_std(at), self.earlier.notified())
                            .await;
                }
            }
            self.expire(tokio::time::Instant::now().into_std());
        }
    }

    fn expire(&self, now: Instant) {
        let now_ms = u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(NONE - 1);
        loop {
            let mut queue = locked(&self.queue);
            if queue.peek().is_none_or(|Reverse(next)| next.at_ms > now_ms) {
                return;
            }
            let Some(Reverse(Queued { at_ms, entry })) = queue.pop() else { return };
            drop(queue);
            if entry.queued_ms.load(Ordering::Relaxed) != at_ms {
                continue;
            }
            entry.queued_ms.store(NONE, Ordering::Relaxed);
            let due_ms = entry.due_ms.load(Ordering::Relaxed);
            if due_ms == NONE || Arc::strong_count(&entry) == 1 {
                continue;
            }
            if due_ms <= now_ms {
                entry.expired.store(true, Ordering::Release);
                if let Some(waker) = locked(&entry.waker).take() {
                    waker.wake();
                }
            } else {
                self.put(&entry, due_ms.min(now_ms + LOOK_MS_MAX));
            }
        }
    }
}

impl Deadline {
    /// Sets the deadline `after` from `now`, in place of the one before; resolution 1 ms, never early.
    #[inline]
    pub fn set(&self, now: Instant, after: Duration) {
        let due_ms = self.all.ms(now + after);
        self.entry.due_ms.store(due_ms, Ordering::Relaxed);
        self.entry.expired.store(false, Ordering::Relaxed);
        if due_ms < self.entry.queued_ms.load(Ordering::Relaxed) {
            let look_ms = due_ms.min(self.all.ms(now) + LOOK_MS_MAX);
            if look_ms < self.entry.queued_ms.load(Ordering::Relaxed) {
                self.all.put(&self.entry, look_ms);
            }
        }
    }

    /// Takes the deadline away.
    #[inline]
    pub fn clear(&self) {
        self.entry.due_ms.store(NONE, Ordering::Relaxed);
        self.entry.expired.store(false, Ordering::Relaxed);
    }

    /// Takes the deadline away and forgets who waited on it, so that it can serve another task.
    pub fn rest(&self) {
        self.clear();
        drop(locked(&self.entry.waker).take());
    }

    /// Whether the deadline has passed; otherwise the task is woken when it does.
    #[inline]
    pub fn is_expired(&self, cx: &Context<'_>) -> bool {
        if self.entry.expired.load(Ordering::Acquire) {
            return true;
        }
        let mut waker = locked(&self.entry.waker);
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        false
    }

    /// A handle that can wake the task that waits on this deadline, from anywhere.
    pub fn waker(&self) -> DeadlineWaker {
        DeadlineWaker(Arc::clone(&self.entry))
    }
}

/// Wakes the task that waits on a [`Deadline`], so that it looks at what else may have changed.
#[derive(Debug, Clone)]
pub struct DeadlineWaker(Arc<Entry>);

impl DeadlineWaker {
    /// Wakes the task, if it waits.
    pub fn wake(&self) {
        if let Some(waker) = locked(&self.0.waker).take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    async fn expired(deadline: &Deadline) {
        poll_fn(|cx| if deadline.is_expired(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    fn start() -> (Arc<Deadlines>, Instant) {
        let now = tokio::time::Instant::now().into_std();
        let all = Deadlines::new(now);
        let running = Arc::clone(&all);
        tokio::spawn(async move { running.run().await });
        (all, now)
    }

    fn since(start: Instant) -> Duration {
        tokio::time::Instant::now().into_std() - start
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_expires_when_it_is_due_and_not_before() {
        let (all, now) = start();
        let deadline = all.deadline();
        deadline.set(now, Duration::from_secs(75));
        expired(&deadline).await;
        assert!((75_000..=75_010).contains(&since(now).as_millis()), "{:?}", since(now));
    }

    #[tokio::test(start_paused = true)]
    async fn moving_a_deadline_forth_and_back_is_honoured() {
        let (all, now) = start();
        let deadline = all.deadline();
        deadline.set(now, Duration::from_secs(2));
        deadline.set(now, Duration::from_secs(60));
        tokio::time::sleep(Duration::from_secs(3)).await;
        deadline.set(now + Duration::from_secs(3), Duration::from_millis(100));
        expired(&deadline).await;
        assert!((3_100..=3_110).contains(&since(now).as_millis()), "{:?}", since(now));
        deadline.set(tokio::time::Instant::now().into_std(), Duration::from_secs(1));
        expired(&deadline).await;
        assert!((4_100..=4_120).contains(&since(now).as_millis()), "{:?}", since(now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cleared_deadline_never_expires_and_a_dropped_one_leaves_the_queue() {
        let (all, now) = start();
        let cleared = all.deadline();
        cleared.set(now, Duration::from_secs(1));
        cleared.clear();
        let gone = all.deadline();
        gone.set(now, Duration::from_secs(3600));
        drop(gone);
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(!cleared.entry.expired.load(Ordering::Relaxed));
        assert!(locked(&all.queue).is_empty());
    }
}
