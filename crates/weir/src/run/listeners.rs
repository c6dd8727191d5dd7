//! The listening sockets: bound once, kept across reloads, closed when nobody wants them and their queues are empty.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::oneshot;
use weir_net::{BindAddress, BindError, ListenerState};
use weir_telemetry::{Level, Log, Value};

use super::bound::{Bound, Transport, Unheard, WorkerSocket};
use super::worker::{Command, Serves, WorkerThread};
use crate::plan::{ListenerPlan, TakesPlan};

/// An address as written; with the listener's name where the kernel chooses the port, for then it is not one address.
type Key = (Transport, BindAddress, Option<Arc<str>>);

/// All listeners.
#[derive(Default)]
pub(super) struct Listeners {
    running: BTreeMap<Key, Running>,
    /// No longer wanted, but not let go of by every worker yet.
    closing: Vec<Closing>,
    /// What planes find the settings of listeners by; a name keeps its id for the process's life.
    ids: HashMap<Arc<str>, u32>,
    /// Workers that still accept, over all listeners; one that is retired counts until its queue is empty.
    accepting: Arc<AtomicUsize>,
}

struct Running {
    bound: Arc<Bound>,
    state: Arc<ListenerState>,
    serves: Serves,
}

impl Serves {
    fn of(takes: &TakesPlan) -> Self {
        match takes {
            TakesPlan::Http => Self::Http,
            TakesPlan::Tcp(_) => Self::Tcp,
            TakesPlan::Udp(_) => Self::Udp,
            TakesPlan::Tunnel => Self::Tunnel,
        }
    }
}

struct Closing {
    key: Key,
    bound: Weak<Bound>,
    state: Arc<ListenerState>,
}

/// Addresses that a new configuration wants and that are not listened on yet; dropping it leaves no trace.
pub(super) struct Prepared(Vec<(Key, Incoming)>);

enum Incoming {
    Unheard(Unheard),
    /// Wanted again before every worker had let go of it; what it was known as until then.
    Revived(Arc<Bound>, Arc<ListenerState>),
}

/// Addresses that are listened on and that no worker accepts from yet.
pub(super) struct Listening(HashMap<Key, Arc<Bound>>);

impl Prepared {
    /// Listens.
    ///
    /// # Errors
    ///
    /// Where another process was faster than us; nothing has changed then.
    pub(super) fn listen(self) -> Result<Listening, BindError> {
        let mut formers = Vec::new();
        let mut listening = HashMap::new();
        for (key, incoming) in self.0 {
            let bound = match incoming {
                Incoming::Unheard(unheard) => Arc::new(unheard.listen()?),
                Incoming::Revived(bound, former) => {
                    formers.push(former);
                    bound
                }
            };
            listening.insert(key, bound);
        }
        // What still runs there ends by itself, but listens no more.
        formers.iter().for_each(|former| former.hand_over());
        Ok(Listening(listening))
    }
}

fn key(name: &Arc<str>, plan: &ListenerPlan, bind: &BindAddress) -> Key {
    let chosen_by_kernel = matches!(bind, BindAddress::Tcp(address) if address.port() == 0);
    (Transport::of(plan), bind.clone(), chosen_by_kernel.then(|| Arc::clone(name)))
}

impl Listeners {
    /// The id that planes find the settings of a listener by.
    pub(super) fn id(&mut self, name: &Arc<str>) -> u32 {
        let next = self.ids.len() as u32 + 1;
        *self.ids.entry(Arc::clone(name)).or_insert(next)
    }

    /// A new name at the address of a listener that is gone gets its id: the connections that it has accepted go on
    /// finding their routes.
    pub(super) fn follow_renames(&mut self, plans: &BTreeMap<Arc<str>, ListenerPlan>) {
        for (name, plan) in plans {
            if self.ids.contains_key(name) {
                continue;
            }
            let former = plan
                .bind
                .iter()
                .filter_map(|bind| self.running.get(&key(name, plan, bind)))
                .map(|running| Arc::clone(&running.state.name))
                .find(|former| !plans.contains_key(former));
            if let Some(id) = former.and_then(|former| self.ids.remove(&former)) {
                self.ids.insert(Arc::clone(name), id);
            }
        }
    }

    /// Binds what is new, without listening.
    pub(super) fn prepare(
        &mut self,
        plans: &BTreeMap<Arc<str>, ListenerPlan>,
        workers: usize,
    ) -> Result<Prepared, BindError> {
        self.closing.retain(|closing| closing.bound.strong_count() > 0);
        let mut added = Vec::new();
        for (name, plan) in plans {
            for bind in &plan.bind {
                let key = key(name, plan, bind);
                if self.running.contains_key(&key) {
                    continue;
                }
                let mut closing = self.closing.iter().filter(|closing| closing.key == key);
                let revived =
                    closing.find_map(|closing| Some((closing.bound.upgrade()?, Arc::clone(&closing.state))));
                let incoming = match revived {
                    Some((bound, former)) => Incoming::Revived(bound, former),
                    None => Incoming::Unheard(Unheard::bind(bind, plan, workers)?),
                };
                added.push((key, incoming));
            }
        }
        Ok(Prepared(added))
    }

    /// Takes nobody new in at addresses that are no longer wanted; returns whose they were.
    pub(super) fn retire_unwanted(
        &mut self,
        plans: &BTreeMap<Arc<str>, ListenerPlan>,
    ) -> Vec<Arc<ListenerState>> {
        let wanted: HashSet<Key> = plans
            .iter()
            .flat_map(|(name, plan)| plan.bind.iter().map(|bind| key(name, plan, bind)))
            .collect();
        let running = std::mem::take(&mut self.running);
        let (wanted, unwanted) = running.into_iter().partition(|(key, _)| wanted.contains(key));
        self.running = wanted;
        let unwanted: BTreeMap<Key, Running> = unwanted;
        unwanted.into_iter().map(|(key, running)| self.retire(key, running)).collect()
    }

    /// Workers then empty its queue and let go of the sockets.
    fn retire(&mut self, key: Key, running: Running) -> Arc<ListenerState> {
        running.bound.stop_greeting();
        running.state.retire();
        let state = Arc::clone(&running.state);
        self.closing.push(Closing { key, bound: Arc::downgrade(&running.bound), state });
        running.state
    }

    /// Lets the workers accept at addresses that were prepared, and on those that go on under another name.
    pub(super) fn start(
        &mut self,
        mut listening: Listening,
        plans: &BTreeMap<Arc<str>, ListenerPlan>,
        workers: &[WorkerThread],
        log: &Log,
    ) {
        for (name, plan) in plans {
            let serves = Serves::of(&plan.takes);
            for bind in &plan.bind {
                let key = key(name, plan, bind);
                let bound = match (self.running.get(&key), listening.0.remove(&key)) {
                    (Some(same), _) if same.state.name == *name && same.serves == serves => continue,
                    // The address has a new name, or takes something else: it goes on listening, what it accepts is
                    // the new listener's.
                    (Some(former), _) => {
                        former.state.hand_over();
                        Arc::clone(&former.bound)
                    }
                    (None, Some(bound)) => {
                        bound.greet();
                        bound
                    }
                    (None, None) => continue,
                };
                let state = ListenerState::new(self.id(name), Arc::clone(name));
                self.hand_out_all(&bound, &state, workers, log);
                self.running.insert(key, Running { bound, state, serves });
            }
        }
    }

    fn hand_out_all(
        &self,
        bound: &Arc<Bound>,
        state: &Arc<ListenerState>,
        workers: &[WorkerThread],
        log: &Log,
    ) {
        for (index, worker) in workers.iter().enumerate() {
            match bound.socket(index) {
                Ok(socket) => self.hand_out(worker, socket, state, bound),
                // This worker accepts nothing here, but the others do.
                Err(error) => {
                    let fields =
                        [("listener", Value::Str(&state.name)), ("error", Value::Str(&error.to_string()))];
                    log.event(Level::Error, "accept_failed", &fields);
                }
            }
        }
    }

    /// Lets a worker accept from a socket; the listener is kept until the worker is done with it.
    fn hand_out(
        &self,
        worker: &WorkerThread,
        socket: WorkerSocket,
        state: &Arc<ListenerState>,
        bound: &Arc<Bound>,
    ) {
        let (done, wait) = oneshot::channel();
        // Where the worker hangs, the review that follows says so.
        let _hangs = worker.send(Command::Serve { socket, state: Arc::clone(state), done });
        let bound = Arc::clone(bound);
        let accepting = Arc::clone(&self.accepting);
        accepting.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let _ended = wait.await;
            // Only now: closing one socket of a group resets what waits in its queue.
            drop(bound);
            accepting.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Whether nobody accepts any more and every queue was emptied.
    pub(super) fn are_closed(&self) -> bool {
        self.accepting.load(Ordering::Relaxed) == 0
    }

    /// Names, addresses with the ports that the kernel chose, and states.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, BindAddress, &ListenerState, Serves)> {
        self.running
            .values()
            .map(|running| (&running.state.name, running.bound.address(), &*running.state, running.serves))
    }

    /// Names with addresses.
    pub(super) fn places(&self) -> BTreeSet<(Arc<str>, String)> {
        self.iter().map(|(name, address, ..)| (Arc::clone(name), address.to_string())).collect()
    }

    /// Stops all accepting; what the kernel has taken in is still served.
    pub(super) fn retire_all(&mut self) {
        for (key, running) in std::mem::take(&mut self.running) {
            self.retire(key, running);
        }
    }
}
