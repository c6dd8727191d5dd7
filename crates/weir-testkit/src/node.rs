use std::fs::File;
use std::path::Path;
use std::process::Command;

/// Runs a script in Node with the packages of `tests/npm`, and answers what it printed, as JSON.
///
/// # Panics
///
/// When `scripts/test` has not installed the packages beside what Cargo built, when the script fails, and when what it
/// prints is no JSON.
pub fn node(script: impl AsRef<Path>, arguments: &[&str]) -> serde_json::Value {
    let script = script.as_ref();
    let output = node_command(script, arguments).output().expect("node is installed by scripts/test");
    let printed = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&printed).unwrap_or_else(|error| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        panic!("{} {arguments:?}: {error}: {printed}{complaint}", script.display())
    })
}

/// The command that runs a script in Node with the packages of `tests/npm`.
///
/// # Panics
///
/// When `scripts/test` has not installed the packages beside what Cargo built, or there is no such script.
pub fn node_command(script: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let script = script.as_ref();
    let test = std::env::current_exe().expect("a test has a path");
    let packages =
        test.ancestors().map(|folder| folder.join("npm")).find(|path| path.join("node_modules").exists());
    // A script that is read from standard input finds its packages in the folder where it runs.
    let mut command = Command::new("node");
    command
        .current_dir(packages.expect("the packages of the tests, installed by scripts/test"))
        .args(["--input-type=module", "-"])
        .args(arguments)
        .stdin(File::open(script).unwrap_or_else(|error| panic!("{}: {error}", script.display())));
    command
}
