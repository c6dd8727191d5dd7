use weir_config::{Code, Key, KindRow, Node, Object, Section, Shape};

use super::{SecurityHeadersPlan, SecurityPreset};
use crate::policy::PolicyPlan;
use crate::policy::registry::PolicyKind;
use crate::spec::{Scope, check_name};

pub(crate) const KIND: PolicyKind = PolicyKind {
    row: KindRow {
        name: "security_headers",
        doc: "Sets the usual security headers on answers.",
        shape: Shape::OneOf(&[Shape::Enum(PRESETS), Shape::Object(&SECURITY_HEADERS)]),
    },
    decode,
};

const PRESETS: &[&str] = &["default", "api", "strict"];

static SECURITY_HEADERS: Object = Object::new(
    "security_headers",
    "Sets the usual security headers on answers, Weir's own errors among them; a preset's name alone will do.",
    &[
        Key::new(
            "preset",
            Shape::Enum(PRESETS),
            "`default` for sites that people visit, `api` for answers that are never shown as a page, `strict` where nothing is loaded from elsewhere or framed.",
        )
        .default("default"),
        Key::new(
            "set",
            Shape::Map(&Shape::OneOf(&[Shape::Off, Shape::Text])),
            "Values in place of the preset's, or beside them; `off` takes a header out.",
        ),
    ],
);

fn decode(node: &Node, scope: Scope) -> Option<PolicyPlan> {
    let preset = |name: &str| {
        SecurityPreset::NAMES.iter().find(|(known, _)| *known == name).map(|(_, preset)| *preset)
    };
    if let Some(name) = node.text() {
        let preset = preset(name)?;
        return Some(PolicyPlan::SecurityHeaders(SecurityHeadersPlan { preset, overrides: Vec::new() }));
    }
    let section = SECURITY_HEADERS.open(node, scope.problems);
    let preset = preset(section.text("preset")).unwrap_or_default();
    Some(PolicyPlan::SecurityHeaders(SecurityHeadersPlan { preset, overrides: overrides(&section, scope) }))
}

fn overrides(section: &Section, scope: Scope) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in section.map("set") {
        let Some(name) = check_name(&entry.key, scope) else { continue };
        match entry.value.text() {
            _ if entry.value.is_off() => found.push((name, String::new())),
            Some(value) if weir_wire::http1::is_field_value(value.as_bytes()) => {
                found.push((name, value.to_owned()));
            }
            _ => {
                let message = "a header's value has no line breaks or control characters";
                scope.refuse(Code::MALFORMED, &entry.value, message, "");
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_of_the_table_exists() {
        assert_eq!(SecurityPreset::NAMES.map(|(name, _)| name), PRESETS);
    }
}
