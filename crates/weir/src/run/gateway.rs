//! The gateway as a whole: started once, reloaded any number of times, drained at the end.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;
use weir_http::{FormerPlanes, HttpShared, HttpStats, HttpWorker, Plane};
use weir_net::tls::certificates::Shelf;
use weir_net::tls::{Refresh, ServerTls};
use weir_net::{BindError, ConnectionStats, DescriptorLimit, Tunnels, Worker, WorkerShared};
use weir_stream::{StreamPlane, StreamWorker};
use weir_task::{Drain, Live, Phase};
use weir_telemetry::{AccessLog, Level, Log, Registry, Shard, Value};
use weir_upstream::{Endpoint, LinkId, Upkeep, Upstream};

use super::compile::{Parts, compile_plane, compile_stream_plane, connections_max};
use super::listeners::Listeners;
use super::reload_stats::ReloadStats;
use super::tunnel::Tunnel;
use super::worker::{Command, Planes, Serves, WorkerThread};
use crate::plan::{AdminPlan, RootPlan};
use crate::spec::TUNNEL_LISTENER;

/// The running gateway.
pub(crate) struct Gateway {
    pub(crate) live: Arc<Live<Plane>>,
    /// What connections and datagrams that are not HTTP are served by.
    pub(crate) stream: Arc<Live<StreamPlane>>,
    /// What the workers share; it tells of listeners that broke.
    pub(crate) shared: Arc<WorkerShared>,
    pub(crate) stats: Arc<HttpStats>,
    /// What connections of listeners that are gone are still served by.
    former: Arc<FormerPlanes>,
    /// Who dials in.
    tunnel: Arc<Tunnel>,
    /// Counters of connections, whatever is spoken on them.
    pub(crate) connections: Arc<ConnectionStats>,
    pub(crate) log: Log,
    pub(crate) access: AccessLog,
    pub(crate) registry: Registry,
    pub(crate) started: Instant,
    pub(crate) descriptors: DescriptorLimit,
    /// Certificates as they were read.
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) drain: Drain,
    /// Where the admin address listens, once it does.
    pub(crate) admin_address: OnceLock<String>,
    /// How reloads went.
    pub(crate) reloads: ReloadStats,
    ready: AtomicBool,
    revision: AtomicU64,
    workers: usize,
    /// `admin` as it was at the start, which is in force until the end.
    admin: Option<AdminPlan>,
    state: Mutex<State>,
}

/// What only the control side touches.
struct State {
    threads: Vec<WorkerThread>,
    listeners: Listeners,
    parts: Parts,
    upkeep: Upkeep,
    plan: Arc<RootPlan>,
}

/// A listener at one of its addresses.
pub(crate) struct ListenerRow {
    pub(crate) name: String,
    /// With the port that the kernel chose.
    pub(crate) address: String,
    /// `http`, `tcp` or `udp`.
    pub(crate) takes: &'static str,
    /// Open connections, or sessions.
    pub(crate) open: i64,
}

/// Why a start failed.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A thread or a runtime cannot be made.
    #[error("cannot start a worker: {0}")]
    Worker(std::io::Error),
}

/// Why a reload failed; the running configuration is untouched.
#[derive(Debug, Error)]
pub(crate) enum ReloadError {
    /// A new address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl Gateway {
    /// Binds, starts the workers and serves. Must run on the control runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running then.
    pub(crate) fn start(
        plan: RootPlan,
        shelf: Arc<Shelf>,
        log: Log,
        access: AccessLog,
        descriptors: DescriptorLimit,
    ) -> Result<Arc<Self>, StartError> {
        let started = Instant::now();
        let plan = Arc::new(plan);
        let workers = plan.workers;
        let stats = HttpStats::new(workers + 1);
        let drain = Drain::default();
        let mut listeners = Listeners::default();
        let prepared = listeners.prepare(&plan.listeners, workers)?;
        let parts = Parts::compile(&plan, &Parts::default(), started);
        let plane = compile_plane(&plan, &mut listeners, &parts, None, 1, workers, descriptors);
        let live = Arc::new(Live::new(plane));
        let stream = compile_stream_plane(&plan, &mut listeners, &parts, None, workers, descriptors);
        let stream = Arc::new(Live::new(stream));
        let former = Arc::new(FormerPlanes::default());
        let connections = ConnectionStats::new(workers + 1);
        connections.tls.handshakes.set_max(plan.limits.tls_handshakes);
        let shared = WorkerShared::new(Arc::clone(&connections), log.clone());
        let tunnel = Arc::new(Tunnel::default());
        let agents: Arc<dyn Tunnels> = Arc::clone(&tunnel.relay) as _;
        assert!(shared.tunnels.set(agents).is_ok(), "it was made a moment ago");
        let clients_max = connections_max(&plan, workers, descriptors);
        tunnel.configure(plan.tunnel.as_ref(), listeners.id(&TUNNEL_LISTENER.into()), clients_max);
        let mut threads = Vec::new();
        for index in 0..workers {
            let base = Worker::new(Arc::clone(&shared), Shard(index as u16), drain.signal(), started);
            let http = HttpShared {
                live: Arc::clone(&live),
                former: Arc::clone(&former),
                stats: Arc::clone(&stats),
            };
            let planes = Planes {
                http: HttpWorker::new(Arc::clone(&base), http, access.for_worker()),
                stream: StreamWorker::new(Arc::clone(&base), Arc::clone(&stream), access.for_worker()),
                tunnel: Arc::clone(&tunnel),
                base,
            };
            threads.push(WorkerThread::start(index, planes, drain.signal()).map_err(StartError::Worker)?);
        }
        let told = Arc::clone(&shared);
        let upkeep = Upkeep::new(move |change| change.tell(&told));
        let registry = Registry::new();
        listeners.start(prepared.listen()?, &plan.listeners, &threads, &log);
        // After the listeners: an upstream may be one of them.
        upkeep.sync(&parts.upstreams.values().cloned().collect::<Vec<_>>());
        let gateway = Arc::new(Self {
            live,
            stream,
            shared,
            stats,
            former,
            tunnel,
            connections,
            log,
            access,
            registry,
            started,
            descriptors,
            shelf,
            drain,
            admin_address: OnceLock::new(),
            reloads: ReloadStats::new(SystemTime::now()),
            ready: AtomicBool::new(false),
            revision: AtomicU64::new(1),
            workers,
            admin: plan.admin.clone(),
            state: Mutex::new(State { threads, listeners, parts, upkeep, plan }),
        });
        gateway.announce(&BTreeSet::new());
        gateway.ready.store(true, Ordering::Relaxed);
        Ok(gateway)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says where the gateway listens now and did not before.
    fn announce(&self, before: &BTreeSet<(Arc<str>, String)>) {
        for (name, address) in self.state().listeners.places().difference(before) {
            let fields = [("listener", Value::Str(name)), ("address", Value::Str(address))];
            self.log.event(Level::Info, "listening", &fields);
        }
    }

    /// Compiles a new plan beside the old one and swaps it in. Called by the one reload task only.
    ///
    /// # Errors
    ///
    /// [`ReloadError`]; nothing has changed then.
    pub(crate) fn reload(&self, plan: RootPlan) -> Result<u64, ReloadError> {
        let before = self.state().listeners.places();
        let revision = self.swap(plan)?;
        self.announce(&before);
        Ok(revision)
    }

    fn swap(&self, plan: RootPlan) -> Result<u64, ReloadError> {
        let plan = Arc::new(plan);
        let mut state = self.state();
        let state = &mut *state;
        let listening = state.listeners.prepare(&plan.listeners, self.workers)?.listen()?;
        let now = Instant::now();
        let parts = Parts::compile(&plan, &state.parts, now);
        let revision = self.revision() + 1;
        let previous = self.live.load();
        state.listeners.follow_renames(&plan.listeners);
        let plane = compile_plane(
            &plan,
            &mut state.listeners,
            &parts,
            Some(&previous),
            revision,
            self.workers,
            self.descriptors,
        );
        let previous_stream = self.stream.load();
        let stream = compile_stream_plane(
            &plan,
            &mut state.listeners,
            &parts,
            Some(&previous_stream),
            self.workers,
            self.descriptors,
        );
        // Who still speaks to a listener that goes finds what it was promised by.
        self.former.keep(state.listeners.retire_unwanted(&plan.listeners), &previous);
        let tunnel = state.listeners.id(&TUNNEL_LISTENER.into());
        let clients_max = connections_max(&plan, self.workers, self.descriptors);
        self.tunnel.configure(plan.tunnel.as_ref(), tunnel, clients_max);
        // Published before new listeners accept: their first request must find its routes.
        self.connections.tls.handshakes.set_max(plan.limits.tls_handshakes);
        self.live.publish(plane);
        self.stream.publish(stream);
        state.listeners.start(listening, &plan.listeners, &state.threads, &self.log);
        state.upkeep.sync(&parts.upstreams.values().cloned().collect::<Vec<_>>());
        retire_endpoints(&state.parts.upstreams, &parts.upstreams);
        state.parts = parts;
        self.access.reconfigure(plan.log.access.clone());
        self.log.reconfigure(&plan.log.service_name, plan.log.level, plan.log.format);
        let unmet = self.needing_restart(&plan);
        state.plan = plan;
        self.ask_for_review(state);
        self.revision.store(revision, Ordering::Relaxed);
        for key in unmet {
            self.log.event(Level::Warn, "restart_needed", &[("key", Value::Str(key))]);
        }
        Ok(revision)
    }

    /// Keys whose change is not in force before a restart.
    fn needing_restart(&self, new: &RootPlan) -> Vec<&'static str> {
        let mut keys = Vec::new();
        if new.workers != self.workers {
            keys.push("workers");
        }
        if new.admin != self.admin {
            keys.push("admin");
        }
        keys
    }

    /// The revision that is served.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// The configuration that is served.
    pub(crate) fn plan(&self) -> Arc<RootPlan> {
        Arc::clone(&self.state().plan)
    }

    /// The upstreams of the configuration that is served.
    pub(crate) fn upstreams(&self) -> Vec<Arc<Upstream>> {
        self.state().parts.upstreams.values().cloned().collect()
    }

    /// What listeners with TLS shake hands by, by their names.
    pub(crate) fn tls(&self) -> BTreeMap<Arc<str>, Arc<ServerTls>> {
        self.state().parts.tls.clone()
    }

    /// Reads again what has changed of the certificates' files, and serves it. Blocks for as long as that takes.
    pub(crate) fn refresh_certificates(&self) -> Vec<(Arc<str>, Refresh)> {
        let now = SystemTime::now();
        let refresh = |(name, tls): (Arc<str>, Arc<ServerTls>)| (name, tls.refresh(&self.shelf, now));
        self.tls().into_iter().map(refresh).collect()
    }

    /// The listeners, a row for each address.
    pub(crate) fn listeners(&self) -> Vec<ListenerRow> {
        let state = self.state();
        let rows = state.listeners.iter().map(|(name, address, listener, serves)| ListenerRow {
            name: name.to_string(),
            address: address.to_string(),
            takes: serves.as_str(),
            open: listener.open_connections(),
        });
        rows.collect()
    }

    /// Where the admin address listens; none where it is off.
    pub(crate) fn admin_address(&self) -> Option<String> {
        self.admin_address.get().cloned()
    }

    /// Whether traffic is wanted: started, not draining, and listening.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && self.drain.phase() == Phase::Run
    }

    /// Refuses new work, finishes what runs, and ends the workers; returns when they have ended.
    pub(crate) async fn shut_down(&self, limit: Duration) {
        self.ready.store(false, Ordering::Relaxed);
        let deadline = Instant::now() + limit;
        self.log.event(Level::Info, "draining", &[("connections", Value::I64(self.open()))]);
        // The signal first: answers from here on say that the connection closes.
        self.drain.begin(deadline);
        self.tunnel.relay.drain();
        {
            let mut state = self.state();
            state.listeners.retire_all();
            self.ask_for_review(&state);
        }
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        loop {
            looks.tick().await;
            let stopped = self.drain.phase() == Phase::Stop;
            if stopped || Instant::now() >= deadline || (self.connections.open() == 0 && self.has_no_queue())
            {
                break;
            }
        }
        let cut = self.connections.open();
        // Sessions hear of the end by themselves; only after the workers are gone is it known how many were cut.
        self.drain.stop();
        let mut threads = std::mem::take(&mut self.state().threads);
        let joined = tokio::task::spawn_blocking(move || threads.iter_mut().for_each(WorkerThread::join));
        let _panicked = joined.await;
        let sessions = i64::try_from(self.stream.load().sessions_cut()).unwrap_or(i64::MAX);
        self.log.event(Level::Info, "stopped", &[("connections_cut", Value::I64(cut + sessions))]);
    }

    /// Open connections and sessions.
    fn open(&self) -> i64 {
        let rows = self.listeners();
        let sessions = rows.iter().filter(|row| row.takes == Serves::Udp.as_str()).map(|row| row.open);
        self.connections.open() + sessions.sum::<i64>()
    }

    /// Lets the workers look at what has changed.
    fn ask_for_review(&self, state: &State) {
        let links = link_ids(&state.parts.upstreams);
        for (index, thread) in (0_u64..).zip(&state.threads) {
            if !thread.send(Command::Review { links: Arc::clone(&links) }) {
                self.log.event(Level::Error, "worker_hangs", &[("worker", Value::U64(index))]);
            }
        }
    }

    /// Whether every listening socket has been closed, its queue drained before.
    fn has_no_queue(&self) -> bool {
        self.state().listeners.are_closed()
    }
}

/// Tells endpoints that are no longer wanted, so that a request that still runs keeps no connection to them. One that is
/// wanted on is never told otherwise, not for a moment: workers look at any time, and may close what they relay to it.
fn retire_endpoints(old: &BTreeMap<Arc<str>, Arc<Upstream>>, new: &BTreeMap<Arc<str>, Arc<Upstream>>) {
    let endpoints = |upstreams: &BTreeMap<Arc<str>, Arc<Upstream>>| -> Vec<Arc<Endpoint>> {
        upstreams.values().flat_map(|upstream| upstream.endpoints().to_vec()).collect()
    };
    // In this order: what a name has meant since is in neither, or in the new one alone.
    let (old, new) = (endpoints(old), endpoints(new));
    let wanted: HashSet<u32> = new.iter().map(|endpoint| endpoint.id()).collect();
    let links: HashSet<LinkId> = new.iter().map(|endpoint| endpoint.link_id()).collect();
    for endpoint in old {
        endpoint.set_retired(!wanted.contains(&endpoint.id()));
        endpoint.set_link_wanted(links.contains(&endpoint.link_id()));
    }
    for endpoint in new {
        endpoint.set_retired(false);
        endpoint.set_link_wanted(true);
    }
}

/// How the connections are made that a configuration still wants.
fn link_ids(upstreams: &BTreeMap<Arc<str>, Arc<Upstream>>) -> Arc<HashSet<LinkId>> {
    let ids = upstreams.values().flat_map(|upstream| {
        upstream.endpoints().iter().map(|endpoint| endpoint.link_id()).collect::<Vec<_>>()
    });
    Arc::new(ids.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_upstream::{Address, EndpointPlan, Target, UpstreamPlan};

    fn upstreams(
        ports: &[u16],
        previous: &BTreeMap<Arc<str>, Arc<Upstream>>,
    ) -> BTreeMap<Arc<str>, Arc<Upstream>> {
        let mut plan = UpstreamPlan::new("app");
        let target = |port: &u16| Target::Address(Address::Tcp(([127, 0, 0, 1], *port).into()));
        plan.endpoints = ports.iter().map(|port| EndpointPlan::new(target(port))).collect();
        BTreeMap::from([("app".into(), Upstream::compile(plan, previous.get("app"), Instant::now()))])
    }

    /// Goal: a reload cuts nothing that is still wanted. Method: a thread looks all the time, as workers do.
    #[test]
    fn an_endpoint_that_is_wanted_on_never_looks_removed() {
        let old = upstreams(&[1, 2], &BTreeMap::new());
        let new = upstreams(&[1, 3], &old);
        let kept = Arc::clone(&old["app"].endpoints()[0]);
        let done = AtomicBool::new(false);
        let seen_removed = std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let mut removed = false;
                while !done.load(Ordering::Relaxed) {
                    removed |= kept.is_retired();
                }
                removed
            });
            (0..20_000).for_each(|_| retire_endpoints(&old, &new));
            done.store(true, Ordering::Relaxed);
            looking.join().unwrap()
        });
        assert!(!seen_removed);
        assert!(old["app"].endpoints()[1].is_retired() && !new["app"].endpoints()[1].is_retired());
        retire_endpoints(&new, &old);
        assert!(!old["app"].endpoints()[1].is_retired(), "it came back");
    }
}
