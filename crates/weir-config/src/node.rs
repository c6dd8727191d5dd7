use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{Place, Source, Span};

/// A value of the tree, with the place where it was written. Cloning is cheap: children are shared.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) source: Arc<Source>,
    pub(crate) span: Span,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A text, number, boolean or null: YAML's difference is made by the key that wants it.
    Scalar(Scalar),
    /// A sequence.
    List(Arc<[Node]>),
    /// A mapping, in the order it was written, keys distinct.
    Map(Arc<[Entry]>),
}

/// A scalar after quotes and variables are resolved.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    text: Text,
    /// Written without quotes: may be a number, a boolean or null.
    is_plain: bool,
    is_null: bool,
    /// A variable went into it; problems then show what was written instead.
    is_expanded: bool,
}

/// Nearly every scalar is written as it reads, so that the source's own text will do and nothing is copied.
#[derive(Debug, Clone)]
enum Text {
    Written(Span),
    Own(Box<str>),
}

impl Scalar {
    /// What `text`, written at `span` of `source`, reads as before variables.
    pub(crate) fn new(text: &str, is_plain: bool, span: Span, source: &Source) -> Self {
        let is_null = is_plain && matches!(text, "" | "~" | "null" | "Null" | "NULL");
        let quote = u32::from(!is_plain);
        let inner = Span { start: span.start + quote, end: span.end.saturating_sub(quote) };
        let text = match source.text().get(inner.range()) {
            Some(written) if written == text => Text::Written(inner),
            _ => Text::Own(text.into()),
        };
        Self { text, is_plain, is_null, is_expanded: false }
    }

    /// The same with a text that variables went into.
    pub(crate) fn expanded(self, text: String) -> Self {
        let is_null = self.is_plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
        Self { text: Text::Own(text.into()), is_null, is_expanded: true, ..self }
    }

    /// A text that must not be shown.
    pub(crate) fn hidden() -> Self {
        Self { text: Text::Own("***".into()), is_plain: false, is_null: false, is_expanded: false }
    }
}

/// One key of a mapping with its value. The key is always a scalar.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key, with its place.
    pub key: Node,
    /// The value.
    pub value: Node,
}

impl Entry {
    /// The key's text.
    pub fn name(&self) -> &str {
        self.key.text().unwrap_or_default()
    }
}

impl Node {
    /// Where the node was written.
    pub fn place(&self) -> Place {
        Place { source: Arc::clone(&self.source), span: self.span }
    }

    /// Where the bytes `range` of the node's text were written; the whole node where the text was not written as it
    /// is read (escapes, folded lines, variables).
    pub fn part(&self, range: Range<usize>) -> Place {
        let mut place = self.place();
        let (Some(text), Some(written)) = (self.text(), self.source.text().get(self.span.range())) else {
            return place;
        };
        let quote = usize::from(written.starts_with(['"', '\'']));
        if written.len() == text.len() + 2 * quote && written[quote..].starts_with(text) {
            let at = |byte: usize| self.span.start + (quote + byte.min(text.len())) as u32;
            place.span = Span { start: at(range.start), end: at(range.end) };
        }
        place
    }

    /// The source that the node was written in.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// A scalar's text, plain or quoted; `None` for lists, mappings and null.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if !scalar.is_null => Some(self.read(scalar)),
            _ => None,
        }
    }

    /// A plain scalar's text: what may be a number or a boolean.
    pub fn plain(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_plain => Some(self.read(scalar)),
            _ => None,
        }
    }

    fn read<'n>(&'n self, scalar: &'n Scalar) -> &'n str {
        match &scalar.text {
            Text::Written(span) => &self.source.text()[span.range()],
            Text::Own(text) => text,
        }
    }

    /// `true` or `false`, without quotes, as YAML 1.2 has them.
    pub fn boolean(&self) -> Option<bool> {
        match self.plain()? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    /// A decimal, `0x` or `0o` integer without quotes.
    pub fn integer(&self) -> Option<i64> {
        let text = self.plain()?;
        match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
            (Some(hex), _) if !hex.starts_with(['+', '-']) => i64::from_str_radix(hex, 16).ok(),
            (_, Some(octal)) if !octal.starts_with(['+', '-']) => i64::from_str_radix(octal, 8).ok(),
            _ => text.parse().ok(),
        }
    }

    /// Nothing was written, or `null` or `~`.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null)
    }

    /// `off` or `false`.
    pub fn is_off(&self) -> bool {
        self.text() == Some("off") || self.boolean() == Some(false)
    }

    /// The items of a list.
    pub fn items(&self) -> Option<&[Self]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The items of a list, or the node itself as the only one.
    pub fn one_or_many(&self) -> &[Self] {
        self.items().unwrap_or(std::slice::from_ref(self))
    }

    /// The entries of a mapping.
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of a mapping's key.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.entries()?.iter().find(|entry| entry.name() == name).map(|entry| &entry.value)
    }

    /// The text as a path; a relative one starts at the directory of the file that names it.
    pub fn path(&self) -> Option<PathBuf> {
        self.text().map(|text| self.source.directory().join(text))
    }

    /// The value in a few words for a message: `` `10x` ``, "a list", "nothing". A variable is shown by its name.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Scalar(_) if self.is_null() => "nothing".to_owned(),
            Value::Scalar(scalar) if scalar.is_expanded => quoted(&self.source.veiled(self.span.range())),
            Value::Scalar(scalar) => quoted(self.read(scalar)),
        }
    }
}

fn quoted(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((cut, _)) => format!("`{}…`", &text[..cut]),
        None => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Problems, load_bytes};

    static ROOT: crate::Object = crate::Object::new("root", "Any.", &[]);

    #[test]
    fn a_part_of_a_text_is_found_where_it_was_written() {
        let text = "a: plain\nb: \"quoted\"\nc: \"esc\\taped\"\n";
        let document = load_bytes("t", text.as_bytes(), &ROOT, &Problems::new());
        let part = |key: &str| &text[document.root.get(key).unwrap().part(2..4).span.range()];
        assert_eq!((part("a"), part("b"), part("c")), ("ai", "ot", "\"esc\\taped\""));
    }
}
