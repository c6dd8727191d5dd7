use std::cell::RefCell;
use std::sync::Arc;

use crate::{Code, Node, Place, Span};

/// Whether a problem stops the configuration from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing of the configuration is used.
    Error,
    /// It is used, and the warning is shown at start, in `check` and in the status.
    Warning,
}

/// One fault of a configuration: what, where, and what to do.
#[derive(Debug, Clone)]
pub struct Problem {
    pub(crate) severity: Severity,
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) place: Place,
    pub(crate) label: Option<String>,
    pub(crate) others: Vec<(Place, String)>,
    pub(crate) key: Option<String>,
    pub(crate) help: Vec<String>,
}

impl From<&Node> for Place {
    fn from(node: &Node) -> Self {
        node.place()
    }
}

impl Problem {
    /// An error at a node or place. The message is one line, lower case, without a full stop.
    pub fn error(code: Code, place: impl Into<Place>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, place.into(), message.into())
    }

    /// A warning at a node or place.
    pub fn warning(code: Code, place: impl Into<Place>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, place.into(), message.into())
    }

    fn new(severity: Severity, code: Code, place: Place, message: String) -> Self {
        Self { severity, code, message, place, label: None, others: Vec::new(), key: None, help: Vec::new() }
    }

    /// A few words beside the marked text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Another place that has to do with it, such as "first defined here".
    #[must_use]
    pub fn also(mut self, place: impl Into<Place>, label: impl Into<String>) -> Self {
        self.others.push((place.into(), label.into()));
        self
    }

    /// The path of the key, when the place alone does not tell it.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// One line on what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Appends "(did you mean `…`?)" to the message when a candidate is near.
    #[must_use]
    pub fn did_you_mean<'a>(mut self, name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        if let Some(near) = crate::suggest(name, candidates) {
            self.message.push_str(&format!(" (did you mean `{near}`?)"));
        }
        self
    }

    /// The registry's number.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Error or warning.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The primary place.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

/// Problems kept; more are only counted. Nobody reads further, and each costs memory.
const KEPT_MAX: usize = 1_000;

/// Collects every problem of one configuration. Shared by reference: whoever finds a problem adds it.
#[derive(Debug, Default)]
pub struct Problems {
    list: RefCell<Vec<Problem>>,
    counts: RefCell<(usize, usize)>,
    trees: RefCell<Vec<Node>>,
}

impl Problems {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a problem, once; its key path is found from its place when it brings none.
    pub fn push(&self, mut problem: Problem) {
        let same = |other: &Problem| {
            other.code == problem.code
                && other.place.span == problem.place.span
                && Arc::ptr_eq(&other.place.source, &problem.place.source)
                && other.message == problem.message
        };
        if !self.is_full() && self.list.borrow().iter().any(same) {
            return;
        }
        match problem.severity {
            Severity::Error => self.counts.borrow_mut().0 += 1,
            Severity::Warning => self.counts.borrow_mut().1 += 1,
        }
        if !self.is_full() {
            problem.key = problem.key.take().or_else(|| self.key_path(&problem.place));
            self.list.borrow_mut().push(problem);
        }
    }

    /// Remembers a file's tree, so that later problems know the path of their key.
    pub fn note_tree(&self, root: &Node) {
        self.trees.borrow_mut().push(root.clone());
        for problem in self.list.borrow_mut().iter_mut().filter(|problem| problem.key.is_none()) {
            problem.key = self.key_path(&problem.place);
        }
    }

    /// No more problems are kept, only counted: who builds costly ones may stop.
    pub(crate) fn is_full(&self) -> bool {
        self.list.borrow().len() >= KEPT_MAX
    }

    /// Whether something was already said about exactly this value.
    pub(crate) fn has_at(&self, node: &Node) -> bool {
        let same = |problem: &Problem| {
            problem.place.span == node.span && Arc::ptr_eq(&problem.place.source, &node.source)
        };
        self.list.borrow().iter().any(same)
    }

    /// Number of errors.
    pub fn errors(&self) -> usize {
        self.counts.borrow().0
    }

    /// Number of warnings.
    pub fn warnings(&self) -> usize {
        self.counts.borrow().1
    }

    /// Whether the configuration must not be used.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// The problems, file by file as they were first met, and in the order of their places.
    pub fn to_vec(&self) -> Vec<Problem> {
        let mut list = self.list.borrow().clone();
        let mut sources: Vec<*const crate::Source> = Vec::new();
        for problem in &list {
            let source = Arc::as_ptr(&problem.place.source);
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        list.sort_by_key(|problem| {
            let source = Arc::as_ptr(&problem.place.source);
            (sources.iter().position(|known| *known == source), problem.place.span.start)
        });
        list
    }

    /// `value` when there is no error.
    ///
    /// # Errors
    ///
    /// The problems themselves.
    pub fn finish<T>(self, value: Option<T>) -> Result<(T, Self), Self> {
        match value {
            Some(value) if !self.has_errors() => Ok((value, self)),
            _ => Err(self),
        }
    }

    fn key_path(&self, place: &Place) -> Option<String> {
        let trees = self.trees.borrow();
        let root = trees.iter().find(|tree| Arc::ptr_eq(&tree.source, &place.source))?;
        let mut path = String::new();
        descend(root, place.span, &mut path);
        (!path.is_empty()).then_some(path)
    }
}

fn descend(node: &Node, span: Span, path: &mut String) {
    if node.span == span {
        return;
    }
    if let Some(entries) = node.entries() {
        let holds = |entry: &&crate::Entry| {
            entry.key.span.contains(span)
                || entry.value.span.contains(span)
                || Span { start: entry.key.span.start, end: entry.value.span.end }.contains(span)
        };
        if let Some(entry) = entries.iter().find(holds) {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(entry.name());
            descend(&entry.value, span, path);
        }
    } else if let Some(items) = node.items()
        && let Some(index) = items.iter().position(|item| item.span.contains(span))
    {
        path.push_str(&format!("[{index}]"));
        descend(&items[index], span, path);
    }
}
