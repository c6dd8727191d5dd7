use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::expand::EXPANSION_BYTES_MAX;
use crate::node::Value;
use crate::parse::{FILE_BYTES_MAX, parse};
use crate::{
    Code, Entry, MemoryReader, Node, Object, Place, Problem, Problems, Shape, Source, SourceName,
    SourceReader, Span,
};

/// Files that include each other at most this deep.
pub const INCLUDE_DEPTH_MAX: usize = 16;
/// Files of one configuration.
pub const FILES_MAX: usize = 4_096;

/// A configuration with all it includes, as one tree.
#[derive(Debug)]
pub struct Document {
    /// The merged top-level mapping, without `include`.
    pub root: Node,
    /// Every file that was read, in order; watch these.
    pub files: Vec<Arc<Source>>,
    /// The patterns of `include` that have wildcards; watch their directories.
    pub patterns: Vec<PathBuf>,
}

/// Reads `root` and what it includes. Maps of named objects merge by name, lists append, all else has one owner.
///
/// Always gives a document, if an empty one: look at `problems` before using it.
pub fn load(root: &Path, table: &'static Object, reader: &dyn SourceReader, problems: &Problems) -> Document {
    let mut loading = Loading {
        table,
        reader,
        problems,
        budget: EXPANSION_BYTES_MAX,
        files: Vec::new(),
        patterns: Vec::new(),
        keys: Vec::new(),
        index: HashMap::new(),
        open: Vec::new(),
    };
    let start = Source::new(SourceName::Text("command line"), "");
    let asked = Place { source: start, span: Span::default() };
    loading.file(root, &asked);
    loading.finish()
}

/// Reads a text that came from elsewhere; it can include nothing but itself. Any bytes will do: a fuzz target.
pub fn load_bytes(name: &str, bytes: &[u8], table: &'static Object, problems: &Problems) -> Document {
    load(Path::new(name), table, &MemoryReader::new().file(name, bytes), problems)
}

struct Loading<'a> {
    table: &'static Object,
    reader: &'a dyn SourceReader,
    problems: &'a Problems,
    budget: usize,
    files: Vec<Arc<Source>>,
    patterns: Vec<PathBuf>,
    keys: Vec<TopKey>,
    index: HashMap<Box<str>, usize>,
    open: Vec<PathBuf>,
}

impl Loading<'_> {
    fn file(&mut self, path: &Path, asked: &Place) {
        let Some(source) = self.read(path, asked) else { return };
        self.files.push(Arc::clone(&source));
        let Some(root) = parse(&source, self.reader, &mut self.budget, self.problems) else { return };
        self.problems.note_tree(&root);
        if root.is_null() {
            return;
        }
        let Some(entries) = root.entries() else {
            let message = format!("a configuration is a mapping of keys, got {}", root.describe());
            self.problems.push(Problem::error(Code::WRONG_TYPE, &root, message));
            return;
        };
        for entry in entries.iter().filter(|entry| entry.name() != "include") {
            self.merge(entry);
        }
        if let Some(include) = root.get("include") {
            self.open.push(path.to_owned());
            self.include(include);
            self.open.pop();
        }
    }

    fn read(&self, path: &Path, asked: &Place) -> Option<Arc<Source>> {
        let shown = path.display();
        let refuse = |code, message: String| {
            self.problems.push(Problem::error(code, asked.clone(), message));
            None
        };
        if self.open.iter().any(|open| open == path) {
            return refuse(Code::INCLUDE_CYCLE, format!("`{shown}` includes itself"));
        }
        if self.open.len() >= INCLUDE_DEPTH_MAX || self.files.len() >= FILES_MAX {
            return refuse(Code::INCLUDE_LIMIT, format!("too many includes on the way to `{shown}`"));
        }
        let bytes = match self.reader.read(path) {
            Ok(bytes) => bytes,
            Err(error) => return refuse(Code::UNREADABLE, format!("`{shown}` cannot be read: {error}")),
        };
        if bytes.len() > FILE_BYTES_MAX {
            return refuse(
                Code::FILE_TOO_LARGE,
                format!("`{shown}` has {} bytes, at most 16MiB", bytes.len()),
            );
        }
        match String::from_utf8(bytes) {
            Ok(text) => {
                let text = text.strip_prefix('\u{feff}').map(Box::from).unwrap_or(text.into_boxed_str());
                Some(Source::new(SourceName::File(path.to_owned()), text))
            }
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                refuse(Code::NOT_UTF8, format!("`{shown}` is not UTF-8: byte {at} is wrong"))
            }
        }
    }

    fn include(&mut self, include: &Node) {
        for item in include.one_or_many() {
            let Some(path) = item.path() else {
                let message = format!("`include` lists files, got {}", item.describe());
                self.problems.push(Problem::error(Code::WRONG_TYPE, item, message));
                continue;
            };
            if !path.to_string_lossy().contains(['*', '?', '[']) {
                self.file(&path, &item.place());
                continue;
            }
            match self.reader.glob(&path) {
                Ok(mut found) => {
                    found.sort();
                    for file in found {
                        self.file(&file, &item.place());
                    }
                }
                Err(error) => {
                    let message = format!("`{}` cannot be read: {error}", path.display());
                    self.problems.push(Problem::error(Code::UNREADABLE, item, message));
                }
            }
            self.patterns.push(path);
        }
    }

    fn merge(&mut self, entry: &Entry) {
        let Some(at) = self.index.get(entry.name()).copied() else {
            self.index.insert(entry.name().into(), self.keys.len());
            self.keys.push(TopKey { entry: entry.clone(), more: None });
            return;
        };
        let shape = self.table.key(entry.name()).map(|key| &key.shape);
        self.keys[at].merge(entry, shape, self.problems);
    }

    fn finish(self) -> Document {
        let empty = || Source::new(SourceName::Text("nothing"), "");
        let source = self.files.first().cloned().unwrap_or_else(empty);
        let span = Span::default();
        let entries = self.keys.into_iter().map(TopKey::finish).collect();
        let root = Node { source, span, value: Value::Map(entries) };
        Document { root, files: self.files, patterns: self.patterns }
    }
}

/// A key of the whole configuration, with what several files say about it.
struct TopKey {
    /// As the first file has it.
    entry: Entry,
    /// All of it, once a second file has added something.
    more: Option<Merged>,
}

enum Merged {
    List(Vec<Node>),
    /// With the place of each name.
    Map(Vec<Entry>, HashMap<Box<str>, usize>),
}

impl TopKey {
    fn merge(&mut self, again: &Entry, shape: Option<&Shape>, problems: &Problems) {
        if self.more.is_none() {
            self.more = match (shape, &self.entry.value.value) {
                (Some(Shape::Map(_)), Value::Map(all)) => {
                    let known = all.iter().enumerate().map(|(at, entry)| (entry.name().into(), at)).collect();
                    Some(Merged::Map(all.to_vec(), known))
                }
                (Some(Shape::List(_)), Value::List(all)) => Some(Merged::List(all.to_vec())),
                _ => None,
            };
        }
        match (&mut self.more, &again.value.value) {
            (Some(Merged::List(all)), Value::List(more)) => all.extend_from_slice(more),
            (Some(Merged::Map(all, known)), Value::Map(more)) => {
                for named in more.iter() {
                    match known.get(named.name()) {
                        Some(first) => twice(problems, &named.key, &all[*first].key),
                        None => {
                            known.insert(named.name().into(), all.len());
                            all.push(named.clone());
                        }
                    }
                }
            }
            _ => twice(problems, &again.key, &self.entry.key),
        }
    }

    fn finish(mut self) -> Entry {
        match self.more {
            Some(Merged::List(all)) => self.entry.value.value = Value::List(all.into()),
            Some(Merged::Map(all, _)) => self.entry.value.value = Value::Map(all.into()),
            None => {}
        }
        self.entry
    }
}

fn twice(problems: &Problems, again: &Node, first: &Node) {
    let message = format!("`{}` is set by two files", again.text().unwrap_or_default());
    let problem = Problem::error(Code::SET_TWICE, again, message)
        .label("again here")
        .also(first, "first defined here")
        .help("each setting and each named object has one owner; remove one of the two");
    problems.push(problem);
}
