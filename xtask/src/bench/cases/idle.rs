//! Resident memory of what lies idle: connections kept alive, relayed connections, UDP sessions.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::bench::contestant::Contestant;
use crate::bench::lab::Lab;
use crate::bench::process::Companion;
use crate::bench::report::{Report, need};
use crate::bench::{Args, Case, Entry, Kind};

/// What is held, and what of it is asked.
struct Question {
    count: usize,
    /// How `hold` uses it.
    usage: &'static str,
    /// What it is called.
    noun: &'static str,
    /// Most resident bytes each; none where the better peer is the measure.
    bytes_max: Option<f64>,
}

impl Question {
    fn of(case: Case, args: &Args) -> Self {
        let (count, usage, noun, bytes_max) = match case {
            Case::TlsIdle => (5_000, "tls-get", "connection", None),
            Case::TcpIdle => (9_000, "echo", "connection", Some(2_560.0)),
            Case::UdpSessions => (15_000, "datagram", "session", Some(1_536.0)),
            _ => (10_000, "get", "connection", Some(1_536.0)),
        };
        Self { count: args.idle.unwrap_or(count), usage, noun, bytes_max }
    }
}

/// Connections opened, used and closed before the first reading, so that what is built once is there.
const WARM_UP: usize = 200;

/// How long connections lie idle before the second reading: buffers may be given back with a delay.
const SETTLE: Duration = Duration::from_secs(3);

pub(in crate::bench) fn run(case: Case, args: &Args) -> anyhow::Result<()> {
    let Question { count, usage, noun, bytes_max } = Question::of(case, args);
    let (plural, each) = (format!("{noun}s"), format!("bytes/{noun}"));
    let columns = ["contestant", &plural, "before KiB", "after KiB", &each, "still alive"];
    let mut report = Report::new(case, "contestant,count,before_bytes,after_bytes,alive", &columns);
    let entries = args.entries(case);
    need(!entries.is_empty(), "a contestant")?;
    let lab = Lab::open(case, args)?;
    let (mut ours, mut theirs) = (None, None);
    for entry in entries {
        let label = entry.label.clone();
        println!("{label}: {count} {plural}");
        let Reading { before, after, alive } = measure(&lab, case, &entry, count, usage)?;
        let each = after.saturating_sub(before) as f64 / count as f64;
        report.raw(format!("{label},{count},{before},{after},{alive}"));
        let [before, after] = [before / 1024, after / 1024].map(|kib| kib.to_string());
        report.row(vec![label, count.to_string(), before, after, format!("{each:.0}"), alive.to_string()]);
        if entry.kind == Kind::Weir {
            ours = Some(each);
            if let Some(bytes_max) = bytes_max {
                report.verdict(format!("resident bytes per idle {noun}"), each, bytes_max);
            }
            report.verdict(format!("idle {plural} lost"), count as f64 - alive as f64, 0.0);
        } else {
            theirs = Some(theirs.map_or(each, |other: f64| other.min(each)));
        }
    }
    if let (None, Some(ours), Some(theirs)) = (bytes_max, ours, theirs) {
        report.verdict(format!("resident bytes per idle {noun}, weir / better peer"), ours / theirs, 1.0);
    }
    report.finish(args)
}

struct Reading {
    before: u64,
    after: u64,
    /// Connections that answered a second request after the reading.
    alive: u64,
}

fn measure(lab: &Lab, case: Case, entry: &Entry, count: usize, usage: &str) -> anyhow::Result<Reading> {
    let contestant = Contestant::start(lab, case, entry)?;
    let warmed = Held::open(lab, &contestant, WARM_UP, usage)?;
    ensure!(warmed.close()? == WARM_UP as u64, "{} lost connections of the warm-up", contestant.label);
    std::thread::sleep(SETTLE);
    let before = contestant.resident_bytes()?;
    let held = Held::open(lab, &contestant, count, usage)?;
    std::thread::sleep(SETTLE);
    let after = contestant.resident_bytes()?;
    Ok(Reading { before, after, alive: held.close()? })
}

/// Connections held by a process of their own.
pub(super) struct Held {
    holder: Companion,
}

impl Held {
    /// Opens `count` connections or sessions, each used once in the way of `hold --kind`; returns when all are open.
    pub(super) fn open(
        lab: &Lab,
        contestant: &Contestant,
        count: usize,
        usage: &str,
    ) -> anyhow::Result<Self> {
        let (to, count_text) = (contestant.address.to_string(), count.to_string());
        let mut arguments = vec!["hold", "--to", &to, "--count", &count_text, "--kind", usage];
        let authority = lab.certificates.authority();
        if usage == "tls-get" {
            arguments.extend(["--authority", authority.to_str().context("a folder's path is not UTF-8")?]);
        }
        let mut holder = Companion::start(&lab.load_cores, &arguments)?;
        let open = number(&holder.line()?, "open")?;
        ensure!(open == count as u64, "only {open} of {count} connections opened");
        Ok(Self { holder })
    }

    /// Uses every connection once more and closes them: how many still worked.
    pub(super) fn close(mut self) -> anyhow::Result<u64> {
        self.holder.end_input();
        number(&self.holder.line()?, "alive")
    }
}

fn number(line: &str, name: &str) -> anyhow::Result<u64> {
    let report: Value = serde_json::from_str(line)?;
    report[name].as_u64().with_context(|| format!("no `{name}` in {line}"))
}
