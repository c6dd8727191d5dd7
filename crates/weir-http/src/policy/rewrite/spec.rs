use regex::bytes::Regex;
use weir_config::{Code, Key, KindRow, Node, Object, Problem, Section, Shape};

use super::{HostRewrite, PathRewrite, RewritePlan};
use crate::policy::PolicyPlan;
use crate::policy::registry::PolicyKind;
use crate::spec::Scope;

pub(crate) const KIND: PolicyKind = PolicyKind {
    row: KindRow {
        name: "rewrite",
        doc: "Changes the path and the host that are forwarded, never what was matched.",
        shape: Shape::Object(&REWRITE),
    },
    decode,
};

const PATHS: [&str; 4] = ["strip_prefix", "add_prefix", "regex", "path"];

static REWRITE: Object = Object::new(
    "rewrite",
    "Changes the path and the host that are forwarded, never what was matched; the query is kept. One change of the \
     path each; for several, list several `rewrite` policies.",
    &[
        Key::new("strip_prefix", Shape::Text, "Takes whole segments away: `/v1` makes `/a` of `/v1/a`."),
        Key::new("add_prefix", Shape::Text, "Puts whole segments before the path."),
        Key::new("regex", Shape::Object(&REGEX), "Replaces the first match of an expression in the path."),
        Key::new("path", Shape::Text, "The whole new path; it may hold variables."),
        Key::new("host", Shape::Text, "The host that the upstream sees; it may hold variables."),
    ],
);

static REGEX: Object = Object::new(
    "rewrite_regex",
    "Replaces the first match of an expression in the path.",
    &[
        Key::new("pattern", Shape::Text, "The expression.").required(),
        Key::new(
            "replacement",
            Shape::Text,
            "What stands in its place; `$1` and `$name` stand for its groups.",
        )
        .required(),
    ],
);

fn decode(node: &Node, scope: Scope) -> Option<PolicyPlan> {
    let section = REWRITE.open(node, scope.problems);
    let given: Vec<_> = PATHS.iter().filter_map(|name| Some((*name, section.node(name)?))).collect();
    if given.is_empty()
        && section.node("host").is_none()
        && section.this().entries().is_none_or(<[_]>::is_empty)
    {
        let help = "keys are: strip_prefix, add_prefix, regex, path, host";
        scope.refuse(Code::MISSING_KEY, node, "`rewrite` says nothing to change", help);
    }
    if let [(_, first), .., (last_name, last)] = given.as_slice() {
        let message = format!("one `rewrite` changes the path once, and `{last_name}` is the second change");
        let problem = Problem::error(Code::CONFLICT, *last, message).also(*first, "the first");
        scope.problems.push(problem.help("list several `rewrite` policies, one after the other"));
    }
    let mut path = None;
    for (name, node) in given {
        path = rewrite(name, node, &section, scope).or(path);
    }
    let host = section.node("host").and_then(|node| host(node, scope));
    Some(PolicyPlan::Rewrite(RewritePlan { path, host }))
}

fn rewrite(name: &str, node: &Node, section: &Section, scope: Scope) -> Option<PathRewrite> {
    match name {
        "strip_prefix" => scope.path(name, node).map(PathRewrite::StripPrefix),
        "add_prefix" => scope.path(name, node).map(PathRewrite::AddPrefix),
        "path" => {
            scope.path(name, node)?;
            scope.template(node).map(PathRewrite::Path)
        }
        _ => {
            let regex = section.object("regex", &REGEX, scope.problems)?;
            let (pattern, replacement) = (regex.node("pattern")?, regex.node("replacement")?);
            let pattern = expression(pattern, scope)?;
            check_groups(&pattern, replacement, scope)?;
            Some(PathRewrite::Regex { pattern, replacement: replacement.text()?.to_owned() })
        }
    }
}

fn expression(node: &Node, scope: Scope) -> Option<Regex> {
    match Regex::new(node.text()?) {
        Ok(regex) => Some(regex),
        Err(error) => {
            // A syntax error is drawn over several lines; the last one says what is wrong.
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let help = "the syntax is that of Rust's regex crate: no look-around, no back-references";
            scope.refuse(Code::PATTERN, node, format!("not a regular expression: {reason}"), help);
            None
        }
    }
}

/// A group that the expression does not have would be filled in as nothing, at the first request.
fn check_groups(pattern: &Regex, node: &Node, scope: Scope) -> Option<()> {
    let text = node.text()?;
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let after = &rest[dollar + 1..];
        if let Some(more) = after.strip_prefix('$') {
            rest = more;
            continue;
        }
        let (name, braces) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, _)) => (name, 2),
            None => {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                (&after[..after.find(|c| !word(c)).unwrap_or(after.len())], 0)
            }
        };
        let known = match name.parse::<usize>() {
            Ok(number) => number < pattern.captures_len(),
            Err(_) => name.is_empty() || pattern.capture_names().flatten().any(|known| known == name),
        };
        if !known {
            let at = text.len() - rest.len() + dollar;
            let message = format!("the expression has no group `{name}`");
            let problem =
                Problem::error(Code::UNKNOWN_NAME, node.part(at..at + 1 + braces + name.len()), message);
            scope.problems.push(problem.help("where letters follow, write `$${1}x` for `$1` and an x"));
            return None;
        }
        rest = &after[name.len() + braces..];
    }
    Some(())
}

fn host(node: &Node, scope: Scope) -> Option<HostRewrite> {
    let text = node.text()?;
    if text.is_empty()
        || text.bytes().any(|byte| !(0x21..0x7f).contains(&byte) || matches!(byte, b'/' | b'@' | b'?'))
    {
        let message = format!("`host` must be a host name, got {}", node.describe());
        scope.refuse(Code::MALFORMED, node, message, "without a scheme or a path");
        return None;
    }
    scope.template(node).map(HostRewrite)
}
