use weir_config::{Key, Node, Object, Shape};

use super::RespondPlan;
use crate::spec::{Scope, field_templates};
use crate::template::Template;

/// A route's `respond`.
pub static RESPOND: Object = Object::new(
    "respond",
    "An answer of the gateway's own.",
    &[
        Key::new("status", Shape::Integer { min: 200, max: 599 }, "The status.").default("200"),
        Key::new(
            "body",
            Shape::Text,
            "The body; it may hold variables such as `{client_ip}`. Braces around anything but a name are text, as in JSON.",
        )
        .default(""),
        Key::new(
            "headers",
            Shape::Map(&Shape::Text),
            "Headers; `content-type` is `text/plain; charset=utf-8` unless it is here.",
        ),
    ],
);

impl RespondPlan {
    /// Reads a route's `respond`; `None` when the problems say why.
    pub fn decode(node: &Node, scope: Scope) -> Option<Self> {
        let section = RESPOND.open(node, scope.problems);
        let headers = field_templates(&section, "headers", scope);
        Some(Self { status: section.integer("status"), body: body(section.node("body"), scope)?, headers })
    }
}

fn body(node: Option<&Node>, scope: Scope) -> Option<Template> {
    match node {
        Some(node) => scope.template_of(&literal_braces(node.text()?), node),
        None => Some(Template::parse("", &[]).expect("the empty text has no variables")),
    }
}

/// Doubles the braces that enclose no name, so that a JSON body can be written as it is. `{{name}}` stays.
fn literal_braces(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        out.push_str(before);
        let taken = enclosed(brace, "{{", "}}").or_else(|| enclosed(brace, "{", "}")).unwrap_or_else(|| {
            out.push_str(&brace[..1]);
            1
        });
        out.push_str(&brace[..taken]);
        rest = &brace[taken..];
    }
    out + rest
}

/// The length of a name between `open` and `close`, with both.
fn enclosed(text: &str, open: &str, close: &str) -> Option<usize> {
    let inner = text.strip_prefix(open)?;
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let length = inner.find(|c| !is_part(c)).filter(|length| *length > 0)?;
    inner[length..].starts_with(close).then_some(open.len() + length + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_around_names_are_variables_and_others_are_text() {
        assert_eq!(literal_braces("{\"ip\":\"{client_ip}\"}"), "{{\"ip\":\"{client_ip}\"}}");
        assert_eq!(literal_braces("{ }{}{{host}}"), "{{ }}{{}}{{host}}");
        assert_eq!(literal_braces("{\"a\":{\"b\":1}}"), "{{\"a\":{{\"b\":1}}}}");
        assert_eq!(literal_braces("{unknown} {"), "{unknown} {{");
        for text in ["{\"a\":{\"b\":1}}", "{", "}", "{host}", "{é}"] {
            assert!(Template::parse(&literal_braces(text), &[]).is_ok(), "{text}");
        }
    }
}
