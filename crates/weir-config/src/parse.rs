use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span as Marks, Tag};

use crate::expand::expand;
use crate::input::TextInput;
use crate::node::{Scalar, Value};
use crate::{Code, Entry, Node, Place, Problem, Problems, Source, SourceReader, Span};

/// Largest configuration file: 16 MiB, about eighty thousand routes.
pub const FILE_BYTES_MAX: usize = 16 << 20;
/// Lists and mappings in each other, aliases included.
pub const DEPTH_MAX: usize = 64;
/// Nodes of one file, an alias counted as often as it is used.
pub const NODES_MAX: usize = 1_000_000;
/// Nodes that aliases may add to a file of `n` nodes: this, and ten times `n`. Real files stay far below.
const ALIAS_NODES_FREE: usize = 10_000;

/// Reads the one document of `source`. `None`: empty, or not readable at all; the problems say which.
pub(crate) fn parse(
    source: &Arc<Source>,
    reader: &dyn SourceReader,
    budget: &mut usize,
    problems: &Problems,
) -> Option<Node> {
    let offsets = Offsets::of(source.text());
    let anchors = HashMap::new();
    let builder = Builder {
        source,
        reader,
        problems,
        budget,
        offsets,
        anchors,
        stack: Vec::new(),
        items: Vec::new(),
        entries: Vec::new(),
        root: None,
        own: 0,
        aliased: 0,
    };
    builder.run()
}

/// Turns the parser's character indices into bytes.
struct Offsets(Option<Vec<u32>>);

impl Offsets {
    fn of(text: &str) -> Self {
        let table = || text.char_indices().map(|(byte, _)| byte as u32).chain([text.len() as u32]).collect();
        Self((!text.is_ascii()).then(table))
    }

    fn byte(&self, index: usize, len: usize) -> u32 {
        match &self.0 {
            None => index.min(len) as u32,
            Some(table) => table.get(index).copied().unwrap_or(len as u32),
        }
    }
}

/// A node with what an alias to it would cost.
#[derive(Clone)]
struct Built {
    node: Node,
    nodes: usize,
    height: usize,
}

/// A collection that is open; its children so far are the builder's from `first` on.
enum Children {
    List { first: usize },
    Map { first: usize, key: Option<Node>, merges: Vec<Node> },
}

struct Frame {
    anchor: usize,
    span: Span,
    children: Children,
    nodes: usize,
    height: usize,
}

struct Builder<'a> {
    source: &'a Arc<Source>,
    reader: &'a dyn SourceReader,
    problems: &'a Problems,
    budget: &'a mut usize,
    offsets: Offsets,
    anchors: HashMap<usize, Built>,
    stack: Vec<Frame>,
    /// Items of the open lists, the innermost last: each list is allocated once, when its length is known.
    items: Vec<Node>,
    /// Entries of the open mappings, likewise.
    entries: Vec<Entry>,
    root: Option<Node>,
    own: usize,
    aliased: usize,
}

impl Builder<'_> {
    fn run(mut self) -> Option<Node> {
        let source = Arc::clone(self.source);
        let mut parser = Parser::new(TextInput::new(source.text()));
        let mut documents = 0;
        while let Some(event) = parser.next_event() {
            let step = match event {
                Err(error) => Err(self.syntax(&error)),
                Ok((Event::DocumentStart(_), marks)) => {
                    documents += 1;
                    if documents > 1 { Err(self.second_document(marks)) } else { Ok(()) }
                }
                Ok((Event::StreamEnd, _)) => break,
                Ok((event, marks)) => self.event(event, marks),
            };
            if let Err(problem) = step {
                // One fault of the text hides the rest of this file; others are still read.
                self.problems.push(*problem);
                return None;
            }
        }
        self.root
    }

    fn event(&mut self, event: Event<'_>, marks: Marks) -> Result<(), Box<Problem>> {
        let span = self.span(marks);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.tag(tag.as_deref(), span)?;
                self.count(span)?;
                let node = self.scalar(&text, style, span);
                self.add(Built { node, nodes: 1, height: 0 }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.tag(tag.as_deref(), span)?;
                self.open(anchor, span, Children::List { first: self.items.len() })
            }
            Event::MappingStart(anchor, tag) => {
                self.tag(tag.as_deref(), span)?;
                let first = self.entries.len();
                self.open(anchor, span, Children::Map { first, key: None, merges: Vec::new() })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(anchor) => self.alias(anchor, span),
            _ => Ok(()),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) -> Node {
        let mut scalar = Scalar::new(text, style == ScalarStyle::Plain, span, self.source);
        let is_key =
            matches!(self.stack.last(), Some(Frame { children: Children::Map { key: None, .. }, .. }));
        if !is_key {
            match expand(text, self.reader, self.budget) {
                Ok(None) => {}
                Ok(Some(text)) => scalar = scalar.expanded(text),
                Err(fault) => {
                    let place = Place { source: Arc::clone(self.source), span };
                    self.problems.push(Problem::error(fault.code, place, fault.message).help(fault.help));
                }
            }
        }
        self.node(span, Value::Scalar(scalar))
    }

    fn open(&mut self, anchor: usize, span: Span, children: Children) -> Result<(), Box<Problem>> {
        self.count(span)?;
        if self.stack.len() >= DEPTH_MAX {
            return Err(self.too_deep(span));
        }
        self.stack.push(Frame { anchor, span, children, nodes: 1, height: 1 });
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), Box<Problem>> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let Frame { anchor, mut span, children, mut nodes, height } = frame;
        // A flow collection ends at its bracket, a block collection with its last child.
        let bracket = self.source.text().as_bytes().get(span.start as usize);
        span.end = if matches!(bracket, Some(b'[' | b'{')) && span.end > span.start {
            end.end
        } else {
            self.last_end(&children).unwrap_or(span.end)
        };
        let value = match children {
            Children::List { first } => Value::List(self.items.drain(first..).collect()),
            Children::Map { first, merges, .. } => {
                self.repeated(first);
                if !merges.is_empty() {
                    nodes += self.merge(first, &merges)?;
                }
                Value::Map(self.entries.drain(first..).collect())
            }
        };
        let node = self.node(span, value);
        self.add(Built { node, nodes, height }, anchor)
    }

    /// The end of the last child that this very file holds; an alias's value lies elsewhere.
    fn last_end(&self, children: &Children) -> Option<u32> {
        let own = |node: &Node| Arc::ptr_eq(&node.source, self.source).then_some(node.span.end);
        match children {
            Children::List { first } => self.items[*first..].last().and_then(own),
            Children::Map { first, .. } => {
                self.entries[*first..].last().and_then(|entry| own(&entry.value).max(own(&entry.key)))
            }
        }
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Box<Problem>> {
        let Some(built) = self.anchors.get(&anchor).cloned() else {
            let message = "this alias stands inside the value it names".to_owned();
            return Err(self.problem(Code::SYNTAX, span, message));
        };
        self.expand_by(built.nodes, span)?;
        if self.stack.len() + built.height > DEPTH_MAX {
            return Err(self.too_deep(span));
        }
        self.add(built, 0)
    }

    /// Puts a finished node where it belongs and remembers it under its anchor.
    fn add(&mut self, built: Built, anchor: usize) -> Result<(), Box<Problem>> {
        if anchor != 0 {
            self.anchors.insert(anchor, built.clone());
        }
        let Built { node, nodes, height } = built;
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.nodes += nodes;
        frame.height = frame.height.max(height + 1);
        match &mut frame.children {
            Children::List { .. } => self.items.push(node),
            Children::Map { key, merges, .. } => match key.take() {
                Some(key) if key.plain() == Some("<<") => merges.push(node),
                Some(key) => self.entries.push(Entry { key, value: node }),
                None if matches!(node.value, Value::Scalar(_)) => *key = Some(node),
                None => {
                    let message = "a key must be a text, not a list or a mapping".to_owned();
                    return Err(self.problem(Code::BAD_KEY, node.span, message));
                }
            },
        }
        Ok(())
    }

    /// Reports keys that are there twice in the mapping from `first` on, and keeps the first of each.
    fn repeated(&mut self, first: usize) {
        let entries = &self.entries[first..];
        let again = if entries.len() <= COMPARED_MAX { again_few(entries) } else { again_many(entries) };
        for &(at, earlier) in &again {
            let (entry, earlier) = (&entries[at], &entries[earlier].key);
            let message = format!("the key `{}` is there twice", entry.name());
            let problem = Problem::error(Code::REPEATED_KEY, &entry.key, message);
            self.problems.push(problem.label("again here").also(earlier, "first defined here"));
        }
        if !again.is_empty() {
            let mut again = again.iter().map(|(at, _)| first + at).peekable();
            let mut at = 0;
            self.entries.retain(|_| {
                at += 1;
                again.next_if_eq(&(at - 1)).is_none()
            });
        }
    }

    /// Adds the keys of merge keys' values that the mapping from `first` on has not yet; says how many nodes that added.
    fn merge(&mut self, first: usize, merges: &[Node]) -> Result<usize, Box<Problem>> {
        let mut added = 0;
        let mut there: HashSet<Box<str>> =
            self.entries[first..].iter().map(|entry| entry.name().into()).collect();
        for map in merges.iter().flat_map(Node::one_or_many) {
            let Some(more) = map.entries() else {
                let message = format!("`<<` merges mappings, got {}", map.describe());
                return Err(Box::new(Problem::error(Code::BAD_MERGE, map, message)));
            };
            for entry in more.iter().filter(|entry| there.insert(entry.name().into())) {
                // The alias was counted where it stands; what is copied out of it counts once more.
                let nodes = size(&entry.value);
                self.expand_by(nodes, map.span)?;
                added += nodes;
                self.entries.push(entry.clone());
            }
        }
        Ok(added)
    }

    fn expand_by(&mut self, nodes: usize, span: Span) -> Result<(), Box<Problem>> {
        self.aliased = self.aliased.saturating_add(nodes);
        let allowed = (ALIAS_NODES_FREE + 10 * self.own).min(NODES_MAX.saturating_sub(self.own));
        if self.aliased > allowed {
            let message = "aliases and merge keys multiply this file too far".to_owned();
            return Err(self.problem(Code::TOO_LARGE, span, message));
        }
        Ok(())
    }

    fn count(&mut self, span: Span) -> Result<(), Box<Problem>> {
        self.own += 1;
        if self.own > NODES_MAX {
            let message = format!("a file has at most {NODES_MAX} values");
            return Err(self.problem(Code::TOO_LARGE, span, message));
        }
        Ok(())
    }

    fn tag(&self, tag: Option<&Tag>, span: Span) -> Result<(), Box<Problem>> {
        match tag {
            Some(tag) if !(tag.handle.is_empty() && tag.suffix == "!") => {
                Err(self.problem(Code::BAD_TAG, span, "tags have no meaning here".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn span(&self, marks: Marks) -> Span {
        let len = self.source.text().len();
        let start = self.offsets.byte(marks.start.index(), len);
        let end = self.offsets.byte(marks.end.index(), len).max(start);
        let text = &self.source.text()[start as usize..end as usize];
        match text.as_bytes().last() {
            Some(byte) if byte.is_ascii_graphic() => Span { start, end },
            _ => Span { start, end: start + text.trim_end().len() as u32 },
        }
    }

    fn node(&self, span: Span, value: Value) -> Node {
        Node { source: Arc::clone(self.source), span, value }
    }

    fn too_deep(&self, span: Span) -> Box<Problem> {
        self.problem(Code::TOO_DEEP, span, format!("nested more than {DEPTH_MAX} levels deep"))
    }

    fn second_document(&self, marks: Marks) -> Box<Problem> {
        let message = "a second YAML document starts here".to_owned();
        self.problem(Code::SECOND_DOCUMENT, self.span(marks), message)
    }

    fn syntax(&self, error: &ScanError) -> Box<Problem> {
        let len = self.source.text().len();
        let at = self.offsets.byte(error.marker().index(), len);
        self.problem(Code::SYNTAX, Span { start: at, end: at }, format!("this is not YAML: {}", error.info()))
    }

    fn problem(&self, code: Code, span: Span, message: String) -> Box<Problem> {
        Box::new(Problem::error(code, Place { source: Arc::clone(self.source), span }, message))
    }
}

/// Entries of a mapping that are compared each with each; for so few that is cheaper than a table.
const COMPARED_MAX: usize = 16;

/// The places of keys that an earlier entry has, each with the place of the first one.
fn again_few(entries: &[Entry]) -> Vec<(usize, usize)> {
    let first = |(at, entry): (usize, &Entry)| {
        let name = entry.name();
        entries[..at].iter().position(|earlier| earlier.name() == name).map(|earlier| (at, earlier))
    };
    entries.iter().enumerate().filter_map(first).collect()
}

/// The same for many.
fn again_many(entries: &[Entry]) -> Vec<(usize, usize)> {
    let mut first: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
    let mut again = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let earlier = *first.entry(entry.name()).or_insert(at);
        if earlier != at {
            again.push((at, earlier));
        }
    }
    again
}

/// Nodes in a tree; at most [`NODES_MAX`], which the alias that brought it was checked for.
fn size(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 1,
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|entry| 1 + size(&entry.value)).sum::<usize>(),
    }
}
