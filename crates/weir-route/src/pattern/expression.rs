use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind, Look};

use super::{PatternError, PatternErrorKind as Kind};

/// Largest program, in bytes, that one regular expression may compile to: about a hundred times what real routes need.
pub const EXPRESSION_BYTES_MAX: usize = 1 << 20;

/// A regular expression that must match a whole value: a path, a segment, a header's or a query entry's value.
///
/// It works on bytes: `.` is any byte but a line feed, `\w` and `\d` are ASCII. Matching is linear in the value.
#[derive(Clone)]
pub struct Expression {
    text: Box<str>,
    regex: Regex,
    /// What every match begins with; compared before the expression runs.
    prefix: Box<[u8]>,
    /// What every match ends with.
    suffix: Box<[u8]>,
    /// Only the prefix itself matches.
    is_literal: bool,
}

impl Expression {
    /// Compiles an expression; `^` and `$` at its ends may be written or left out.
    ///
    /// # Errors
    ///
    /// [`PatternError`], for a syntax error (with its range) and for more than [`EXPRESSION_BYTES_MAX`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let hir = regex_syntax::ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .build()
            .parse(text)
            .map_err(|error| syntax_error(&error, text))?;
        // Wrapped as a tree, not as text: a comment in `(?x)` would swallow a closing bracket.
        let whole = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
        let regex = RegexBuilder::new(&whole.to_string())
            .unicode(false)
            .size_limit(EXPRESSION_BYTES_MAX)
            .dfa_size_limit(EXPRESSION_BYTES_MAX)
            .build()
            .map_err(|error| PatternError::new(0..text.len(), build_error(error)))?;
        let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
        let is_literal = push_prefix(&whole, &mut prefix);
        push_suffix(&whole, &mut suffix);
        suffix.reverse();
        Ok(Self { text: text.into(), regex, prefix: prefix.into(), suffix: suffix.into(), is_literal })
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether all of `value` matches.
    pub fn is_match(&self, value: &[u8]) -> bool {
        value.starts_with(&self.prefix) && self.regex.is_match(value)
    }

    /// Whether it is plain that no value matches both: by what their matches begin or end with, or because one of them
    /// is a mere text. Others may be apart all the same.
    pub(crate) fn is_apart(&self, other: &Self) -> bool {
        let begin = self.prefix.iter().zip(&other.prefix);
        let end = self.suffix.iter().rev().zip(other.suffix.iter().rev());
        begin.chain(end).any(|(own, theirs)| own != theirs)
            || self.is_literal && !other.is_match(&self.prefix)
            || other.is_literal && !self.is_match(&other.prefix)
    }

    /// What every match begins with.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.prefix
    }
}

/// Compared by what is written.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.text)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Appends the literal that `hir` begins with; whether all of `hir` was that literal.
fn push_prefix(hir: &Hir, prefix: &mut Vec<u8>) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(Look::Start | Look::End) => true,
        HirKind::Literal(literal) => {
            prefix.extend_from_slice(&literal.0);
            true
        }
        HirKind::Capture(capture) => push_prefix(&capture.sub, prefix),
        HirKind::Concat(parts) => parts.iter().all(|part| push_prefix(part, prefix)),
        _ => false,
    }
}

/// Appends the literal that `hir` ends with, backwards; whether all of `hir` was that literal.
fn push_suffix(hir: &Hir, suffix: &mut Vec<u8>) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(Look::End) => true,
        HirKind::Literal(literal) => {
            suffix.extend(literal.0.iter().rev());
            true
        }
        HirKind::Capture(capture) => push_suffix(&capture.sub, suffix),
        HirKind::Concat(parts) => parts.iter().rev().all(|part| push_suffix(part, suffix)),
        _ => false,
    }
}

fn build_error(error: regex::Error) -> Kind {
    match error {
        regex::Error::CompiledTooBig(_) => Kind::ExpressionTooLarge,
        other => Kind::InvalidExpression(other.to_string()),
    }
}

fn syntax_error(error: &regex_syntax::Error, text: &str) -> PatternError {
    let (span, reason) = match error {
        regex_syntax::Error::Parse(error) => (error.span(), error.kind().to_string()),
        regex_syntax::Error::Translate(error) => (error.span(), error.kind().to_string()),
        other => return PatternError::new(0..text.len(), Kind::InvalidExpression(other.to_string())),
    };
    let range = span.start.offset..span.end.offset.max(span.start.offset);
    PatternError::new(range, Kind::InvalidExpression(reason))
}
