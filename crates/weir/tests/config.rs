//! Whole configurations against the real binary: each bad one with exactly its problems, each good one accepted;
//! the examples and the pages made from the tables too.
//!
//! `WEIR_BLESS=1 cargo test -p weir --test config` writes what is printed now; then read the difference.

#[path = "config/pairs.rs"]
mod pairs;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pairs::Copied;

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs the binary in a folder, so that places are printed without anybody's home.
fn weir(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(args).current_dir(folder).env("NO_COLOR", "1").output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the binary writes UTF-8")
}

/// The files of a folder with this extension, by name.
fn files(folder: &Path, extension: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry.expect("the folder can be listed").file_name().into_string().expect("names are UTF-8")
        })
        .filter(|name| name.ends_with(extension))
        .collect();
    names.sort();
    names
}

/// Compares, or writes when `WEIR_BLESS` is set; answers what differs.
fn compare(file: &Path, printed: &str) -> Option<String> {
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(file, printed).expect("the tree can be written");
    }
    let expected = std::fs::read_to_string(file).unwrap_or_default();
    (expected != printed).then(|| {
        format!("--- {} is not what is printed now; WEIR_BLESS=1 renews it\n{printed}", file.display())
    })
}

#[test]
fn each_bad_configuration_is_refused_with_exactly_its_problems() {
    let folder = folder("tests/config");
    let copied = Copied::configurations();
    let names = files(&folder, ".yaml");
    assert!(names.len() >= 40, "{} bad configurations", names.len());
    let mut wrong = Vec::new();
    for name in names {
        let output = weir(copied.path(), &["check", &name]);
        if output.status.code() != Some(2) || !output.stdout.is_empty() {
            wrong.push(format!("{name}: {:?} {}", output.status, text(&output.stdout)));
        }
        let expected = folder.join(&name).with_extension("problems.txt");
        wrong.extend(compare(&expected, &text(&output.stderr)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_good_configuration_is_accepted_with_exactly_its_warnings() {
    let folder = folder("tests/config/good");
    let copied = Copied::configurations();
    let mut wrong = Vec::new();
    for name in files(&folder, ".yaml") {
        let output = weir(&copied.path().join("good"), &["check", &name]);
        if output.status.code() != Some(0) {
            wrong.push(format!("{name}: {:?}", output.status));
        }
        // How many descriptors this machine allows is no matter of the configuration.
        let lines = text(&output.stderr);
        let lines = lines.lines().filter(|line| !line.contains("descriptor limit"));
        let printed: String =
            lines.map(|line| format!("{line}\n")).collect::<String>() + &text(&output.stdout);
        wrong.extend(compare(&folder.join(&name).with_extension("out.txt"), &printed));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_example_is_accepted() {
    let copied = Copied::examples();
    let names = files(copied.path(), ".yaml");
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let output = weir(copied.path(), &["check", &name]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("warning["), "{name}: {}", text(&output.stderr));
    }
}

#[test]
fn the_reference_page_is_what_the_tables_say() {
    let printed = text(&weir(&folder("."), &["reference"]).stdout);
    let wrong = compare(&folder("../../docs/reference.md"), &printed);
    assert!(
        wrong.is_none(),
        "docs/reference.md is stale; renew it: cargo run -- reference > docs/reference.md"
    );
}

#[test]
fn the_schema_is_what_the_tables_say_and_takes_the_good_configurations() {
    let printed = text(&weir(&folder("."), &["schema"]).stdout);
    let wrong = compare(&folder("../../docs/weir.schema.json"), &printed);
    assert!(
        wrong.is_none(),
        "docs/weir.schema.json is stale; renew it: cargo run -- schema > docs/weir.schema.json"
    );
}

#[test]
fn problems_are_printed_for_programs_too() {
    let output = weir(&folder("tests/config"), &["check", "--json", "unknown_upstream.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let problems: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(problems[0]["code"], "W0431");
    assert_eq!(problems[0]["line"], 5);
    assert_eq!(problems[0]["key"], "routes[0].forward");
}
