use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::state::State;

/// The kernel's watches: on the folders of the files, and on the ones above, which tell when a folder is made anew.
pub(super) struct Folders {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    pub(super) fn new(watcher: RecommendedWatcher) -> Self {
        Self { watcher, watched: BTreeSet::new() }
    }

    /// Watches these folders and no others; answers with the last failure that is more than a missing folder.
    pub(super) fn watch(&mut self, folders: &BTreeSet<PathBuf>) -> Option<notify::Error> {
        let wanted: BTreeSet<PathBuf> =
            folders.iter().flat_map(|folder| with_nearest_above(folder)).collect();
        for gone in self.watched.difference(&wanted) {
            // The kernel may have dropped it with the folder.
            let _ = self.watcher.unwatch(gone);
        }
        let mut failed = None;
        for folder in &wanted {
            // Those that are watched too: where the folder was made anew, the watch is still on the old one, and
            // otherwise it costs a system call.
            match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                // Gone since we looked: the folder above tells when it is back.
                Err(error) if matches!(error.kind, ErrorKind::PathNotFound) || !folder.exists() => {}
                Err(error) => failed = Some(error),
            }
        }
        self.watched = wanted;
        failed
    }
}

/// A folder, if it is there, and the nearest one above that is.
fn with_nearest_above(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let own = folder.is_dir().then(|| folder.to_owned());
    let above = folder.ancestors().skip(1).find(|above| above.is_dir()).map(Path::to_owned);
    own.into_iter().chain(above)
}

/// Whether an event may mean that a file has changed.
pub(super) fn is_telling(event: &notify::Result<notify::Event>, state: &State) -> bool {
    let Ok(event) = event else { return true };
    if event.need_rescan() {
        return true;
    }
    // Our own reading is an access too.
    !event.kind.is_access() && event.paths.iter().any(|path| state.concerns(path))
}
