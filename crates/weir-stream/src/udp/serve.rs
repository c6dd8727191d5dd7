use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use weir_net::udp::{Batch, ReadinessWait, UdpSocket};
use weir_net::{ListenerState, Worker};
use weir_task::{DrainSignal, Phase};
use weir_upstream::{Lease, PickError};

use super::plan::UdpPlan;
use super::sessions::{Sessions, Turn, UdpEvents};
use super::state::UdpState;
use super::table::SessionId;

/// How often sessions are held against the state of their endpoints, where they end with it.
const REVIEW_PAUSE: Duration = Duration::from_secs(1);

/// The settings of a listener as they are now; none once it is gone, and then the last ones hold.
pub type UdpSettings = dyn Fn(&ListenerState) -> Option<Arc<UdpPlan>> + Send + Sync;

/// What a worker serves a UDP listener with.
pub struct UdpServing {
    /// The worker's socket.
    pub socket: UdpSocket,
    /// The listener.
    pub listener: Arc<ListenerState>,
    /// What its workers share.
    pub state: Arc<UdpState>,
    /// The worker.
    pub worker: Arc<Worker>,
    /// Where its settings come from.
    pub settings: Arc<UdpSettings>,
    /// Told when the settings, or whether the listener is wanted, may have changed.
    pub changed: Arc<Notify>,
    /// What is told.
    pub events: Arc<dyn UdpEvents>,
    /// Where datagrams pass through; one for all listeners of the worker.
    pub batch: Arc<Mutex<Batch>>,
}

impl UdpServing {
    /// Serves until the listener is retired and its sessions are over.
    ///
    /// # Errors
    ///
    /// Where the listener cannot begin: no descriptor is left.
    pub async fn run(self) -> io::Result<()> {
        let Some(plan) = (self.settings)(&self.listener) else { return Ok(()) };
        self.state.places.set_max(plan.sessions_max);
        let sessions = Sessions::new(
            self.socket,
            plan,
            Arc::clone(&self.state.places),
            self.state.tallies_of(self.worker.shard),
            self.events,
        )?;
        let (answered, answers) = mpsc::unbounded_channel();
        let serving = Serving {
            readiness: sessions.wait()?,
            sessions,
            listener: self.listener,
            worker: self.worker,
            settings: self.settings,
            batch: self.batch,
            answered,
            answers,
            end: None,
        };
        serving.run(&self.changed).await
    }
}

/// An endpoint for a session that waited, or none.
type Answer = (SessionId, Result<Lease, PickError>);

struct Serving {
    sessions: Sessions,
    readiness: ReadinessWait,
    listener: Arc<ListenerState>,
    worker: Arc<Worker>,
    settings: Arc<UdpSettings>,
    batch: Arc<Mutex<Batch>>,
    /// No more wait here than in the queue of the upstream, which has its own bound.
    answered: mpsc::UnboundedSender<Answer>,
    answers: mpsc::UnboundedReceiver<Answer>,
    /// When its last sessions are cut, once it is retired.
    end: Option<Instant>,
}

impl Serving {
    async fn run(mut self, changed: &Notify) -> io::Result<()> {
        let mut drain = self.worker.drain.clone();
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        let mut begun = false;
        let mut review_at = Instant::now() + REVIEW_PAUSE;
        loop {
            let woken = changed.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            self.follow();
            loop {
                let now = Instant::now();
                if now >= review_at {
                    review_at = now + REVIEW_PAUSE;
                    self.sessions.review();
                }
                if self.is_over(now) {
                    return Ok(());
                }
                if self.turn(now) == Turn::More {
                    // Other work of the worker has its turn too.
                    tokio::task::yield_now().await;
                    continue;
                }
                let next = self.next_look(review_at);
                if timer.deadline().into_std() > next || timer.is_elapsed() {
                    timer.as_mut().reset(next.into());
                }
                tokio::select! {
                    biased;
                    ready = self.readiness.ready() => ready?,
                    Some((id, answer)) = self.answers.recv() => {
                        self.sessions.chosen(id, answer, Instant::now());
                    }
                    () = &mut timer => {}
                    () = &mut woken => break,
                    () = next_phase(&mut drain, begun) => {
                        begun = true;
                        break;
                    }
                }
            }
        }
    }

    /// One round, and a waiter for each session that has to wait.
    fn turn(&mut self, now: Instant) -> Turn {
        let sessions = &mut self.sessions;
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = sessions.turn(&mut batch, now);
        drop(batch);
        for waiting in sessions.take_waiting() {
            let (id, answered) = (waiting.id, self.answered.clone());
            let waiter = tokio::spawn(async move {
                let until = waiting.request.now + waiting.upstream.plan().queue.timeout;
                let answer = waiting.upstream.acquire(&waiting.request, &waiting.tried, until).await;
                // Nobody wants it where the listener is gone, and then the endpoint is free again.
                let _gone = answered.send((id, answer));
            });
            sessions.waits(id, waiter.abort_handle());
        }
        turn
    }

    /// Takes over what has changed outside.
    fn follow(&mut self) {
        let sessions = &mut self.sessions;
        if let Some(plan) = (self.settings)(&self.listener).filter(|plan| !Arc::ptr_eq(plan, sessions.plan()))
        {
            sessions.set_plan(plan);
        }
        if self.listener.is_handed_over() {
            sessions.stop_listening();
        }
        let phase = self.worker.drain.phase();
        let end = match phase {
            Phase::Run if !self.listener.is_retired() => return,
            Phase::Run => Instant::now() + sessions.plan().drain_timeout,
            Phase::Drain { deadline } => deadline,
            Phase::Stop => Instant::now(),
        };
        sessions.drain();
        self.end = Some(self.end.map_or(end, |earlier| earlier.min(end)));
    }

    /// Whether nothing is left to do, and after the end ends some of what is left.
    fn is_over(&mut self, now: Instant) -> bool {
        let Some(end) = self.end else { return false };
        let sessions = &mut self.sessions;
        if now >= end {
            sessions.end_some(now);
        }
        sessions.sessions() == 0
    }

    /// When there may be something to do although nothing comes.
    fn next_look(&self, review_at: Instant) -> Instant {
        let sessions = &self.sessions;
        let reviews = sessions.plan().close_on_down && sessions.sessions() > 0;
        let looks = [sessions.next_expiry(), self.end, reviews.then_some(review_at)];
        looks.into_iter().flatten().min().unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600))
    }
}

/// Waits for the beginning of the process's end, and after that for the end.
async fn next_phase(drain: &mut DrainSignal, begun: bool) {
    if begun {
        drain.stopped().await;
    } else {
        let _phase = drain.begun().await;
    }
}
