//! The listening sockets: bound once, kept across reloads, closed when nobody wants them and their queues are empty.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;
use weir_net::{BindAddress, BindError, Listener, ListenerState, Pending};

use super::worker::{Command, Serves, WorkerThread};
use crate::plan::{ListenerPlan, TakesPlan};

/// An address as written; with the listener's name where the kernel chooses the port, for then it is not one address.
type Key = (BindAddress, Option<Arc<str>>);

/// All listeners.
#[derive(Default)]
pub(super) struct Listeners {
    running: BTreeMap<Key, Running>,
    /// What planes find the settings of listeners by; a name keeps its id for the process's life.
    ids: HashMap<Arc<str>, u32>,
    /// Workers that still accept, over all listeners; one that is retired counts until its queue is empty.
    accepting: Arc<AtomicUsize>,
}

struct Running {
    listener: Arc<Listener>,
    state: Arc<ListenerState>,
    serves: Serves,
}

impl Serves {
    fn of(takes: &TakesPlan) -> Self {
        match takes {
            TakesPlan::Http => Self::Http,
            TakesPlan::Tcp(_) | TakesPlan::Udp(_) => Self::Tcp,
        }
    }
}

impl Running {
    /// Takes nobody new in; workers then empty their queues and let go of the sockets.
    fn retire(&self) {
        self.listener.stop_greeting();
        self.state.retire();
    }
}

/// Addresses that a new configuration wants and that are not listened on yet; dropping it leaves no trace.
pub(super) struct Prepared(Vec<(Key, Pending)>);

fn key(name: &Arc<str>, bind: &BindAddress) -> Key {
    let chosen_by_kernel = matches!(bind, BindAddress::Tcp(address) if address.port() == 0);
    (bind.clone(), chosen_by_kernel.then(|| Arc::clone(name)))
}

impl Listeners {
    /// The id that planes find the settings of a listener by.
    pub(super) fn id(&mut self, name: &Arc<str>) -> u32 {
        let next = self.ids.len() as u32 + 1;
        *self.ids.entry(Arc::clone(name)).or_insert(next)
    }

    /// What the listeners are known by, to be [given back](Self::restore_ids) where a reload fails.
    pub(super) fn ids(&self) -> HashMap<Arc<str>, u32> {
        self.ids.clone()
    }

    /// Takes back what [`follow_renames`](Self::follow_renames) did.
    pub(super) fn restore_ids(&mut self, ids: HashMap<Arc<str>, u32>) {
        self.ids = ids;
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
                .filter_map(|bind| self.running.get(&key(name, bind)))
                .map(|running| Arc::clone(&running.state.name))
                .find(|former| !plans.contains_key(former));
            if let Some(id) = former.and_then(|former| self.ids.remove(&former)) {
                self.ids.insert(Arc::clone(name), id);
            }
        }
    }

    /// Binds what is new, without listening.
    pub(super) fn prepare(
        &self,
        plans: &BTreeMap<Arc<str>, ListenerPlan>,
        workers: usize,
    ) -> Result<Prepared, BindError> {
        let mut added = Vec::new();
        for (name, plan) in plans {
            for bind in &plan.bind {
                let key = key(name, bind);
                if !self.running.contains_key(&key) {
                    added.push((key, Pending::bind(bind, workers, plan.unix_mode)?));
                }
            }
        }
        Ok(Prepared(added))
    }

    /// Listens on what was prepared, hands it to the workers, and retires what is no longer wanted.
    ///
    /// # Errors
    ///
    /// Where another process was faster than us; nothing has changed then.
    pub(super) fn commit(
        &mut self,
        prepared: Prepared,
        plans: &BTreeMap<Arc<str>, ListenerPlan>,
        workers: &[WorkerThread],
    ) -> Result<(), BindError> {
        let listening: HashMap<Key, Listener> = prepared
            .0
            .into_iter()
            .map(|(key, pending)| pending.listen().map(|listener| (key, listener)))
            .collect::<Result<_, _>>()?;
        let mut known = std::mem::take(&mut self.running);
        let mut added: HashMap<Key, Arc<Listener>> =
            listening.into_iter().map(|(key, listener)| (key, Arc::new(listener))).collect();
        for (name, plan) in plans {
            let serves = Serves::of(&plan.takes);
            for bind in &plan.bind {
                let key = key(name, bind);
                let running = match (known.remove(&key), added.remove(&key)) {
                    (Some(running), _) if running.state.name == *name && running.serves == serves => running,
                    // The address has a new name, or takes something else: it goes on listening, what it accepts is the new listener's.
                    (Some(running), _) => {
                        running.state.hand_over();
                        self.start(name, serves, running.listener, workers)
                    }
                    (None, Some(listener)) => self.start(name, serves, listener, workers),
                    (None, None) => continue,
                };
                self.running.insert(key, running);
            }
        }
        for running in known.into_values() {
            running.retire();
        }
        Ok(())
    }

    fn start(
        &mut self,
        name: &Arc<str>,
        serves: Serves,
        listener: Arc<Listener>,
        workers: &[WorkerThread],
    ) -> Running {
        let state = ListenerState::new(self.id(name), Arc::clone(name));
        for (index, worker) in workers.iter().enumerate() {
            // Without a descriptor for it, this worker accepts nothing here, but the others do.
            if let Ok(socket) = listener.socket(index) {
                self.hand_out(worker, socket, serves, &state, &listener);
            }
        }
        Running { listener, state, serves }
    }

    /// Lets a worker accept from a socket; the listener is kept until the worker is done with it.
    fn hand_out(
        &self,
        worker: &WorkerThread,
        socket: weir_net::ListenerSocket,
        serves: Serves,
        state: &Arc<ListenerState>,
        listener: &Arc<Listener>,
    ) {
        let (done, wait) = oneshot::channel();
        worker.send(Command::Accept { socket, serves, state: Arc::clone(state), done });
        let listener = Arc::clone(listener);
        let accepting = Arc::clone(&self.accepting);
        accepting.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let _ended = wait.await;
            // Only now: closing one socket of a group resets what waits in its queue.
            drop(listener);
            accepting.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Whether nobody accepts any more and every queue was emptied.
    pub(super) fn are_closed(&self) -> bool {
        self.accepting.load(Ordering::Relaxed) == 0
    }

    /// Names, addresses with the ports that the kernel chose, and states.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &BindAddress, &ListenerState)> {
        self.running
            .values()
            .map(|running| (&running.state.name, running.listener.address(), &*running.state))
    }

    /// Names with addresses.
    pub(super) fn places(&self) -> BTreeSet<(Arc<str>, String)> {
        self.iter().map(|(name, address, _)| (Arc::clone(name), address.to_string())).collect()
    }

    /// Stops all accepting; what the kernel has taken in is still served.
    pub(super) fn retire_all(&mut self) {
        for running in std::mem::take(&mut self.running).into_values() {
            running.retire();
        }
    }
}
