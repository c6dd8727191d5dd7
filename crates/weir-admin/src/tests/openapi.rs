//! The published description and the server say the same.

use std::collections::BTreeSet;
use std::path::Path;

use crate::resource::ROWS;

/// Method and path of every operation in the file, by its indentation.
fn described(text: &str) -> BTreeSet<(String, String)> {
    let paths = text.split("\npaths:\n").nth(1).expect("a section of paths");
    let mut found = BTreeSet::new();
    let mut path = String::new();
    for line in paths.lines().take_while(|line| line.starts_with(' ')) {
        let word = line.trim_end().trim_end_matches(':').trim_start();
        match line.len() - line.trim_start().len() {
            2 => path = word.to_owned(),
            4 => drop(found.insert((word.to_owned(), path.clone()))),
            _ => {}
        }
    }
    found
}

#[test]
fn the_openapi_file_describes_every_resource_and_no_other() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let served: BTreeSet<(String, String)> = ROWS
        .iter()
        .map(|row| (if row.is_post { "post" } else { "get" }.to_owned(), row.path.to_owned()))
        .collect();
    assert_eq!(described(&text), served);
}
