use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// How the language reaches files and the environment.
pub trait SourceReader {
    /// The bytes of a file; readers should stop soon after [`crate::FILE_BYTES_MAX`].
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The files that match a pattern with `*`, `?` or `[…]` in it. Any order; none is no error.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>>;

    /// An environment variable; `None` when it is not set.
    fn env(&self, name: &str) -> Option<String>;
}

/// Files and variables held in memory, for tests and for configuration made by the program.
#[derive(Debug, Clone, Default)]
pub struct MemoryReader {
    files: BTreeMap<PathBuf, Vec<u8>>,
    variables: BTreeMap<String, String>,
}

impl MemoryReader {
    /// Nothing at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more file.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), bytes.into());
        self
    }

    /// With one more variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl SourceReader for MemoryReader {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Knows `*` and `?` within one path segment.
    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let pattern = pattern.to_string_lossy();
        let matches = |path: &&PathBuf| wildcard(pattern.as_bytes(), path.to_string_lossy().as_bytes());
        Ok(self.files.keys().filter(matches).cloned().collect())
    }

    fn env(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            wildcard(rest, text) || matches!(text, [c, more @ ..] if *c != b'/' && wildcard(pattern, more))
        }
        ([b'?', rest @ ..], [c, more @ ..]) => *c != b'/' && wildcard(rest, more),
        ([a, rest @ ..], [b, more @ ..]) => a == b && wildcard(rest, more),
        _ => false,
    }
}
