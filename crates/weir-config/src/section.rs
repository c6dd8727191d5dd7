use std::path::PathBuf;
use std::time::Duration;

use weir_base::{ByteSize, Percent, parse_duration};

use crate::check::check;
use crate::{Code, Entry, Key, Node, Object, Problem, Problems, SecretSpec, Shape};

/// A mapping opened with its table: every value that a getter hands out is checked.
///
/// [`Object::open`] reports all faults of the mapping's own keys at once; a getter of a bad or absent key then
/// gives the table's default. A getter panics for a key that the table does not have, or has without the default
/// that the getter needs: a fault of the program that its first test finds.
#[derive(Debug)]
pub struct Section<'n> {
    table: &'static Object,
    node: &'n Node,
    found: Vec<(&'static str, &'n Node)>,
}

impl Object {
    /// An empty mapping in the place of `node`, such as `on`: every key has its default.
    pub fn defaults<'n>(&'static self, node: &'n Node) -> Section<'n> {
        Section { table: self, node, found: Vec::new() }
    }

    /// Opens a mapping (or nothing at all, which counts as an empty one) and reports what is wrong with it:
    /// unknown and missing keys, values of a wrong type or out of range.
    pub fn open<'n>(&'static self, node: &'n Node, problems: &Problems) -> Section<'n> {
        let entries = node.entries().unwrap_or_default();
        if node.entries().is_none() && !node.is_null() {
            if problems.has_at(node) {
                return Section { table: self, node, found: Vec::new() };
            }
            let message = format!("`{}` must be a mapping, got {}", self.name, node.describe());
            problems.push(Problem::error(Code::WRONG_TYPE, node, message));
            return Section { table: self, node, found: Vec::new() };
        }
        let mut found: Vec<(&'static str, &Entry)> = Vec::with_capacity(entries.len());
        for entry in entries {
            match self.key(entry.name()) {
                None => unknown(self, entry, problems),
                Some(key) => match found.iter().find(|(name, _)| *name == key.name) {
                    Some((_, first)) => {
                        let message = format!("`{}` is the same key as `{}`", entry.name(), first.name());
                        let problem = Problem::error(Code::REPEATED_KEY, &entry.key, message);
                        problems.push(problem.also(&first.key, "first defined here"));
                    }
                    None => found.push((key.name, entry)),
                },
            }
        }
        missing(self, node, &found, problems);
        let good = found.into_iter().filter(|(name, entry)| {
            let key = self.key(name).expect("found holds names of this table");
            // Good items of a list of mappings are still opened, so that one round shows their faults too.
            check(key, &key.shape, &entry.value, problems) || holds_mappings(&key.shape, &entry.value)
        });
        Section { table: self, node, found: good.map(|(name, entry)| (name, &entry.value)).collect() }
    }
}

/// Whether the value is a list or mapping of things that are opened one by one and report for themselves.
fn holds_mappings(shape: &Shape, node: &Node) -> bool {
    match shape {
        Shape::List(item) => node.items().is_some() && matches!(item, Shape::Object(_) | Shape::Kind(_)),
        Shape::Map(value) => node.entries().is_some() && matches!(value, Shape::Object(_)),
        _ => false,
    }
}

fn unknown(table: &Object, entry: &Entry, problems: &Problems) {
    if problems.is_full() {
        // A file of a million unknown keys must not cost a million likenesses.
        problems.push(Problem::error(Code::UNKNOWN_KEY, &entry.key, ""));
        return;
    }
    let names = || table.keys.iter().map(|key| key.name);
    let near = crate::suggest(entry.name(), names()).and_then(|near| table.key(near));
    if near.is_some_and(|key| matches!(key.shape, Shape::Secret)) {
        entry.value.source().veil(entry.value.place().span);
    }
    let message = format!("unknown key {}", entry.key.describe());
    let all = names().collect::<Vec<_>>().join(", ");
    problems.push(
        Problem::error(Code::UNKNOWN_KEY, &entry.key, message)
            .did_you_mean(entry.name(), names())
            .help(format!("keys here are: {all}")),
    );
}

fn missing(table: &Object, node: &Node, found: &[(&'static str, &Entry)], problems: &Problems) {
    let there = |name: &str| found.iter().any(|(known, _)| *known == name);
    for key in table.keys.iter().filter(|key| key.required && !there(key.name)) {
        let message = format!("`{}` is missing", key.name);
        let problem = Problem::error(Code::MISSING_KEY, node, message);
        problems.push(problem.help(format!("it must be {}", key.shape.wanted())));
    }
    let given = || found.iter().filter(|(name, _)| table.exactly_one.contains(name));
    if table.exactly_one.is_empty() || given().count() == 1 {
        return;
    }
    let given: Vec<_> = given().collect();
    let all = table.exactly_one.join("`, `");
    let problem = match given.as_slice() {
        [] => Problem::error(Code::EXACTLY_ONE, node, format!("exactly one of `{all}` is needed, got none")),
        [(_, first), .., (_, last)] => {
            let message = format!("exactly one of `{all}` is allowed, got {}", given.len());
            Problem::error(Code::EXACTLY_ONE, &last.key, message).also(&first.key, "the first of them")
        }
        [_] => return,
    };
    problems.push(problem);
}

impl<'n> Section<'n> {
    /// The mapping itself, for a problem about the whole.
    pub fn this(&self) -> &'n Node {
        self.node
    }

    /// A key's value when it is there and fits its shape.
    pub fn node(&self, name: &str) -> Option<&'n Node> {
        let named = |key: &str| self.found.iter().find(|(known, _)| *known == key).map(|(_, node)| *node);
        named(name).or_else(|| named(self.key(name).name))
    }

    /// Where to point when something about `name` is wrong: its value, else the mapping.
    pub fn at(&self, name: &str) -> &'n Node {
        self.node(name).unwrap_or(self.node)
    }

    /// Which of the table's "exactly one" keys was given, with its value.
    pub fn chosen(&self) -> Option<(&'static str, &'n Node)> {
        self.found.iter().find(|(name, _)| self.table.exactly_one.contains(name)).copied()
    }

    /// A duration, or the table's default.
    pub fn duration(&self, name: &str) -> Duration {
        self.opt_duration(name).unwrap_or_else(|| read(self.default(name), |text| parse_duration(text).ok()))
    }

    /// A duration without a default; `off` is `None` too.
    pub fn opt_duration(&self, name: &str) -> Option<Duration> {
        parse_duration(self.node(name)?.text()?).ok()
    }

    /// A duration, or the table's default; `None` is `off`.
    pub fn duration_or_off(&self, name: &str) -> Option<Duration> {
        match self.node(name) {
            Some(node) if node.is_off() => None,
            Some(_) => self.opt_duration(name),
            None => match self.default(name) {
                "off" => None,
                text => Some(read(text, |text| parse_duration(text).ok())),
            },
        }
    }

    /// A size, or the table's default.
    pub fn size(&self, name: &str) -> ByteSize {
        self.opt_size(name).unwrap_or_else(|| read(self.default(name), |text| ByteSize::parse(text).ok()))
    }

    /// A size without a default.
    pub fn opt_size(&self, name: &str) -> Option<ByteSize> {
        ByteSize::parse(self.node(name)?.text()?).ok()
    }

    /// A share, or the table's default.
    pub fn percent(&self, name: &str) -> Percent {
        self.opt_percent(name).unwrap_or_else(|| read(self.default(name), |text| Percent::parse(text).ok()))
    }

    /// A share without a default.
    pub fn opt_percent(&self, name: &str) -> Option<Percent> {
        Percent::parse(self.node(name)?.text()?).ok()
    }

    /// A whole number, or the table's default. The table's range says which type it fits.
    pub fn integer<T: TryFrom<i64>>(&self, name: &str) -> T {
        self.opt_integer(name).unwrap_or_else(|| {
            read(self.default(name), |text| text.parse::<i64>().ok().and_then(|n| T::try_from(n).ok()))
        })
    }

    /// A whole number without a default.
    pub fn opt_integer<T: TryFrom<i64>>(&self, name: &str) -> Option<T> {
        T::try_from(self.node(name)?.integer()?).ok()
    }

    /// `true`/`on` or `false`/`off`, or the table's default.
    pub fn boolean(&self, name: &str) -> bool {
        match self.node(name) {
            Some(node) => node.boolean().unwrap_or(node.text() == Some("on")),
            None => matches!(self.default(name), "true" | "on"),
        }
    }

    /// A text or a word of an enum, or the table's default.
    pub fn text(&self, name: &str) -> &'n str {
        self.opt_text(name).unwrap_or_else(|| self.default(name))
    }

    /// A text without a default.
    pub fn opt_text(&self, name: &str) -> Option<&'n str> {
        self.node(name)?.text()
    }

    /// The value that stands for an enum's word; `choices` must name every word of the table.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> T {
        let word = self.text(name);
        read(word, |word| choices.iter().find(|(known, _)| *known == word).map(|(_, value)| *value))
    }

    /// The items of a list, or the one value written without a list; none when absent.
    pub fn list(&self, name: &str) -> &'n [Node] {
        self.node(name).map_or(&[], Node::one_or_many)
    }

    /// The texts of a list or of the one value, with their nodes.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = (&'n str, &'n Node)> + use<'n> {
        self.list(name).iter().filter_map(|node| Some((node.text()?, node)))
    }

    /// The entries of a mapping of named things; none when absent.
    pub fn map(&self, name: &str) -> &'n [Entry] {
        self.node(name).and_then(Node::entries).unwrap_or_default()
    }

    /// A nested mapping, opened with its own table; `None` when absent (or `off`).
    pub fn object(&self, name: &str, table: &'static Object, problems: &Problems) -> Option<Section<'n>> {
        let node = self.node(name)?;
        (!node.is_off()).then(|| table.open(node, problems))
    }

    /// A path, resolved against the file that names it.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.node(name)?.path()
    }

    /// Where a secret comes from.
    pub fn secret(&self, name: &str) -> Option<SecretSpec> {
        SecretSpec::decode(self.node(name)?)
    }

    fn key(&self, name: &str) -> &'static Key {
        let table = self.table;
        let key = table.key(name);
        key.unwrap_or_else(|| {
            panic!("the table `{}` has no key `{name}`: a fault of its decoder", table.name)
        })
    }

    fn default(&self, name: &str) -> &'static str {
        self.key(name).default.expect("a getter without `opt_` is used for keys with a default only")
    }
}

fn read<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> T {
    parse(text)
        .expect("the table's default and its decoder agree: each table's test decodes an empty mapping")
}
