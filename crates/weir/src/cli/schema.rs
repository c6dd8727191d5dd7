//! `weir schema`: the JSON Schema of the configuration.

use std::process::ExitCode;

use serde_json::Value;

/// Prints the schema.
pub(crate) fn run() -> ExitCode {
    super::print(&format!("{:#}\n", schema()))
}

/// The schema of the whole language, the top level's keys at its own top.
fn schema() -> Value {
    let mut schema = weir_config::json_schema(&crate::spec::ROOT);
    // Editors and people look for the keys at the top, so the reference to the root table is replaced by it.
    let root = schema["$defs"].as_object_mut().and_then(|defs| defs.shift_remove(crate::spec::ROOT.name));
    if let (Some(Value::Object(root)), Some(top)) = (root, schema.as_object_mut()) {
        top.shift_remove("$ref");
        let defs = top.shift_remove("$defs");
        top.extend(root);
        top.extend(defs.map(|defs| ("$defs".to_owned(), defs)));
    }
    schema
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_key_of_the_language_is_at_the_top_and_every_reference_leads_somewhere() {
        let schema = schema();
        for key in crate::spec::ROOT.keys {
            assert!(schema["properties"][key.name].is_object(), "{}", key.name);
        }
        let text = schema.to_string();
        for name in text.split("#/$defs/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(schema["$defs"][name].is_object(), "{name}");
        }
    }

    /// A file as JSON, with the types that YAML gives its plain scalars.
    fn json(node: &weir_config::Node) -> Value {
        if let Some(entries) = node.entries() {
            return entries.iter().map(|entry| (entry.name().to_owned(), json(&entry.value))).collect();
        }
        if let Some(items) = node.items() {
            return items.iter().map(json).collect();
        }
        match (node.is_null(), node.boolean(), node.integer()) {
            (true, ..) => Value::Null,
            (_, Some(value), _) => value.into(),
            (.., Some(value)) => value.into(),
            _ => node.text().into(),
        }
    }

    fn is_valid(path: &Path) -> bool {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        let text = std::fs::read(path).unwrap();
        let problems = weir_config::Problems::new();
        let document = weir_config::load_bytes("t", &text, &crate::spec::ROOT, &problems);
        let mut file = json(&document.root);
        // Without its parts, a file that includes others may lack what is required.
        file.as_object_mut().unwrap().entry("listeners").or_insert(serde_json::json!({}));
        validator.is_valid(&file)
    }

    #[test]
    fn the_schema_takes_what_check_takes() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut count = 0;
        for folder in ["tests/config/good", "../../examples"] {
            for entry in std::fs::read_dir(root.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "yaml") {
                    assert!(is_valid(&path), "{}", path.display());
                    count += 1;
                }
            }
        }
        assert!(count >= 12);
    }

    #[test]
    fn the_schema_refuses_what_it_can_see() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
        for name in [
            "unknown_keys",
            "listener_kinds",
            "actions",
            "wrong_types",
            "timeouts_limits",
            "log",
            "unknown_policy",
            "endpoints",
        ] {
            assert!(!is_valid(&folder.join(name).with_extension("yaml")), "{name}");
        }
    }
}
