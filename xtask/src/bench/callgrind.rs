//! Counting instructions, for differences that a shared machine would drown.

use std::process::Command;

use anyhow::{Context, ensure};

use crate::install;

/// Instructions that a program executes from start to end.
pub(super) fn instructions(program: &str, arguments: &[String]) -> anyhow::Result<u64> {
    let mut command = Command::new(install::VALGRIND.path());
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", program]).args(arguments);
    let output = command.output().context("cannot run valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind failed: {text}");
    collected(&text).with_context(|| format!("valgrind counted nothing: {text}"))
}

fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.split_once("Collected :"))?.1;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_the_closing_lines() {
        let text = "==12== Events    : Ir\n==12== Collected : 168221\n==12== \n";
        assert_eq!(collected(text), Some(168_221));
        assert_eq!(collected("==12== error"), None);
    }
}
