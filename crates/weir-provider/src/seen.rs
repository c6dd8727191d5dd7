use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use weir_config::SourceReader;

use crate::FileReader;

/// What files held when they were read: a hash of the bytes by path, or of their absence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen(pub(crate) BTreeMap<PathBuf, u64>);

impl Seen {
    /// By absolute path, whatever the process's folder is later.
    pub(crate) fn insert(&mut self, path: &Path, read: Option<&[u8]>) {
        let mut hasher = DefaultHasher::new();
        read.hash(&mut hasher);
        self.0.insert(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()), hasher.finish());
    }

    pub(crate) fn of(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut seen = Self::default();
        for path in paths {
            let read = FileReader.read(&path).ok();
            seen.insert(&path, read.as_deref());
        }
        seen
    }
}

/// A [`FileReader`] that remembers what it read, for [`Watch::set_read`](crate::Watch::set_read): what changes between
/// the reading and the watching is then not lost.
#[derive(Debug, Default)]
pub struct RecordingReader(Mutex<Seen>);

impl RecordingReader {
    /// What was read so far.
    pub fn into_seen(self) -> Seen {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SourceReader for RecordingReader {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let read = FileReader.read(path);
        let bytes = read.as_ref().ok().map(Vec::as_slice);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path, bytes);
        read
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        FileReader.glob(pattern)
    }

    fn env(&self, name: &str) -> Option<String> {
        FileReader.env(name)
    }
}
