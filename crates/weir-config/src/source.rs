use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Where a text came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SourceName {
    /// A file, by the path that was opened.
    File(PathBuf),
    /// A key of a store such as etcd or Consul, with the store's revision.
    Store {
        /// The store's name, `consul`.
        store: String,
        /// The key's full name.
        key: String,
        /// The revision that was read.
        revision: u64,
    },
    /// Text from the program itself: the command line, a demonstration, a test.
    Text(&'static str),
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Store { store, key, revision } => write!(f, "{store}: {key}, revision {revision}"),
            Self::Text(name) => f.write_str(name),
        }
    }
}

/// Bytes from `start` to before `end` of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    /// The span as indices.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Whether `other` lies within this span.
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// One text that was read, with its name; shared by all its nodes.
pub struct Source {
    name: Arc<SourceName>,
    text: Box<str>,
    line_starts: OnceLock<Box<[u32]>>,
    secrets: Mutex<Vec<Span>>,
}

/// The name alone: the text may hold secrets.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.name).finish()
    }
}

impl Source {
    /// A source of `text`; at most 4 GiB, which [`crate::FILE_BYTES_MAX`] keeps.
    pub fn new(name: SourceName, text: impl Into<Box<str>>) -> Arc<Self> {
        let (line_starts, secrets) = (OnceLock::new(), Mutex::new(Vec::new()));
        Arc::new(Self { name: Arc::new(name), text: text.into(), line_starts, secrets })
    }

    /// Where the text came from.
    pub fn name(&self) -> &SourceName {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The directory that relative paths are resolved against; empty for what is no file.
    pub fn directory(&self) -> &Path {
        match &*self.name {
            SourceName::File(path) => path.parent().unwrap_or(Path::new("")),
            _ => Path::new(""),
        }
    }

    /// Line and column of a byte, both from 1; the column counts characters.
    pub fn line_column(&self, byte: u32) -> (usize, usize) {
        let starts = self.line_starts();
        let line = starts.partition_point(|start| *start <= byte).max(1);
        let start = starts[line - 1] as usize;
        let end = (byte as usize).min(self.text.len());
        (line, self.text.get(start..end).map_or(0, |head| head.chars().count()) + 1)
    }

    /// The bytes of line `line` (from 1) without its line break.
    pub(crate) fn line_range(&self, line: usize) -> Range<usize> {
        let starts = self.line_starts();
        let start = starts[line - 1] as usize;
        let end = starts.get(line).map_or(self.text.len(), |next| *next as usize - 1);
        start..end.max(start)
    }

    /// Hides `span` in everything that is rendered from this source.
    pub(crate) fn veil(&self, span: Span) {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).push(span);
    }

    /// A piece of the text with its secrets starred out, byte for byte.
    pub(crate) fn veiled(&self, range: Range<usize>) -> String {
        let mut piece = self.text[range.clone()].as_bytes().to_vec();
        for secret in &*self.secrets.lock().unwrap_or_else(PoisonError::into_inner) {
            let from = (secret.start as usize).clamp(range.start, range.end);
            let to = (secret.end as usize).clamp(from, range.end);
            piece[from - range.start..to - range.start].fill(b'*');
        }
        veil_by_name(&mut piece);
        String::from_utf8_lossy(&piece).into_owned()
    }

    fn line_starts(&self) -> &[u32] {
        self.line_starts.get_or_init(|| {
            let breaks = self.text.match_indices('\n');
            std::iter::once(0).chain(breaks.map(|(at, _)| at as u32 + 1)).collect()
        })
    }
}

/// Stars out what stands behind a key that sounds secret: a misspelt or repeated key is never opened, and its line
/// may be shown all the same.
fn veil_by_name(line: &mut [u8]) {
    let lower = line.to_ascii_lowercase();
    for word in ["token", "secret", "password"] {
        let ends = (0..lower.len()).filter(|at| lower[*at..].starts_with(word.as_bytes()));
        for end in ends.map(|at| at + word.len()) {
            let Some(colon) = lower[end..].iter().take(3).position(|byte| *byte == b':') else { continue };
            let value = end + colon + 1;
            let Some(start) = lower[value..].iter().position(|byte| *byte != b' ') else { continue };
            let start = value + start;
            if matches!(lower[start], b'{' | b'[' | b'&' | b'*') {
                continue;
            }
            let stop = lower[start..].windows(2).position(|pair| matches!(pair, b", " | b" }" | b" #"));
            let stop = stop.map_or(lower.len(), |at| start + at);
            line[start..stop].fill(b'*');
        }
    }
}

/// A span of a source: where something is written.
#[derive(Debug, Clone)]
pub struct Place {
    /// The text.
    pub source: Arc<Source>,
    /// The bytes in it.
    pub span: Span,
}

impl Place {
    /// Line and column of the first byte, from 1.
    pub fn line_column(&self) -> (usize, usize) {
        self.source.line_column(self.span.start)
    }

    /// The same place without the text.
    pub fn position(&self) -> Position {
        let (line, column) = self.line_column();
        Position { name: Arc::clone(&self.source.name), line: line as u32, column: column as u32 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.position().fmt(f)
    }
}

/// Where something was written, for people: it holds no text, so that it may outlive the reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    name: Arc<SourceName>,
    line: u32,
    column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.name {
            SourceName::Store { .. } => write!(f, "{}, line {}", self.name, self.line),
            name => write!(f, "{name}:{}:{}", self.line, self.column),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        let source = Source::new(SourceName::Text("t"), "a: é1\nb: 2\n");
        assert_eq!(source.line_column(0), (1, 1));
        assert_eq!(source.line_column(5), (1, 5));
        assert_eq!(source.line_column(10), (2, 4));
        assert_eq!(&source.text()[source.line_range(2)], "b: 2");
    }

    #[test]
    fn a_store_is_named_with_its_revision() {
        let name = SourceName::Store { store: "consul".into(), key: "weir/routes/shop".into(), revision: 7 };
        let place = Place { source: Source::new(name, "a\nb"), span: Span { start: 2, end: 3 } };
        assert_eq!(place.to_string(), "consul: weir/routes/shop, revision 7, line 2");
    }
}
