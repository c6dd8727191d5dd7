use crate::{Key, Object, Shape};

/// The reference page in Markdown: a section for each table that `root` reaches, in the order they are met.
pub fn reference(root: &'static Object) -> String {
    let mut tables: Vec<&'static Object> = vec![root];
    let mut out = String::new();
    let mut next = 0;
    while let Some(table) = tables.get(next).copied() {
        next += 1;
        out.push_str(&format!("## {}\n\n{}\n\n", table.name, table.doc));
        if !table.exactly_one.is_empty() {
            out.push_str(&format!("Exactly one of `{}` must be there.\n\n", table.exactly_one.join("`, `")));
        }
        out.push_str("| key | type | default | range | meaning |\n|---|---|---|---|---|\n");
        for key in table.keys {
            out.push_str(&row(key));
            reach(&key.shape, &mut tables);
        }
        out.push('\n');
    }
    out
}

fn row(key: &Key) -> String {
    let mut name = format!("`{}`", key.name);
    for alias in key.aliases {
        name.push_str(&format!(", `{alias}`"));
    }
    let default = match (key.default, key.required) {
        (Some(default), _) => format!("`{}`", cell(default)),
        (None, true) => "required".to_owned(),
        // What a section, or an item of it, defaults to stands in its own table.
        (None, false) if leads_on(&key.shape) => String::new(),
        (None, false) => "none".to_owned(),
    };
    format!(
        "| {name} | {} | {default} | {} | {} |\n",
        cell(&kind(&key.shape)),
        key.shape.range(),
        cell(key.doc)
    )
}

fn leads_on(shape: &Shape) -> bool {
    match shape {
        Shape::Object(_) | Shape::Kind(_) => true,
        Shape::List(inner) | Shape::OneOrMany(inner) | Shape::Map(inner) => leads_on(inner),
        Shape::OneOf(shapes) => shapes.iter().any(leads_on),
        _ => false,
    }
}

fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Object(table) => format!("[{0}](#{0})", table.name),
        Shape::List(item) => format!("list of: {}", kind(item)),
        Shape::OneOrMany(item) => format!("one or a list of: {}", kind(item)),
        Shape::Map(value) => format!("named: {}", kind(value)),
        Shape::OneOf(shapes) => shapes.iter().map(kind).collect::<Vec<_>>().join(" or "),
        Shape::Kind(rows) => {
            let names: Vec<_> = rows().iter().map(|row| format!("`{}`", row.name)).collect();
            format!("exactly one of {}", names.join(", "))
        }
        other => other.wanted(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn reach(shape: &'static Shape, tables: &mut Vec<&'static Object>) {
    match shape {
        Shape::Object(table) if !tables.iter().any(|known| known.name == table.name) => tables.push(table),
        Shape::List(inner) | Shape::OneOrMany(inner) | Shape::Map(inner) => reach(inner, tables),
        Shape::OneOf(shapes) => shapes.iter().for_each(|one| reach(one, tables)),
        Shape::Kind(rows) => rows().iter().for_each(|row| reach(&row.shape, tables)),
        _ => {}
    }
}
