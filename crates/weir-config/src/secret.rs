use std::fmt;
use std::path::PathBuf;

use crate::node::{Scalar, Value};
use crate::{Code, Node, Problem, Problems, SourceReader};

/// Secrets shorter than this many bytes are warned about.
const SHORT: usize = 16;
/// Passwords that stand in examples and manuals.
const KNOWN: &[&str] = &[
    "dev-signing-secret-do-not-use-in-prod",
    "changeme",
    "change-me",
    "change-me-in-production",
    "secret",
    "password",
    "admin",
    "test",
    "development-secret-key",
    "your-256-bit-secret",
    "your-secret-key-here",
    "0123456789abcdef",
];

/// A secret text. It has no way out but [`Secret::expose`]; `Debug` and `Display` write `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is a well-known one or shorter than 16 bytes.
    pub fn is_weak(&self) -> bool {
        self.0.len() < SHORT || KNOWN.iter().any(|known| known.eq_ignore_ascii_case(&self.0))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a secret comes from, as written.
#[derive(Debug, Clone)]
pub enum SecretSpec {
    /// In the configuration itself.
    Literal(Secret, Node),
    /// In a file, without its last line break.
    File(PathBuf, Node),
    /// In an environment variable.
    Env(Box<str>, Node),
}

impl SecretSpec {
    /// Reads a checked node; hides a literal from everything that is rendered.
    pub(crate) fn decode(node: &Node) -> Option<Self> {
        if let Some(text) = node.text() {
            node.source().veil(node.place().span);
            return Some(Self::Literal(Secret::new(text), redacted(node)));
        }
        let [entry] = node.entries()? else { return None };
        match entry.name() {
            "file" => Some(Self::File(entry.value.path()?, entry.value.clone())),
            "env" => Some(Self::Env(entry.value.text()?.into(), entry.value.clone())),
            _ => None,
        }
    }

    /// Fetches the secret and warns about a weak one. `None`: it could not be read, and the problems say so.
    pub fn resolve(&self, reader: &dyn SourceReader, problems: &Problems) -> Option<Secret> {
        let (found, node) = match self {
            Self::Literal(secret, node) => (Ok(secret.clone()), node),
            Self::File(path, node) => (read(path, reader), node),
            Self::Env(name, node) => {
                let value = reader.env(name).filter(|value| !value.is_empty());
                (value.map(Secret::new).ok_or_else(|| format!("the variable `{name}` is not set")), node)
            }
        };
        let secret = match found {
            Ok(secret) => secret,
            Err(message) => {
                problems.push(Problem::error(Code::NO_SECRET, node, message));
                return None;
            }
        };
        if secret.is_weak() {
            let message = "this secret is a well-known one or shorter than 16 bytes";
            problems.push(
                Problem::warning(Code::WEAK_SECRET, node, message)
                    .help("take 32 random bytes, for example from `openssl rand -base64 32`"),
            );
        }
        Some(secret)
    }
}

/// The same place without the text, so that a `Debug` of the node shows nothing.
fn redacted(node: &Node) -> Node {
    Node { value: Value::Scalar(Scalar::hidden()), ..node.clone() }
}

fn read(path: &std::path::Path, reader: &dyn SourceReader) -> Result<Secret, String> {
    let shown = path.display();
    let bytes = reader.read(path).map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("`{shown}` is not UTF-8"))?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() { Err(format!("`{shown}` is empty")) } else { Ok(Secret::new(text)) }
}
