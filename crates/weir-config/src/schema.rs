use serde_json::{Map, Value as Json, json};

use crate::{Key, Object, Shape};

/// A scalar with a variable in it is checked only after expansion.
const VARIABLE: &str = r"\$\{";

/// The JSON Schema (draft 2020-12) of a configuration file whose top level is `root`.
pub fn json_schema(root: &'static Object) -> Json {
    let mut defs = Map::new();
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": root.name,
        "$ref": format!("#/$defs/{}", root.name),
    });
    define(root, &mut defs);
    schema["$defs"] = Json::Object(defs);
    schema
}

fn define(table: &'static Object, defs: &mut Map<String, Json>) {
    if defs.contains_key(table.name) {
        return;
    }
    // Claimed before its keys are walked: tables may hold themselves.
    defs.insert(table.name.to_owned(), Json::Null);
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in table.keys {
        let schema = property(key, defs);
        for alias in key.aliases {
            properties.insert((*alias).to_owned(), schema.clone());
        }
        properties.insert(key.name.to_owned(), schema);
        if key.required && key.aliases.is_empty() {
            required.push(key.name);
        }
    }
    let mut object = json!({
        "title": table.name,
        "description": table.doc,
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    if !table.exactly_one.is_empty() {
        object["oneOf"] = table.exactly_one.iter().map(|name| json!({ "required": [name] })).collect();
    }
    defs.insert(table.name.to_owned(), object);
}

fn property(key: &'static Key, defs: &mut Map<String, Json>) -> Json {
    let mut schema = shape(&key.shape, defs);
    let description = match key.shape.range() {
        range if range.is_empty() => key.doc.to_owned(),
        range => format!("{} Range: {range}.", key.doc),
    };
    schema["description"] = json!(description);
    if let Some(default) = key.default {
        let value = match key.shape {
            Shape::Bool | Shape::Integer { .. } => serde_json::from_str(default).unwrap_or(json!(default)),
            _ => json!(default),
        };
        schema["default"] = value;
    }
    schema
}

fn shape(of: &'static Shape, defs: &mut Map<String, Json>) -> Json {
    let or_variable = |mut shapes: Vec<Json>| {
        shapes.push(json!({ "type": "string", "pattern": VARIABLE }));
        json!({ "anyOf": shapes })
    };
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": format!("{pattern}|{VARIABLE}") });
    match of {
        Shape::Text | Shape::Path | Shape::Address => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Bool => or_variable(vec![json!({ "type": "boolean" })]),
        Shape::OnOff => or_variable(vec![json!({ "type": "boolean" }), json!({ "enum": ["on", "off"] })]),
        Shape::Off => json!({ "enum": ["off", false] }),
        Shape::Integer { min, max } => {
            or_variable(vec![json!({ "type": "integer", "minimum": min, "maximum": max })])
        }
        Shape::Duration { off_allowed, .. } => {
            let written = pattern("^(0|([0-9]+(ms|s|m|h|d))+)$");
            let mut shapes = vec![written, json!({ "const": 0 })];
            if *off_allowed {
                shapes.push(json!({ "enum": ["off", false] }));
            }
            json!({ "anyOf": shapes })
        }
        Shape::Size { .. } => {
            let written = pattern("^[0-9]+ *([KMGT]iB|[KMG]B|B)?$");
            json!({ "anyOf": [written, { "type": "integer", "minimum": 0 }] })
        }
        Shape::Percent => pattern("^[0-9]{1,3}(\\.[0-9]{1,2})? *%$"),
        Shape::Enum(words) => or_variable(vec![json!({ "enum": words })]),
        Shape::Object(table) => {
            define(table, defs);
            json!({ "$ref": format!("#/$defs/{}", table.name) })
        }
        Shape::List(item) => json!({ "type": "array", "items": shape(item, defs) }),
        Shape::OneOrMany(item) => {
            let item = shape(item, defs);
            json!({ "anyOf": [item.clone(), { "type": "array", "items": item }] })
        }
        Shape::Map(value) => {
            json!({ "type": ["object", "null"], "additionalProperties": shape(value, defs) })
        }
        Shape::Names => {
            json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
        }
        Shape::Secret => json!({ "anyOf": [
            { "type": "string" },
            { "type": "object", "properties": { "file": { "type": "string" } },
              "required": ["file"], "additionalProperties": false },
            { "type": "object", "properties": { "env": { "type": "string" } },
              "required": ["env"], "additionalProperties": false },
        ] }),
        Shape::Any => json!({}),
        Shape::OneOf(shapes) => {
            json!({ "anyOf": shapes.iter().map(|one| shape(one, defs)).collect::<Vec<_>>() })
        }
        Shape::Kind(rows) => {
            let mut properties = Map::new();
            for row in rows() {
                let mut schema = shape(&row.shape, defs);
                schema["description"] = json!(row.doc);
                properties.insert(row.name.to_owned(), schema);
            }
            json!({ "type": "object", "properties": properties, "additionalProperties": false,
                    "minProperties": 1, "maxProperties": 1 })
        }
    }
}
