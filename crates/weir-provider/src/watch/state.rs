use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use weir_config::SourceReader as _;

use crate::{FileReader, Seen};

/// Which files are watched and what they last held.
#[derive(Debug)]
pub(super) struct State {
    /// As written: files and patterns.
    paths: BTreeSet<PathBuf>,
    /// What they held when that was last compared or told.
    known: Seen,
    /// What a loader read of them and nobody has compared yet.
    read: Option<Seen>,
    /// What was last told; the same is not told twice.
    told: Option<Seen>,
    /// Goes up when the paths change.
    generation: u64,
    /// The folders of the files, links followed.
    folders: BTreeSet<PathBuf>,
    /// Whether the bytes decide; else whatever happens in the folders does.
    reads: bool,
}

impl State {
    pub(super) fn new(paths: BTreeSet<PathBuf>, seen: Seen) -> Self {
        let mut state = Self {
            paths: BTreeSet::new(),
            known: Seen::default(),
            read: None,
            told: None,
            generation: 0,
            folders: BTreeSet::new(),
            reads: true,
        };
        state.replace(paths, seen);
        state
    }

    pub(super) fn of_touches(paths: BTreeSet<PathBuf>) -> Self {
        Self { reads: false, ..Self::new(paths, Seen::default()) }
    }

    pub(super) fn reads(&self) -> bool {
        self.reads
    }

    /// Watches `paths` from now on, and whatever else was read with them: secrets stand in files of their own.
    pub(super) fn replace(&mut self, paths: BTreeSet<PathBuf>, seen: Seen) {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        self.paths = paths.into_iter().map(absolute).chain(seen.0.keys().cloned()).collect();
        self.generation += 1;
        self.read = Some(seen);
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The files that there are, patterns expanded, and those that are named but missing.
    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        let expand = |path: &PathBuf| {
            if is_pattern(path) { FileReader.glob(path).unwrap_or_default() } else { vec![path.clone()] }
        };
        self.paths.iter().flat_map(expand).collect()
    }

    pub(super) fn find_folders(&mut self) -> BTreeSet<PathBuf> {
        let mut folders = BTreeSet::new();
        // Ten thousand files of a folder need not be looked at one by one, but for those that are elsewhere.
        let files = if self.reads { self.files() } else { self.links() };
        for path in self.paths.iter().cloned().chain(files) {
            folders.extend(path.canonicalize().ok().as_deref().and_then(Path::parent).map(Path::to_owned));
            folders.extend(path.parent().map(Path::to_owned));
        }
        self.folders.clone_from(&folders);
        folders
    }

    /// The links in the folders of patterns.
    fn links(&self) -> BTreeSet<PathBuf> {
        let folders = self.paths.iter().filter(|path| is_pattern(path)).filter_map(|path| path.parent());
        let entries = folders.filter_map(|folder| folder.read_dir().ok()).flatten().filter_map(Result::ok);
        let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
        links.map(|entry| entry.path()).collect()
    }

    /// Whether what happens to `path` may concern the files: it lies in one of their folders, or is one or is above.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        self.folders.iter().any(|folder| path.parent() == Some(folder) || folder.starts_with(path))
    }

    /// Takes what the files hold now, read for the paths of that generation, and says whether it is to be told.
    pub(super) fn compare(&mut self, now: Seen, generation: u64) -> bool {
        if generation != self.generation {
            // Other paths were set in the meantime; their own signal is on its way.
            return false;
        }
        let differs = match self.read.take() {
            // Exactly what the loader read, where it said so; a file that it did not see is new under its pattern.
            Some(read) if !read.0.is_empty() => read != now,
            Some(_) => retained(&self.known.0, &now.0),
            None => self.known != now,
        };
        self.known = now;
        let is_news = self.told.as_ref() != Some(&self.known);
        if is_news {
            self.told = differs.then(|| self.known.clone());
        }
        differs && is_news
    }
}

/// Whether a file that both know differs.
fn retained(before: &BTreeMap<PathBuf, u64>, now: &BTreeMap<PathBuf, u64>) -> bool {
    before.iter().any(|(path, hash)| now.get(path).is_some_and(|new| new != hash))
}

fn is_pattern(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains(['*', '?', '[']))
}
