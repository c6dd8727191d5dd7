mod folders;
mod state;

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use weir_telemetry::{Level, Log, Value};

use crate::Seen;
use folders::Folders;
use state::State;

/// A change is told when nothing more has happened for so long.
pub const QUIET: Duration = Duration::from_millis(100);

/// A change is told after so long at the latest, however much goes on.
pub const QUIET_MAX: Duration = Duration::from_secs(1);

/// How often files are read where the kernel's watches are used up.
const POLL_PAUSE: Duration = Duration::from_secs(2);

/// Says when any of a set of files has other bytes than before.
#[derive(Debug)]
pub struct Watch {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    wake: Sender<Signal>,
}

#[derive(Debug, PartialEq, Eq)]
enum Signal {
    /// Something happened where the files are.
    Touched,
    /// Other files are watched from now on.
    NewPaths,
    Stop,
}

impl Watch {
    /// Watches `paths`: files, and patterns with `*`, `?` or `[…]` in their last part.
    ///
    /// # Errors
    ///
    /// When the watching thread cannot be started. Where the kernel has no watch left, files are read every two
    /// seconds instead and `log` is told.
    pub fn start(paths: impl IntoIterator<Item = PathBuf>, log: Log) -> io::Result<Self> {
        Self::begin(State::new(paths.into_iter().collect(), Seen::default()), log)
    }

    /// Like [`Watch::start`]; what changed after it was read as `seen` is told.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn start_read(paths: impl IntoIterator<Item = PathBuf>, seen: Seen, log: Log) -> io::Result<Self> {
        Self::begin(State::new(paths.into_iter().collect(), seen), log)
    }

    /// Watches folders for whatever happens in them, without reading: who is told looks for what changed. `paths` are
    /// files, and folders written as `FOLDER/*`. Told once at the beginning too.
    ///
    /// # Errors
    ///
    /// As [`Watch::start`].
    pub fn start_touches(paths: impl IntoIterator<Item = PathBuf>, log: Log) -> io::Result<Self> {
        Self::begin(State::of_touches(paths.into_iter().collect()), log)
    }

    fn begin(state: State, log: Log) -> io::Result<Self> {
        let (wake, signals) = channel();
        let state = Arc::new(Mutex::new(state));
        let changed = Arc::new(Notify::new());
        let (touched, known) = (wake.clone(), Arc::clone(&state));
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if folders::is_telling(&event, &known.lock().unwrap_or_else(PoisonError::into_inner)) {
                let _ = touched.send(Signal::Touched);
            }
        });
        let mut work = Work {
            state: Arc::clone(&state),
            changed: Arc::clone(&changed),
            folders: None,
            polls: false,
            log,
        };
        match watcher {
            Ok(watcher) => work.folders = Some(Folders::new(watcher)),
            Err(error) => work.poll_instead(&error),
        }
        // Before this returns, so that a change right after it is seen.
        if work.look(true) {
            changed.notify_one();
        }
        thread::Builder::new().name("weir-watch".to_owned()).spawn(move || work.run(&signals))?;
        Ok(Self { state, changed, wake })
    }

    /// Watches these instead, because the includes changed. A file that was watched before and has changed since it
    /// was last looked at is told; one that is new here is taken as it is found.
    pub fn set_paths(&self, paths: impl IntoIterator<Item = PathBuf>) {
        self.set_read(paths, Seen::default());
    }

    /// Like [`Watch::set_paths`], with what a [`RecordingReader`](crate::RecordingReader) read of them: exactly what
    /// has changed since that reading is told, and nothing else.
    pub fn set_read(&self, paths: impl IntoIterator<Item = PathBuf>, seen: Seen) {
        let paths = paths.into_iter().collect();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).replace(paths, seen);
        let _ = self.wake.send(Signal::NewPaths);
    }

    /// Waits for the next change; one that came while nobody waited is told at once.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.wake.send(Signal::Stop);
    }
}

struct Work {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    /// None where the kernel gives no watches at all.
    folders: Option<Folders>,
    polls: bool,
    log: Log,
}

impl Work {
    fn run(mut self, signals: &Receiver<Signal>) {
        loop {
            let pause = if self.polls { POLL_PAUSE } else { Duration::MAX };
            let signal = match signals.recv_timeout(pause) {
                Ok(Signal::Touched) => settle(signals),
                Ok(signal) => signal,
                Err(RecvTimeoutError::Timeout) => Signal::Touched,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if signal == Signal::Stop {
                return;
            }
            if self.look(signal == Signal::Touched) {
                self.changed.notify_one();
            }
        }
    }

    /// Whether there is something to tell. The folders come first: what changes after them wakes us again.
    fn look(&mut self, is_touched: bool) -> bool {
        let (folders, generation, reads) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            (state.find_folders(), state.generation(), state.reads())
        };
        let failed = self.folders.as_mut().and_then(|watched| watched.watch(&folders));
        if let Some(error) = failed.filter(|_| !self.polls) {
            self.poll_instead(&error);
        }
        if !reads {
            return is_touched;
        }
        let files = self.state.lock().unwrap_or_else(PoisonError::into_inner).files();
        // Read without the lock: a slow disk must not hold whoever sets other paths.
        let now = Seen::of(files);
        self.state.lock().unwrap_or_else(PoisonError::into_inner).compare(now, generation)
    }

    fn poll_instead(&mut self, error: &notify::Error) {
        self.polls = true;
        let fields = [("error", Value::Str(&error.to_string()))];
        self.log.event(Level::Warn, "watch_falls_back_to_polling", &fields);
    }
}

/// Waits until nothing happens any more; a request to stop or for other paths ends it.
fn settle(signals: &Receiver<Signal>) -> Signal {
    let until = Instant::now() + QUIET_MAX;
    loop {
        match signals.recv_timeout(QUIET.min(until.saturating_duration_since(Instant::now()))) {
            Ok(Signal::Touched) if Instant::now() < until => {}
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return Signal::Stop,
            Ok(_) | Err(RecvTimeoutError::Timeout) => return Signal::Touched,
        }
    }
}

#[cfg(test)]
mod tests;
