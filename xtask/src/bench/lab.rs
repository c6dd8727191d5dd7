//! Where a case runs: the tools, the folders, the cores and the origin.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use super::contestant::Kind;
use super::process::{Companion, Cores};
use super::{Args, Case};
use crate::install;

/// A running origin, and room for the contestants' files. Everything in it ends with it.
pub(super) struct Lab {
    folder: TempDir,
    pub(super) origin: SocketAddr,
    pub(super) gateway_cores: Cores,
    pub(super) load_cores: Cores,
    _origin: Companion,
}

impl Lab {
    pub(super) fn open(case: Case, args: &Args) -> anyhow::Result<Self> {
        let both = Cores(format!("{},{}", args.gateway_core, args.load_core));
        let (gateway_cores, load_cores) = match case {
            Case::TwoWorkers => (both.clone(), both),
            _ => (Cores(args.gateway_core.to_string()), Cores(args.load_core.to_string())),
        };
        let mut origin = Companion::start(&load_cores, &["origin"])?;
        let line = origin.line()?;
        let address =
            line.strip_prefix("listening on ").context("the origin did not say where it listens")?;
        Ok(Self {
            folder: temporary_folder()?,
            origin: address.parse()?,
            gateway_cores,
            load_cores,
            _origin: origin,
        })
    }

    /// A new empty folder for a contestant's files, in memory where the system has such a place.
    pub(super) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }
}

/// Checks and brings what the cases need: free cores, packages, Weir's binary.
pub(super) fn prepare(args: &Args) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores >= 2, "two cores are needed, one for the gateway and one for the load");
    let wants = |kind| args.only.is_empty() || args.only.contains(&kind);
    let mut tools = vec![&install::WRK];
    if wants(Kind::Nginx) {
        tools.push(&install::NGINX);
    }
    if wants(Kind::Haproxy) {
        tools.push(&install::HAPROXY);
    }
    if args.cases.is_empty() || args.cases.contains(&Case::Routes) {
        tools.push(&install::VALGRIND);
    }
    install::install(&tools)?;
    if wants(Kind::Weir) && !args.no_build {
        cargo(&["build", "--release", "--package", "weir"])?;
    }
    crate::hold::raise_descriptor_limit()
}

/// Runs cargo in the workspace.
pub(super) fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    println!("cargo {}", arguments.join(" "));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let status = Command::new(cargo).args(arguments).current_dir(workspace()?).status()?;
    ensure!(status.success(), "`cargo {}` failed", arguments.join(" "));
    Ok(())
}

/// A file below cargo's target folder.
pub(super) fn built(path: &str) -> anyhow::Result<String> {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => workspace()?.join(folder),
        None => workspace()?.join("target"),
    };
    let file = target.join(path);
    ensure!(file.exists(), "{path} is not there; build it first");
    Ok(file.to_str().context("the target folder's path is not UTF-8")?.to_owned())
}

/// The folder `bench` of the workspace.
pub(super) fn bench_folder() -> anyhow::Result<PathBuf> {
    Ok(workspace()?.join("bench"))
}

/// The workspace's folder: cargo names the package's when it runs a program.
pub(super) fn workspace() -> anyhow::Result<PathBuf> {
    let package =
        std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    Path::new(&package).parent().map(Path::to_owned).context("xtask has no parent folder")
}

/// A port that was free a moment ago.
pub(super) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// In memory if possible, so that an access log costs the same for all and no disk is measured.
fn temporary_folder() -> anyhow::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.context("cannot make a temporary folder")
}
