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
}
