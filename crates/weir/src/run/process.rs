//! The process around the gateway: its runtime, its signals, its reloads, its end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use weir_net::tls::certificates::Shelf;
use weir_provider::{Seen, Watch};
use weir_telemetry::{AccessLog, Level, Log, Value};

use super::certificates::Certificates;
use super::gateway::Gateway;
use crate::plan::RootPlan;
use crate::spec::descriptor_warnings;

/// Where the configuration comes from.
pub(crate) trait Source: Send + Sync {
    /// Reads and checks the whole of it; certificates that `shelf` knows are not read again.
    ///
    /// # Errors
    ///
    /// [`Rejected`] with every problem.
    fn load(&self, shelf: &Shelf) -> Result<RootPlan, Rejected>;

    /// What it is called in messages.
    fn name(&self) -> String;
}

/// A configuration that is not used, and why.
#[derive(Debug, Clone)]
pub(crate) struct Rejected {
    /// For people: every problem with its place, and the count.
    pub(crate) text: String,
    /// For programs: the same as a list.
    pub(crate) problems: serde_json::Value,
    /// What was read, for watching: the fault may be mended in a file that is new.
    pub(crate) read: Box<WasRead>,
}

/// What a configuration was read from.
#[derive(Debug, Clone, Default)]
pub(crate) struct WasRead {
    /// Every file, and the folders that `include` patterns look into.
    pub(crate) files: Vec<PathBuf>,
    /// What they held.
    pub(crate) seen: Seen,
}

impl Rejected {
    /// For a reason that lies in no file.
    fn because(text: String) -> Self {
        let problems = serde_json::json!([{ "message": text }]);
        Self { text, problems, read: Box::default() }
    }
}

/// Asks the one reload task for a reload and waits for its answer.
#[derive(Debug, Clone)]
pub(crate) struct Reloads(mpsc::Sender<oneshot::Sender<Result<u64, Rejected>>>);

/// Reload requests that wait; further callers wait for room.
const RELOADS_QUEUED_MAX: usize = 16;

/// How long requests to the admin address may still take once everything else has ended.
const ADMIN_GOODBYE: Duration = Duration::from_millis(500);

/// Threads of the control runtime; data never waits for them.
const CONTROL_THREADS: usize = 2;

impl Reloads {
    /// Reads the configuration again.
    ///
    /// # Errors
    ///
    /// [`Rejected`] where it has problems; nothing was changed.
    pub(crate) async fn reload(&self) -> Result<u64, Rejected> {
        let (reply, answer) = oneshot::channel();
        let stopping = || Rejected::because("the gateway is stopping".to_owned());
        self.0.send(reply).await.map_err(|_| stopping())?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }
}

/// Runs the gateway until a signal ends it. `started` is called once it serves.
pub(crate) fn run(source: Arc<dyn Source>, started: impl FnOnce(&Gateway) + Send) -> ExitCode {
    let descriptors = weir_net::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the control runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Before the configuration is read, which may take a while: a signal must not find nobody at home.
    let signals = match runtime.block_on(async { Signals::new() }) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("error: cannot listen for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let shelf = Arc::new(Shelf::default());
    let plan = match source.load(&shelf) {
        Ok(plan) => warned(plan, descriptors),
        Err(rejected) => {
            eprintln!("{}", rejected.text);
            return ExitCode::from(2);
        }
    };
    let logs = Log::new(&plan.log.service_name, plan.log.level, plan.log.format)
        .and_then(|log| AccessLog::new(plan.log.access.clone(), log.clone()).map(|access| (log, access)));
    let (log, access) = match logs {
        Ok(logs) => logs,
        Err(error) => {
            eprintln!("error: cannot open the log: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(live(
        source,
        plan,
        shelf,
        (log.clone(), access.clone()),
        descriptors,
        signals,
        started,
    ));
    access.flush(weir_telemetry::SHUTDOWN_FLUSH_MAX);
    log.flush(weir_telemetry::SHUTDOWN_FLUSH_MAX);
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

/// A plan with what is to be said of this process beside the files.
fn warned(mut plan: RootPlan, descriptors: weir_net::DescriptorLimit) -> RootPlan {
    let more: Vec<String> = descriptor_warnings(descriptors.soft, &plan).collect();
    plan.warnings.extend(more);
    plan
}

async fn live(
    source: Arc<dyn Source>,
    plan: RootPlan,
    shelf: Arc<Shelf>,
    (log, access): (Log, AccessLog),
    descriptors: weir_net::DescriptorLimit,
    mut signals: Signals,
    started: impl FnOnce(&Gateway) + Send,
) -> ExitCode {
    let (sender, mut requests) = mpsc::channel(RELOADS_QUEUED_MAX);
    let reloads = Reloads(sender);
    let files = plan.watch.then(|| (plan.files.clone(), plan.seen.clone()));
    let admin_plan = plan.admin.clone();
    for warning in &plan.warnings {
        log.event(Level::Warn, "start_warning", &[("message", Value::Str(warning))]);
    }
    let gateway = match Gateway::start(plan, shelf, log.clone(), access, descriptors) {
        Ok(gateway) => gateway,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let admin = match crate::admin::start(admin_plan, &gateway, reloads.clone()).await {
        Ok(admin) => admin,
        Err(error) => {
            eprintln!("error: {error}");
            gateway.shut_down(Duration::ZERO).await;
            return ExitCode::FAILURE;
        }
    };
    let mut watch = Watching::new(files, &log);
    let mut certificates = Certificates::new(&gateway.plan(), &log);
    certificates.look(&gateway, true).await;
    log.event(Level::Info, "ready", &[("revision", Value::U64(1)), ("source", Value::Str(&source.name()))]);
    started(&gateway);
    let mut code = ExitCode::SUCCESS;
    loop {
        tokio::select! {
            () = gateway.shared.listener_failed.notified() => {
                code = ExitCode::FAILURE;
                break;
            }
            Some(reply) = requests.recv() => {
                let result = reload(&gateway, &source, &mut watch, &mut certificates).await;
                let _nobody_waits = reply.send(result);
            }
            () = watch.changed() => drop(reload(&gateway, &source, &mut watch, &mut certificates).await),
            () = certificates.due() => certificates.look(&gateway, false).await,
            _ = signals.hang_up.recv() => {
                gateway.access.reopen();
                drop(reload(&gateway, &source, &mut watch, &mut certificates).await);
            }
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    let limit = gateway.live.load().drain_limit();
    let again = async {
        tokio::select! {
            _ = signals.terminate.recv() => {}
            _ = signals.interrupt.recv() => {}
        }
        gateway.drain.stop();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = gateway.shut_down(limit) => {}
        () = again => {}
    }
    if let Some(admin) = admin {
        admin.shut_down(ADMIN_GOODBYE).await;
    }
    code
}

/// Loads, checks and swaps; what goes wrong is logged whole and changes nothing.
async fn reload(
    gateway: &Arc<Gateway>,
    source: &Arc<dyn Source>,
    watch: &mut Watching,
    certificates: &mut Certificates,
) -> Result<u64, Rejected> {
    let (loading, shelf) = (Arc::clone(source), Arc::clone(&gateway.shelf));
    let begun = std::time::Instant::now();
    // Reading files and checking ten thousand routes is work for the blocking pool, not for this task.
    let loaded = tokio::task::spawn_blocking(move || loading.load(&shelf)).await;
    let running = gateway.revision();
    let result = match loaded {
        Ok(Ok(plan)) => {
            watch.set_files(plan.watch.then(|| (plan.files.clone(), plan.seen.clone())));
            let plan = warned(plan, gateway.descriptors);
            let gateway = Arc::clone(gateway);
            let handle = tokio::runtime::Handle::current();
            let swap = tokio::task::spawn_blocking(move || {
                let _on_the_control_runtime = handle.enter();
                gateway.reload(plan)
            });
            swap.await
                .map_err(|error| error.to_string())
                .and_then(|swapped| swapped.map_err(|error| error.to_string()))
                .map_err(Rejected::because)
        }
        Ok(Err(rejected)) => {
            watch.follow_rejected(&rejected);
            Err(rejected)
        }
        Err(panicked) => Err(Rejected::because(panicked.to_string())),
    };
    // Where the configuration was refused too: what it named before may have been renewed.
    certificates.follow(&gateway.plan());
    certificates.look(gateway, true).await;
    gateway.reloads.record(result.is_ok(), std::time::SystemTime::now());
    let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    match &result {
        Ok(revision) => gateway.log.event(
            Level::Info,
            "reloaded",
            &[("revision", Value::U64(*revision)), ("duration_us", Value::U64(took))],
        ),
        Err(rejected) => {
            let message = format!("{}: nothing was changed, revision {running} keeps running", rejected.text);
            gateway.log.event(Level::Error, "reload_rejected", &[("message", Value::Str(&message))]);
        }
    }
    result
}

struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// The watch on the configuration's files; none where it is switched off.
struct Watching {
    watch: Option<Watch>,
    log: Log,
}

impl Watching {
    fn new(files: Option<(Vec<PathBuf>, Seen)>, log: &Log) -> Self {
        let mut watching = Self { watch: None, log: log.clone() };
        watching.set_files(files);
        watching
    }

    /// Watches what was read; a change since then is told at once.
    fn set_files(&mut self, files: Option<(Vec<PathBuf>, Seen)>) {
        match (files, &mut self.watch) {
            (None, watch) => *watch = None,
            (Some((files, seen)), Some(watch)) => watch.set_read(files, seen),
            (Some((files, seen)), watch @ None) => match Watch::start_read(files, seen, self.log.clone()) {
                Ok(started) => *watch = Some(started),
                Err(error) => {
                    let fields = [("error", Value::Str(&error.to_string()))];
                    self.log.event(Level::Warn, "watch_failed", &fields);
                }
            },
        }
    }

    /// Watches what was read in vain, where anything is watched: told is only what changes from here on.
    fn follow_rejected(&self, rejected: &Rejected) {
        if let Some(watch) = self.watch.as_ref().filter(|_| !rejected.read.files.is_empty()) {
            watch.set_read(rejected.read.files.clone(), rejected.read.seen.clone());
        }
    }

    async fn changed(&mut self) {
        match &mut self.watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
    }
}
