use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use weir_base::ErrorCode;
use weir_net::ListenerState;
use weir_net::udp::{ReadinessWait, UdpSocket};
use weir_task::{DrainSignal, Phase, Snapshot};
use weir_telemetry::{StreamRecord, Transport};
use weir_upstream::{HealthChange, Lease, PickError};

use super::lines::Lines;
use super::sessions::{EndedSession, Sessions, Turn, Witness};
use super::table::SessionId;
use crate::{StreamPlane, StreamWorker};

/// How often sessions are held against the state of their endpoints, where they end with it, and against what other
/// workers have taken.
const REVIEW_PAUSE: Duration = Duration::from_secs(1);

/// Silence after which a session is over once the process is on its way out: no datagram says that it is, and most idle
/// timeouts are longer than a drain.
const DRAIN_SILENCE: Duration = Duration::from_secs(5);

/// Serves a worker's socket of a UDP listener until the listener is retired and its sessions are over. `changed` is told
/// when the configuration has changed, or whether the listener is wanted.
///
/// # Errors
///
/// Where it cannot begin for want of descriptors.
pub async fn serve(
    socket: UdpSocket,
    state: Arc<ListenerState>,
    worker: Arc<StreamWorker>,
    changed: Arc<Notify>,
) -> io::Result<()> {
    let plane = worker.plane();
    let Some(listener) = plane.udp(state.id).cloned() else { return Ok(()) };
    listener.stats.places.set_max(listener.sessions_max);
    let witness = Arc::new(LogWitness {
        worker: Arc::clone(&worker),
        listener: Arc::clone(&state),
        lines: Mutex::default(),
    });
    let sessions = Sessions::new(socket, listener, worker.base.shard, witness)?;
    let (answered, answers) = mpsc::unbounded_channel();
    let serving = Serving {
        plane,
        readiness: sessions.wait()?,
        sessions,
        state,
        worker,
        answered,
        answers,
        listens: true,
        end: None,
    };
    serving.run(&changed).await
}

/// An endpoint for a session that waited, or none.
type Answer = (SessionId, Result<Lease, PickError>);

struct Serving {
    /// The configuration that was followed last.
    plane: Arc<Snapshot<StreamPlane>>,
    sessions: Sessions,
    readiness: ReadinessWait,
    state: Arc<ListenerState>,
    worker: Arc<StreamWorker>,
    /// No more wait here than in the queue of the upstream, which has its own bound.
    answered: mpsc::UnboundedSender<Answer>,
    answers: mpsc::UnboundedReceiver<Answer>,
    /// Whether it reads what clients send: until its address is handed over.
    listens: bool,
    /// When the last sessions are cut, once the process is on its way out.
    end: Option<Instant>,
}

impl Serving {
    async fn run(mut self, changed: &Notify) -> io::Result<()> {
        let mut drain = self.worker.base.drain.clone();
        let mut begun = false;
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
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
                let turn = self.turn(now);
                if self.is_over(now) {
                    return Ok(());
                }
                if turn == Turn::More {
                    // Other work of the worker has its turn too.
                    tokio::task::yield_now().await;
                }
                let next = self.next_look(review_at);
                if timer.deadline().into_std() > next || timer.is_elapsed() {
                    timer.as_mut().reset(next.into());
                }
                tokio::select! {
                    biased;
                    ready = self.readiness.ready(), if turn == Turn::Done => ready?,
                    Some((id, answer)) = self.answers.recv() => self.sessions.chosen(id, answer, Instant::now()),
                    () = &mut timer, if turn == Turn::Done => {}
                    () = &mut woken => break,
                    () = next_phase(&mut drain, begun) => {
                        begun = true;
                        break;
                    }
                    // Nothing is waited for where there is more to take, but what has come is heard under any load.
                    () = std::future::ready(()), if turn == Turn::More => {}
                }
            }
        }
    }

    /// One round, and a waiter for each session that has to wait.
    fn turn(&mut self, now: Instant) -> Turn {
        // Each time, as a reload may have said that it is done before this worker was told: who sends from then on is
        // served by what is new, and is the successor's where there is one.
        let plane = self.worker.plane();
        if !Arc::ptr_eq(&plane, &self.plane) {
            self.plane = plane;
            self.follow();
        }
        if self.listens && self.state.is_handed_over() {
            self.listens = false;
            self.sessions.stop_listening();
        }
        let turn = self.sessions.turn(&mut self.worker.datagrams(), now);
        for waiting in self.sessions.take_waiting() {
            let (id, answered) = (waiting.id, self.answered.clone());
            let waiter = tokio::spawn(async move {
                let until = waiting.request.now + waiting.upstream.plan().queue.timeout;
                let answer = waiting.upstream.acquire(&waiting.request, &waiting.tried, until).await;
                // Where the listener is gone nobody wants it, and the endpoint is free again.
                let _gone = answered.send((id, answer));
            });
            self.sessions.waits(id, waiter.abort_handle());
        }
        turn
    }

    /// Takes over what has changed outside.
    fn follow(&mut self) {
        let listener = self.worker.plane().udp(self.state.id).cloned();
        if let Some(listener) = listener.filter(|listener| !Arc::ptr_eq(listener, self.sessions.listener())) {
            self.sessions.set_listener(listener);
        }
        self.end = match self.worker.base.drain.phase() {
            Phase::Run => None,
            Phase::Drain { deadline } => Some(deadline),
            Phase::Stop => Some(Instant::now()),
        };
        if self.end.is_some() || self.state.is_retired() {
            self.sessions.drain();
        }
        if self.end.is_some() {
            self.sessions.shorten(DRAIN_SILENCE);
        }
    }

    /// Whether nothing is left to do; after the end, whatever is left ends.
    fn is_over(&mut self, now: Instant) -> bool {
        if self.end.is_some_and(|end| now >= end) {
            self.sessions.end_some(now);
        }
        self.sessions.is_drained()
    }

    /// When there may be something to do although nothing comes.
    fn next_look(&self, review_at: Instant) -> Instant {
        let review = self.sessions.may_have_to_end().then_some(review_at);
        let looks = [self.sessions.next_expiry(), self.end, review];
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

/// Tells the log.
struct LogWitness {
    worker: Arc<StreamWorker>,
    listener: Arc<ListenerState>,
    /// Taken by one task alone, and never across a wait.
    lines: Mutex<Lines>,
}

impl Witness for LogWitness {
    fn session_began(&self) {
        self.listener.session_began();
    }

    fn session_ended(&self, ended: &EndedSession<'_>) {
        self.listener.session_ended();
        let mut access = self.worker.access();
        if !access.is_on() {
            return;
        }
        if !self.lines.lock().unwrap_or_else(PoisonError::into_inner).admit(ended.end, ended.at) {
            return ended.tallies.lines_left_out.add(1);
        }
        let timestamp_us = access.micros_at(ended.at);
        access.push_stream(&StreamRecord {
            timestamp_us,
            level: ended.end.level(),
            transport: Transport::Udp { datagrams_in: ended.requests, datagrams_out: ended.responses },
            listener: &self.listener.name,
            upstream: ended.upstream,
            endpoint: ended.endpoint.map_or("", |endpoint| endpoint),
            attempts: ended.attempts,
            client_ip: Some(ended.client.ip().to_canonical()),
            bytes_in: ended.bytes_in,
            bytes_out: ended.bytes_out,
            duration: ended.duration,
            connect_us: None,
            tls: None,
            end: ended.end.as_str(),
            error: ended.end.error().map_or("", ErrorCode::as_str),
        });
    }

    fn descriptors_ran_out(&self) {
        self.worker.base.descriptors_ran_out();
    }

    fn health_changed(&self, change: &HealthChange) {
        change.tell(&self.worker.base.shared);
    }
}

#[cfg(test)]
mod tests;
