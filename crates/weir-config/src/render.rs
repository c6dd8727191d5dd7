use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value as Json, json};

use crate::{Place, Problem, Problems, Severity, SourceName};

/// Longest excerpt in bytes: a minified JSON file is one line.
const EXCERPT_BYTES_MAX: usize = 400;

impl Problems {
    /// Every problem with its excerpt, then the count: `2 errors, 1 warning` without a line break, so that the
    /// caller can add what became of the configuration.
    pub fn render(&self, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        let problems = self.to_vec();
        for problem in &problems {
            out.push_str(&render_one(problem, &renderer));
            out.push('\n');
        }
        let hidden = self.errors() + self.warnings() - problems.len();
        if hidden > 0 {
            out.push_str(&format!("… and {hidden} more\n"));
        }
        out + &self.footer()
    }

    /// `2 errors, 1 warning`; what is none is left out.
    pub fn footer(&self) -> String {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        match (self.errors(), self.warnings()) {
            (errors, 0) => count(errors, "error"),
            (0, warnings) => count(warnings, "warning"),
            (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
        }
    }

    /// The problems for a program: an array of objects with `code`, `severity`, `message`, `file`, `line`,
    /// `column`, `key` and `help`.
    pub fn to_json(&self) -> Json {
        Json::Array(self.to_vec().iter().map(Problem::to_json).collect())
    }
}

impl Problem {
    /// One problem for a program; see [`Problems::to_json`].
    pub fn to_json(&self) -> Json {
        let (line, column) = self.place.line_column();
        json!({
            "code": self.code.to_string(),
            "severity": match self.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "message": self.message,
            "file": self.place.source.name().to_string(),
            "line": line,
            "column": column,
            "key": self.key,
            "help": self.help,
        })
    }
}

fn render_one(problem: &Problem, renderer: &Renderer) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level.primary_title(escaped(&problem.message)).id(problem.code.to_string()).elements(
        [excerpt(&problem.place, problem.label.as_deref(), AnnotationKind::Primary)].into_iter().flatten(),
    );
    if matches!(problem.place.source.name(), SourceName::Store { .. }) {
        group = group.element(Origin::path(escaped(&problem.place.to_string())));
    }
    for (place, label) in &problem.others {
        if let Some(snippet) = excerpt(place, Some(label), AnnotationKind::Context) {
            group = group.element(snippet);
        }
    }
    if let Some(key) = &problem.key {
        group = note(group, "key", key);
    }
    for help in &problem.help {
        group = note(group, "help", help);
    }
    renderer.render(&[group])
}

fn note<'a>(group: Group<'a>, name: &'static str, text: &str) -> Group<'a> {
    group.element(Level::NOTE.with_name(Some(name)).message(escaped(text)))
}

/// The line of a place with its text marked; `None` for a store's key, whose place is one line of words.
fn excerpt<'a>(
    place: &Place,
    label: Option<&str>,
    kind: AnnotationKind,
) -> Option<Snippet<'a, Annotation<'a>>> {
    let source = &place.source;
    if matches!(source.name(), SourceName::Store { .. }) {
        return None;
    }
    let (line, _) = place.line_column();
    let whole = source.line_range(line);
    let from = place.span.start as usize;
    let shown = shorten(source.text(), whole, from);
    let end = (place.span.end as usize).clamp(from, shown.end.max(from));
    let (text, mark) = visible(&source.veiled(shown.clone()), from - shown.start..end - shown.start);
    let mut annotation = kind.span(mark);
    if let Some(label) = label {
        annotation = annotation.label(escaped(label));
    }
    let path = escaped(&source.name().to_string());
    Some(Snippet::source(text).path(path).line_start(line).annotation(annotation))
}

/// At most [`EXCERPT_BYTES_MAX`] bytes of a line around `at`, cut between characters.
fn shorten(text: &str, line: Range<usize>, at: usize) -> Range<usize> {
    if line.len() <= EXCERPT_BYTES_MAX {
        return line.start..line.end.max(at);
    }
    // The column must stay true, so a long line is cut only behind the place.
    let end = text.ceil_char_boundary_at((at + EXCERPT_BYTES_MAX / 2).min(line.end));
    line.start..end
}

trait CharBoundary {
    fn ceil_char_boundary_at(&self, at: usize) -> usize;
}

impl CharBoundary for str {
    fn ceil_char_boundary_at(&self, at: usize) -> usize {
        (at..=self.len()).find(|at| self.is_char_boundary(*at)).unwrap_or(self.len())
    }
}

/// Replaces control characters, each by one visible character, and keeps `mark` on the same text.
fn visible(text: &str, mark: Range<usize>) -> (String, Range<usize>) {
    let mut out = String::with_capacity(text.len());
    let (mut start, mut end) = (None, None);
    for (at, char) in text.char_indices() {
        if at >= mark.start && start.is_none() {
            start = Some(out.len());
        }
        if at >= mark.end && end.is_none() {
            end = Some(out.len());
        }
        out.push(if is_unseen(char) && char != '\t' { '\u{fffd}' } else { char });
    }
    let range = start.unwrap_or(out.len())..end.unwrap_or(out.len());
    (out, range)
}

/// Control characters, and those that turn the direction of text around.
fn is_unseen(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One line of text that cannot drive a terminal.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if is_unseen(char) { out.extend(char.escape_default()) } else { out.push(char) }
    }
    out
}
