use weir_config::{Code, Node, Problem, Section};

use super::Scope;
use crate::template::Template;

/// Fields that belong to one connection or to the framing of one message: the gateway writes them itself
/// (RFC 9110 sections 7.6.1 and 8.6).
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
];

/// A field's name in lower case; refused when it is no token, or one that the gateway writes itself.
pub(crate) fn check_name(node: &Node, scope: Scope) -> Option<String> {
    let name = node.text().unwrap_or_default().to_ascii_lowercase();
    if !weir_wire::http1::is_token(name.as_bytes()) {
        let message = format!("{} is not the name of a header", node.describe());
        scope.refuse(Code::MALFORMED, node, message, "a name is letters, digits and `-`");
        return None;
    }
    if FRAMING.contains(&name.as_str()) {
        let help = match name.as_str() {
            "host" => "use the policy `rewrite: { host: … }`, or `host` of the upstream",
            _ => "remove the line: the gateway writes this field by itself",
        };
        scope.refuse(Code::CONFLICT, node, format!("`{name}` belongs to the gateway"), help);
        return None;
    }
    Some(name)
}

/// The names of a list, each once.
pub(crate) fn names(section: &Section, key: &str, scope: Scope) -> Vec<String> {
    let mut names = Vec::new();
    for name in section.list(key).iter().filter_map(|node| check_name(node, scope)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The entries of a mapping from names to values with variables.
pub(crate) fn field_templates(section: &Section, key: &str, scope: Scope) -> Vec<(String, Template)> {
    let mut fields: Vec<(String, Template)> = Vec::new();
    for entry in section.map(key) {
        let name = check_name(&entry.key, scope);
        let value = value(&entry.value, scope);
        let Some(name) = name else { continue };
        if fields.iter().any(|(known, _)| *known == name) {
            let message = format!("`{name}` is named twice; names are compared without case");
            scope.problems.push(Problem::error(Code::REPEATED_KEY, &entry.key, message));
        } else if let Some(value) = value {
            fields.push((name, value));
        }
    }
    fields
}

fn value(node: &Node, scope: Scope) -> Option<Template> {
    let text = node.text()?;
    if !weir_wire::http1::is_field_value(text.as_bytes()) {
        scope.refuse(Code::MALFORMED, node, "a header's value has no line breaks or control characters", "");
        return None;
    }
    scope.template(node)
}
