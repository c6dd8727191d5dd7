//! What a case found: printed, and kept under `bench/runs`.

use std::fmt::{self, Write};
use std::fs;

use anyhow::{Context, ensure};

use super::{Args, Case, lab, machine};

/// A number and what it must not exceed.
pub(super) struct Verdict {
    pub(super) what: String,
    pub(super) value: f64,
    pub(super) limit: f64,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.value <= self.limit { "PASS" } else { "short" };
        write!(f, "{word}: {} is {:.3}, at most {}", self.what, self.value, self.limit)
    }
}

/// The findings of one case.
pub(super) struct Report {
    case: Case,
    /// The lines of `raw.csv`, its header first.
    raw: Vec<String>,
    table: Vec<Vec<String>>,
    verdicts: Vec<Verdict>,
    notes: Vec<String>,
}

impl Report {
    /// `raw` and `table` are the headers of the two.
    pub(super) fn new(case: Case, raw: &str, table: &[&str]) -> Self {
        let table = vec![table.iter().map(|&cell| cell.to_owned()).collect()];
        Self { case, raw: vec![raw.to_owned()], table, verdicts: Vec::new(), notes: Vec::new() }
    }

    pub(super) fn raw(&mut self, line: String) {
        self.raw.push(line);
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.table.push(cells);
    }

    pub(super) fn verdict(&mut self, what: impl Into<String>, value: f64, limit: f64) {
        self.verdicts.push(Verdict { what: what.into(), value, limit });
    }

    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Prints the findings, and keeps them unless told not to.
    pub(super) fn finish(self, args: &Args) -> anyhow::Result<()> {
        let findings = self.findings();
        println!("\n{findings}");
        if args.scratch {
            return Ok(());
        }
        let name = format!("{}-{}", machine::now()?, self.case.name());
        let folder = lab::bench_folder()?.join("runs").join(&name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make bench/runs/{name}"))?;
        let machine = machine::describe(self.case.plane(), args)?;
        let summary = format!("# {}\n\n{findings}\n## Machine and versions\n\n{machine}", self.case.name());
        fs::write(folder.join("summary.md"), summary)?;
        fs::write(folder.join("raw.csv"), self.raw.join("\n") + "\n")?;
        println!("kept in bench/runs/{name}");
        Ok(())
    }

    fn findings(&self) -> String {
        let mut text = render(&self.table);
        text.push('\n');
        for verdict in &self.verdicts {
            writeln!(text, "- {verdict}").expect("a String takes all");
        }
        for note in &self.notes {
            writeln!(text, "- note: {note}").expect("a String takes all");
        }
        text
    }
}

/// A Markdown table whose columns line up.
fn render(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |cell: &dyn Fn(usize, usize) -> String| {
        let cells: Vec<_> = widths.iter().enumerate().map(|(column, &width)| cell(column, width)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        text += &line(&|column, width| format!("{:<width$}", row.get(column).map_or("", String::as_str)));
        if index == 0 {
            text += &line(&|_, width| "-".repeat(width));
        }
    }
    text
}

/// Fails when a case lacks the contestants it compares.
pub(super) fn need(present: bool, what: &str) -> anyhow::Result<()> {
    ensure!(present, "this case needs {what}; --only leaves it out");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_at_its_limit_passes() {
        let verdict = |value| Verdict { what: "ratio".into(), value, limit: 0.8 }.to_string();
        assert_eq!(verdict(0.8), "PASS: ratio is 0.800, at most 0.8");
        assert_eq!(verdict(0.801), "short: ratio is 0.801, at most 0.8");
    }

    #[test]
    fn columns_line_up_by_characters() {
        let rows = [vec!["a".into(), "µs".into()], vec!["long".into()]];
        assert_eq!(render(&rows), "| a    | µs |\n| ---- | -- |\n| long |    |\n");
    }
}
