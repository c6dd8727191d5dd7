//! Resident memory of idle keep-alive connections.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde_json::Value;

use crate::bench::contestant::{Contestant, Kind};
use crate::bench::lab::Lab;
use crate::bench::process::Companion;
use crate::bench::report::Report;
use crate::bench::{Args, Case};

/// Most resident bytes per idle connection.
const BYTES_MAX: f64 = 1536.0;

/// Connections opened, used and closed before the first reading, so that what is built once is there.
const WARM_UP: usize = 200;

/// How long connections lie idle before the second reading: buffers may be given back with a delay.
const SETTLE: Duration = Duration::from_secs(3);

pub(in crate::bench) fn run(args: &Args) -> anyhow::Result<()> {
    let columns = ["contestant", "connections", "before KiB", "after KiB", "bytes/connection", "still alive"];
    let mut report =
        Report::new(Case::Idle, "contestant,connections,before_bytes,after_bytes,alive", &columns);
    let lab = Lab::open(Case::Idle, args)?;
    for &kind in Kind::value_variants() {
        if !args.only.is_empty() && !args.only.contains(&kind) {
            continue;
        }
        println!("{}: {} connections", kind.name(), args.idle);
        let reading = measure(&lab, kind, args.idle)?;
        let Reading { before, after, alive } = reading;
        let each = after.saturating_sub(before) as f64 / args.idle as f64;
        report.raw(format!("{},{},{before},{after},{alive}", kind.name(), args.idle));
        let sizes = [before / 1024, after / 1024].map(|kib| kib.to_string());
        let [before, after] = sizes;
        let (name, count) = (kind.name().to_owned(), args.idle.to_string());
        report.row(vec![name, count, before, after, format!("{each:.0}"), alive.to_string()]);
        if kind == Kind::Weir {
            report.verdict("resident bytes per idle connection", each, BYTES_MAX);
            report.verdict("idle connections lost", args.idle as f64 - alive as f64, 0.0);
        }
    }
    report.finish(args)
}

struct Reading {
    before: u64,
    after: u64,
    /// Connections that answered a second request after the reading.
    alive: u64,
}

fn measure(lab: &Lab, kind: Kind, count: usize) -> anyhow::Result<Reading> {
    let contestant = Contestant::start(lab, Case::Idle, kind, 1)?;
    let warmed = Held::open(lab, &contestant, WARM_UP, &[])?;
    ensure!(warmed.close()? == WARM_UP as u64, "{} lost connections of the warm-up", contestant.label);
    std::thread::sleep(SETTLE);
    let before = contestant.resident_bytes()?;
    let held = Held::open(lab, &contestant, count, &[])?;
    std::thread::sleep(SETTLE);
    let after = contestant.resident_bytes()?;
    Ok(Reading { before, after, alive: held.close()? })
}

/// Connections held by a process of their own.
pub(super) struct Held {
    holder: Companion,
}

impl Held {
    /// Opens `count` connections, each used once; returns when all are open.
    pub(super) fn open(
        lab: &Lab,
        contestant: &Contestant,
        count: usize,
        more: &[&str],
    ) -> anyhow::Result<Self> {
        let (to, count_text) = (contestant.address.to_string(), count.to_string());
        let arguments = [&["hold", "--to", &to, "--count", &count_text], more].concat();
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
