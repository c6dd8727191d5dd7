//! The pages under `docs/` against the sources: what they name exists, and what exists is named.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).expect("the page stands in the tree")
}

/// All product sources below `folder`, without files of tests.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the tree can be listed") {
        let path = entry.expect("the tree can be listed").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() && !["tests", "weir-testkit", "target"].contains(&&*name) {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).expect("sources are UTF-8");
            let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            found.push(product.to_owned());
        }
    }
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn each_bound_of_the_architecture_page_is_a_constant_where_the_page_says() {
    let page = page("architecture.md");
    let is_constant = |word: &str| {
        word.len() > 3 && word.contains('_') && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    let mut looked_at = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        for part in row.split(';') {
            let files: Vec<&str> = quoted(part).filter(|word| word.ends_with(".rs")).collect();
            for name in quoted(part).filter(|word| is_constant(word)) {
                let defines = |file: &&&str| {
                    let text = fs::read_to_string(root().join("crates").join(**file)).unwrap_or_default();
                    text.contains(&format!("const {name}: "))
                };
                assert!(files.iter().find(defines).is_some(), "`{name}` is not in {files:?}");
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 30, "only {looked_at} bounds were found on the page");
}

#[test]
fn each_event_has_a_row_that_says_what_to_do() {
    let page = page("operations.md");
    let mut texts = Vec::new();
    sources(&root().join("crates"), &mut texts);
    let mut names = Vec::new();
    for text in &texts {
        for call in text.split(".event(").skip(1) {
            // `log.event(Level::Info, "name", …)`, whatever the line breaks.
            let start = call.get(..120.min(call.len())).unwrap_or_default();
            if start.contains("Level::") {
                names.extend(start.split('"').nth(1).map(str::to_owned));
            }
        }
    }
    assert!(names.len() >= 10, "only {names:?} were found");
    for name in names {
        assert!(page.contains(&format!("| `{name}` | ")), "no row for the event {name}");
    }
}

#[test]
fn each_metric_family_has_a_row() {
    let page = page("metrics.md");
    let mut texts = Vec::new();
    sources(&root().join("crates"), &mut texts);
    let mut count = 0;
    for word in texts.iter().flat_map(|text| text.split('"').skip(1).step_by(2)) {
        let is_family = (word.starts_with("weir_") || word.starts_with("process_"))
            && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            && word.matches('_').count() > 1;
        if is_family {
            assert!(page.contains(&format!("`{word}`")), "no row for {word}");
            count += 1;
        }
    }
    assert!(count > 25, "only {count} families were found");
}
