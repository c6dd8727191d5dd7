//! What a measurement must say about where it was made; nothing that names the machine itself.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use anyhow::Context;
use clap::ValueEnum;
use sha1::{Digest, Sha1};

use super::{Args, Kind, Plane, lab};
use crate::install;

/// The time as the names of run folders have it: `2026-11-21T0405`, UTC.
pub(super) fn now() -> anyhow::Result<String> {
    first_line("date", &["-u", "+%Y-%m-%dT%H%M"])
}

/// Kernel, processor, versions, settings of the run and fingerprints of the configurations, as a Markdown list.
pub(super) fn describe(plane: Plane, args: &Args) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut item =
        |name: &str, value: String| writeln!(text, "- {name}: {value}").expect("a String takes all");
    item("kernel", first_line("uname", &["-sr"])?);
    item("processor", processor()?);
    item("load average at the end", fs::read_to_string("/proc/loadavg")?.trim().to_owned());
    item("rustc", first_line("rustc", &["--version"])?);
    item("revision", revision()?);
    item("nginx", version(&install::NGINX.path(), "-v"));
    item("haproxy", version(&install::HAPROXY.path(), "-v"));
    match plane {
        Plane::Http1 => item("wrk", version(&install::WRK.path(), "-v")),
        Plane::Tls => {
            item("wrk", version(&install::WRK.path(), "-v"));
            item("openssl", version("openssl", "version"));
        }
        Plane::Http2 => item("h2load", version(&install::H2LOAD.path(), "--version")),
        Plane::Tcp => {
            item("iperf3", version(&install::IPERF3.path(), "--version"));
            item("congestion control", setting("net/ipv4/tcp_congestion_control")?);
            item("pages in pipes of an unprivileged user", setting("fs/pipe-user-pages-soft")?);
        }
        Plane::Udp => {}
    }
    item("rounds", args.rounds.to_string());
    item("seconds", args.seconds.to_string());
    item("gateway core", args.gateway_core.to_string());
    item("load core", args.load_core.to_string());
    for kind in Kind::value_variants() {
        let Some(name) = kind.template(plane) else { continue };
        let template = fs::read(lab::bench_folder()?.join(name))?;
        item(name, format!("SHA-1 {}", hexadecimal(&Sha1::digest(template))));
    }
    Ok(text)
}

fn setting(name: &str) -> anyhow::Result<String> {
    Ok(fs::read_to_string(format!("/proc/sys/{name}"))?.trim().to_owned())
}

fn processor() -> anyhow::Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let models: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("model name")).collect();
    let model = models.first().map_or("unknown", |model| model.trim_start_matches([' ', '\t', ':']));
    Ok(format!("{model}, {} cores", std::thread::available_parallelism()?))
}

/// The commit, and whether files differ from it.
fn revision() -> anyhow::Result<String> {
    let folder = lab::workspace()?;
    let folder = folder.to_str().context("the workspace's path is not UTF-8")?;
    first_line("git", &["-C", folder, "describe", "--always", "--dirty"])
}

/// Programs differ in which stream they tell their version on.
fn version(program: &str, argument: &str) -> String {
    let Ok(output) = Command::new(program).arg(argument).output() else { return "not installed".to_owned() };
    let text = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&text).lines().next().unwrap_or("").to_owned();
    line.split(" Copyright").next().unwrap_or_default().to_owned()
}

fn first_line(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    Ok(String::from_utf8(output.stdout)?.lines().next().unwrap_or("unknown").to_owned())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
