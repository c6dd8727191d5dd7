use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use weir_config::SourceReader as _;
use weir_telemetry::{Level, Log, Value};

use crate::FileReader;

/// A change is told when nothing more has happened for so long.
pub const QUIET: Duration = Duration::from_millis(100);

/// A change is told after so long at the latest, however much goes on.
pub const QUIET_MAX: Duration = Duration::from_secs(1);

/// How often files are read where the kernel's watches are used up.
const POLL_PAUSE: Duration = Duration::from_secs(2);

/// Says when any of a set of files has other bytes than before.
#[derive(Debug)]
pub struct Watch {
    paths: Arc<Mutex<BTreeSet<PathBuf>>>,
    changed: Arc<Notify>,
    wake: Sender<Signal>,
}

#[derive(Debug)]
enum Signal {
    Touched,
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
        let (wake, signals) = channel();
        let paths = Arc::new(Mutex::new(paths.into_iter().collect()));
        let changed = Arc::new(Notify::new());
        let touched = wake.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reading is an access too.
            if !matches!(&event, Ok(event) if event.kind.is_access()) {
                let _ = touched.send(Signal::Touched);
            }
        });
        let mut work = Work {
            paths: Arc::clone(&paths),
            changed: Arc::clone(&changed),
            watcher: None,
            polls: false,
            revision: 0,
            log,
        };
        match watcher {
            Ok(watcher) => work.watcher = Some((watcher, BTreeSet::new())),
            Err(error) => work.poll_instead(&error),
        }
        // Before this returns, so that a change right after it is seen.
        work.watch_folders();
        work.revision = work.read_revision();
        thread::Builder::new().name("weir-watch".to_owned()).spawn(move || work.run(&signals))?;
        Ok(Self { paths, changed, wake })
    }

    /// Watches these instead, because the includes changed; that alone is no change.
    pub fn set_paths(&self, paths: impl IntoIterator<Item = PathBuf>) {
        *self.paths.lock().unwrap_or_else(PoisonError::into_inner) = paths.into_iter().collect();
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
    paths: Arc<Mutex<BTreeSet<PathBuf>>>,
    changed: Arc<Notify>,
    watcher: Option<(RecommendedWatcher, BTreeSet<PathBuf>)>,
    polls: bool,
    /// Hash over names and bytes of all files.
    revision: u64,
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
            if matches!(signal, Signal::Stop) {
                return;
            }
            // A link may lead elsewhere now.
            self.watch_folders();
            let revision = self.read_revision();
            let differs = std::mem::replace(&mut self.revision, revision) != revision;
            if differs && !matches!(signal, Signal::NewPaths) {
                self.changed.notify_one();
            }
        }
    }

    fn read_revision(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for path in self.files() {
            path.hash(&mut hasher);
            FileReader.read(&path).ok().hash(&mut hasher);
        }
        hasher.finish()
    }

    fn files(&self) -> BTreeSet<PathBuf> {
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let expand = |path: PathBuf| {
            let is_pattern = path.to_string_lossy().contains(['*', '?', '[']);
            if is_pattern { FileReader.glob(&path).unwrap_or_default() } else { vec![path] }
        };
        paths.into_iter().flat_map(expand).collect()
    }

    /// The folders of the paths as written, and those of the files that links lead to.
    fn watch_folders(&mut self) {
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut wanted = BTreeSet::new();
        for path in paths.into_iter().chain(self.files()) {
            wanted.extend(path.canonicalize().ok().as_deref().and_then(Path::parent).map(Path::to_owned));
            wanted.extend(
                path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p }.to_owned()),
            );
        }
        let Some((watcher, watched)) = &mut self.watcher else { return };
        for gone in watched.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        let mut failed = None;
        for new in wanted.difference(watched) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                failed = Some(error);
            }
        }
        *watched = wanted;
        match failed {
            Some(error) if !self.polls => self.poll_instead(&error),
            _ => {}
        }
    }

    fn poll_instead(&mut self, error: &notify::Error) {
        self.polls = true;
        self.log.event(
            Level::Warn,
            "watch_falls_back_to_polling",
            &[("error", Value::Str(&error.to_string()))],
        );
    }
}

/// Waits until nothing happens any more; a request to stop or for other paths ends it.
fn settle(signals: &Receiver<Signal>) -> Signal {
    let until = Instant::now() + QUIET_MAX;
    loop {
        match signals.recv_timeout(QUIET.min(until.saturating_duration_since(Instant::now()))) {
            Ok(Signal::Touched) if Instant::now() < until => {}
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return Signal::Stop,
            // What was touched before must still be told.
            Ok(_) | Err(RecvTimeoutError::Timeout) => return Signal::Touched,
        }
    }
}

#[cfg(test)]
mod tests;
