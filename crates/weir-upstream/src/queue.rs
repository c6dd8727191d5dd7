use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, Weak};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::{Lease, PickError, PickRequest, QueuePlan, Tried, Upstream, lock};

type Answer = Result<Lease, PickError>;

/// The requests that wait, in the order they came, while every endpoint is at its cap.
///
/// Whoever frees a slot takes it again for the first waiter that may use it and hands it over: nobody else can get in
/// between, and nobody is woken for nothing. One queue serves all generations of an upstream.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Length of `line`, readable without its lock.
    waiting: AtomicU32,
    line: Mutex<Line>,
    pub(crate) counters: QueueCounters,
}

/// What the queue did since the upstream first appeared.
#[derive(Debug, Default)]
pub(crate) struct QueueCounters {
    pub(crate) waits: AtomicU64,
    pub(crate) full: AtomicU64,
    pub(crate) timeouts: AtomicU64,
}

#[derive(Debug, Default)]
struct Line {
    /// The generation that chooses for the waiters.
    current: Weak<Upstream>,
    waiters: VecDeque<Waiter>,
    tickets: u64,
}

#[derive(Debug)]
struct Waiter {
    /// The generation that its request began with, which lives as long as it waits.
    upstream: Weak<Upstream>,
    ticket: u64,
    request: PickRequest,
    tried: Tried,
    answer: oneshot::Sender<Answer>,
}

impl Queue {
    /// Requests that wait now.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Makes `upstream` the generation that chooses.
    pub(crate) fn follow(&self, upstream: Weak<Upstream>) {
        lock(&self.line).current = upstream;
    }

    /// Whether `upstream` is the generation that chooses.
    pub(crate) fn follows(&self, upstream: &Upstream) -> bool {
        std::ptr::eq(lock(&self.line).current.as_ptr(), upstream)
    }

    /// A slot was freed: the first waiter that may use it gets it.
    ///
    /// A joiner counts itself before it looks for a slot, a leaver frees the slot before it looks for joiners, both
    /// sequentially consistent: one of the two sees the other.
    pub(crate) fn slot_freed(&self) {
        if self.waiting() > 0 {
            self.serve(None);
        }
    }

    /// Chooses for the waiters, first come first served, until nothing is left to give.
    pub(crate) fn serve(&self, now: Option<Instant>) {
        let mut line = lock(&self.line);
        // After an upstream was removed from the configuration its last requests are served by their own generation.
        let own = || line.waiters.front().and_then(|waiter| waiter.upstream.upgrade());
        let Some(upstream) = line.current.upgrade().or_else(own) else { return };
        let mut at = 0;
        while let Some(waiter) = line.waiters.get_mut(at) {
            // Its future is gone or timed out; it also removes itself, whoever comes first.
            if waiter.answer.is_closed() {
                self.take(&mut line, at);
                continue;
            }
            waiter.request.now = now.unwrap_or(waiter.request.now);
            match upstream.pick(&waiter.request, &waiter.tried) {
                // Who may go anywhere finds nothing, so nobody does.
                Err(PickError::Busy) if waiter.tried.is_empty() => return,
                Err(PickError::Busy) => at += 1,
                answer => {
                    let refused =
                        self.take(&mut line, at).and_then(|waiter| waiter.answer.send(answer).err());
                    if let Some(Ok(lease)) = refused {
                        // The waiter left in this very moment. Dropping the lease serves the queue, which needs the lock.
                        drop(line);
                        drop(lease);
                        line = lock(&self.line);
                        at = 0;
                    }
                }
            }
        }
    }

    fn take(&self, line: &mut Line, at: usize) -> Option<Waiter> {
        let waiter = line.waiters.remove(at);
        if waiter.is_some() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        waiter
    }

    /// Waits for a slot until `deadline`; `upstream` is the generation that the request began with.
    pub(crate) async fn wait(
        &self,
        upstream: &Weak<Upstream>,
        plan: &QueuePlan,
        request: &PickRequest,
        tried: &Tried,
        deadline: Instant,
    ) -> Answer {
        let (mut place, answer) = self.join(upstream, plan, request, tried)?;
        // Something may have become free between the failed pick and the joining.
        self.serve(None);
        let outcome = tokio::time::timeout_at(deadline.into(), answer).await;
        match outcome {
            Ok(Ok(answer)) => {
                place.left = true;
                answer
            }
            // The queue never drops a sender unanswered while its future lives.
            Ok(Err(_)) | Err(_) => {
                self.counters.timeouts.fetch_add(1, Ordering::Relaxed);
                Err(PickError::QueueTimeout)
            }
        }
    }

    fn join(
        &self,
        upstream: &Weak<Upstream>,
        plan: &QueuePlan,
        request: &PickRequest,
        tried: &Tried,
    ) -> Result<(Place<'_>, oneshot::Receiver<Answer>), PickError> {
        let mut line = lock(&self.line);
        if line.waiters.len() >= plan.size {
            self.counters.full.fetch_add(1, Ordering::Relaxed);
            return Err(PickError::QueueFull);
        }
        self.counters.waits.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        line.tickets += 1;
        let (sender, answer) = oneshot::channel();
        let ticket = line.tickets;
        line.waiters.push_back(Waiter {
            upstream: Weak::clone(upstream),
            ticket,
            request: *request,
            tried: tried.clone(),
            answer: sender,
        });
        Ok((Place { queue: self, ticket, left: false }, answer))
    }
}

/// A place in the line, given up when the waiting ends early.
struct Place<'a> {
    queue: &'a Queue,
    ticket: u64,
    left: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let mut line = lock(&self.queue.line);
        let at = line.waiters.iter().position(|waiter| waiter.ticket == self.ticket);
        let _waiter = at.and_then(|at| self.queue.take(&mut line, at));
    }
}

#[cfg(test)]
mod tests;
