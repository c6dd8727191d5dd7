//! `weir check`: everything that `run` checks, without a port or a name resolved.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use weir_net::tls::certificates::Shelf;

use super::CheckArgs;
use crate::plan::RootPlan;
use crate::spec::{self, Loaded};

/// Prints every problem, then one line; 0 for good, 2 for bad.
pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    let loaded = spec::read(&args.file, &weir_provider::FileReader, &Shelf::default());
    let file = args.file.display().to_string();
    let limit = weir_net::raise_descriptor_limit().soft;
    let advice: Vec<String> =
        loaded.plan.iter().flat_map(|plan| spec::descriptor_warnings(limit, plan)).collect();
    let status = ExitCode::from(if loaded.plan.is_some() { super::DONE } else { super::BAD });
    if args.json {
        super::print(&format!("{:#}\n", loaded.problems.to_json()));
        return status;
    }
    let mut err = std::io::stderr().lock();
    let colours = err.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut text = problems(&loaded, &file, colours);
    for advice in advice {
        text.push_str(&format!("warning: {advice}\n"));
    }
    // Whoever closed standard error does not want to read it.
    let _closed = err.write_all(text.as_bytes());
    if let Some(plan) = &loaded.plan {
        super::print(&summary(&file, plan));
    }
    status
}

fn problems(loaded: &Loaded, file: &str, colours: bool) -> String {
    let problems = &loaded.problems;
    match (problems.errors(), problems.warnings()) {
        (0, 0) => String::new(),
        (0, _) => problems.render(colours) + "\n",
        _ => format!("{}: {file} cannot be used\n", problems.render(colours)),
    }
}

fn summary(file: &str, plan: &RootPlan) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let listeners = count(plan.listeners.len(), "listener");
    let routes = count(plan.routes.len(), "route");
    let upstreams = count(plan.upstreams.len(), "upstream");
    format!("{file}: {listeners}, {routes}, {upstreams}: good\n")
}
