use std::time::Duration;

/// The keys of one kind of mapping: the single source of decoder, JSON Schema and reference page.
///
/// Make it a `static`, so that tables can point at each other.
#[derive(Debug)]
pub struct Object {
    /// The name in the reference and in the schema's `$defs`, such as `upstream`.
    pub name: &'static str,
    /// A sentence or two.
    pub doc: &'static str,
    /// The keys in the order of the reference page.
    pub keys: &'static [Key],
    /// Keys of which exactly one must be there; empty for no such rule.
    pub exactly_one: &'static [&'static str],
}

/// One row of a table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name as documented.
    pub name: &'static str,
    /// Other spellings that mean the same.
    pub aliases: &'static [&'static str],
    /// What the value looks like.
    pub shape: Shape,
    /// The default as one would write it; `None` when absence means something of its own.
    pub default: Option<&'static str>,
    /// What it does; the first line is a sentence.
    pub doc: &'static str,
    /// Its absence is a problem.
    pub required: bool,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Any scalar, as text.
    Text,
    /// `true` or `false`.
    Bool,
    /// `on` or `off`; `true` and `false` too.
    OnOff,
    /// The word `off` (or `false`) alone; for use in [`Shape::OneOf`].
    Off,
    /// A whole number.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// `250ms`, `10s`, `1m30s`.
    Duration {
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
        /// Whether `off` (or `false`) is allowed too.
        off_allowed: bool,
    },
    /// `64KiB` or bytes.
    Size {
        /// Smallest, bytes.
        min: u64,
        /// Largest, bytes.
        max: u64,
    },
    /// `20%`.
    Percent,
    /// One of some words.
    Enum(&'static [&'static str]),
    /// A mapping with its own table.
    Object(&'static Object),
    /// A list.
    List(&'static Shape),
    /// A list, or one value without the list.
    OneOrMany(&'static Shape),
    /// A mapping from names that the user chooses.
    Map(&'static Shape),
    /// One name or a list of names of other objects.
    Names,
    /// `{ file: … }`, `{ env: NAME }` or a text; never printed.
    Secret,
    /// A path, relative to the file that names it.
    Path,
    /// An address: `host:port`, `[::1]:80`, `unix:/path`; read by who uses it.
    Address,
    /// Anything; checked by who uses it.
    Any,
    /// The first of several shapes that fits.
    OneOf(&'static [Shape]),
    /// A mapping with exactly one key, the name of a kind; its value has the kind's shape.
    Kind(fn() -> &'static [KindRow]),
}

/// One kind of a registry, such as a policy.
#[derive(Debug, Clone, Copy)]
pub struct KindRow {
    /// The key that chooses it.
    pub name: &'static str,
    /// A sentence.
    pub doc: &'static str,
    /// What its value looks like.
    pub shape: Shape,
}

impl Object {
    /// A table without a rule over its keys.
    pub const fn new(name: &'static str, doc: &'static str, keys: &'static [Key]) -> Self {
        Self { name, doc, keys, exactly_one: &[] }
    }

    /// The same, with exactly one of `names` to be there.
    #[must_use]
    pub const fn exactly_one(mut self, names: &'static [&'static str]) -> Self {
        self.exactly_one = names;
        self
    }

    /// The row of a key, by its name or another spelling.
    pub fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name || key.aliases.contains(&name))
    }
}

impl Key {
    /// A key that may be left out.
    pub const fn new(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self { name, aliases: &[], shape, default: None, doc, required: false }
    }

    /// With a default, as one would write it.
    #[must_use]
    pub const fn default(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }

    /// Must be there.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// With other spellings.
    #[must_use]
    pub const fn aliases(mut self, names: &'static [&'static str]) -> Self {
        self.aliases = names;
        self
    }
}

impl Shape {
    /// A duration from 1 ms to a day.
    pub const DURATION: Self = Self::duration(1, 86_400_000);
    /// The same, or `off`.
    pub const DURATION_OR_OFF: Self = Self::duration_or_off(1, 86_400_000);

    /// A duration within milliseconds.
    pub const fn duration(min_ms: u64, max_ms: u64) -> Self {
        let (min, max) = (Duration::from_millis(min_ms), Duration::from_millis(max_ms));
        Self::Duration { min, max, off_allowed: false }
    }

    /// A duration within milliseconds, or `off`.
    pub const fn duration_or_off(min_ms: u64, max_ms: u64) -> Self {
        let (min, max) = (Duration::from_millis(min_ms), Duration::from_millis(max_ms));
        Self::Duration { min, max, off_allowed: true }
    }

    /// What is wanted, for a message: "a duration such as `10s`".
    pub fn wanted(&self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Bool => "`true` or `false`".to_owned(),
            Self::OnOff => "`on` or `off`".to_owned(),
            Self::Off => "`off`".to_owned(),
            Self::Integer { .. } => "a whole number".to_owned(),
            Self::Duration { off_allowed: false, .. } => "a duration such as `10s`".to_owned(),
            Self::Duration { .. } => "a duration such as `10s`, or `off`".to_owned(),
            Self::Size { .. } => "a size such as `64KiB`".to_owned(),
            Self::Percent => "a share such as `20%`".to_owned(),
            Self::Enum([word]) => format!("`{word}`"),
            Self::Enum(words) => format!("one of {}", words.join(", ")),
            Self::Object(_) | Self::Map(_) => "a mapping".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::OneOrMany(item) => format!("{}, or a list of such", item.wanted()),
            Self::Names => "a name or a list of names".to_owned(),
            Self::Secret => "a secret: `{ file: … }`, `{ env: NAME }` or a text".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Address => "an address such as `127.0.0.1:8080`".to_owned(),
            Self::Any => "a value".to_owned(),
            Self::OneOf(shapes) => shapes.iter().map(Self::wanted).collect::<Vec<_>>().join(", or "),
            Self::Kind(_) => "a mapping with exactly one key, the name of its kind".to_owned(),
        }
    }

    /// The range for the reference page; empty when there is none.
    pub fn range(&self) -> String {
        use weir_base::{ByteSize, format_duration};
        match self {
            Self::Integer { min, max: i64::MAX } => format!("{min} and more"),
            Self::Integer { min, max } => format!("{min} to {max}"),
            Self::Duration { min, max, .. } => {
                format!("{} to {}", format_duration(*min), format_duration(*max))
            }
            Self::Size { min, max: u64::MAX } => format!("{} and more", ByteSize(*min)),
            Self::Size { min, max } => format!("{} to {}", ByteSize(*min), ByteSize(*max)),
            Self::OneOrMany(item) | Self::List(item) => item.range(),
            Self::OneOf(shapes) => shapes
                .iter()
                .map(Self::range)
                .filter(|range| !range.is_empty())
                .collect::<Vec<_>>()
                .join("; "),
            _ => String::new(),
        }
    }
}
