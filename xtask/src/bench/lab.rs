//! Where a case runs: the tools, the folders, the cores and the origin.

use std::fs::Permissions;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::certificates::Certificates;
use super::load::iperf3;
use super::process::{Companion, Cores, Process};
use super::{Args, Case, Kind, Plane};
use crate::install::{self, Tool};

/// TCP ports of what stands behind, where every exchange has a connection of its own: a proxy uses one port of its own
/// for each, and the kernel has some 28,000 for each address it connects to.
const CONNECT_PORTS: usize = 8;

/// What stands behind the contestants, running, and room for their files. Everything in it ends with it.
pub(super) struct Lab {
    folder: TempDir,
    /// Where to pass things on to; never empty.
    pub(super) origins: Vec<SocketAddr>,
    pub(super) gateway_cores: Cores,
    pub(super) load_cores: Cores,
    pub(super) certificates: Certificates,
    _behind: Behind,
}

/// Held for its end.
enum Behind {
    Companion { _companion: Companion },
    Iperf3 { _server: Process },
}

impl Lab {
    pub(super) fn open(case: Case, args: &Args) -> anyhow::Result<Self> {
        let both = Cores(format!("{},{}", args.gateway_core, args.load_core));
        let (gateway_cores, load_cores) = match case {
            Case::TwoWorkers => (both.clone(), both),
            _ => (Cores(args.gateway_core.to_string()), Cores(args.load_core.to_string())),
        };
        let (origins, behind) = start_behind(case, &load_cores)?;
        let folder = temporary_folder()?;
        let certificates = Certificates::make(folder.path(), case)?;
        Ok(Self { folder, origins, gateway_cores, load_cores, certificates, _behind: behind })
    }

    /// A new empty folder for a contestant's files, in memory where the system has such a place.
    pub(super) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }
}

fn start_behind(case: Case, cores: &Cores) -> anyhow::Result<(Vec<SocketAddr>, Behind)> {
    if matches!(case, Case::TcpBulk | Case::TcpBulkMany) {
        let address = free_address()?;
        return Ok((vec![address], Behind::Iperf3 { _server: iperf3::server(cores, address)? }));
    }
    if case.plane().is_http() {
        let mut origin = Companion::start(cores, &[if case == Case::H2Grpc { "grpc" } else { "origin" }])?;
        let line = origin.line()?;
        let address =
            line.strip_prefix("listening on ").context("the origin did not say where it listens")?;
        return Ok((vec![address.parse()?], Behind::Companion { _companion: origin }));
    }
    let ports = if case == Case::TcpConnect { CONNECT_PORTS } else { 1 };
    let mut echo = Companion::start(cores, &["echo", "--ports", &ports.to_string()])?;
    let listening: Value = serde_json::from_str(&echo.line()?)?;
    let origins = match case.plane() {
        Plane::Udp => vec![serde_json::from_value(listening["udp"].clone())?],
        _ => serde_json::from_value(listening["tcp"].clone())?,
    };
    Ok((origins, Behind::Companion { _companion: echo }))
}

/// Checks and brings what the cases need: free cores, packages, Weir's binary.
pub(super) fn prepare(cases: &[Case], args: &Args) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores >= 2, "two cores are needed, one for the gateway and one for the load");
    install::install(&tools(cases, args))?;
    if args.wants(Kind::Weir) && !args.no_build {
        cargo(&["build", "--release", "--package", "weir"])?;
    }
    crate::hold::raise_descriptor_limit()
}

fn tools(cases: &[Case], args: &Args) -> Vec<&'static Tool> {
    let any = |wanted: fn(Case) -> bool| cases.iter().any(|&case| wanted(case));
    let wanted = [
        (&install::WRK, any(|case| matches!(case.plane(), Plane::Http1 | Plane::Tls))),
        (&install::H2LOAD, any(|case| case.plane() == Plane::Http2)),
        (&install::IPERF3, any(|case| matches!(case, Case::TcpBulk | Case::TcpBulkMany))),
        (&install::VALGRIND, cases.contains(&Case::Routes)),
        (&install::NGINX, args.wants(Kind::Nginx)),
        (&install::NGINX_STREAM, args.wants(Kind::Nginx) && any(|case| !case.plane().is_http())),
        (&install::HAPROXY, args.wants(Kind::Haproxy)),
    ];
    wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(tool, _)| tool).collect()
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
    let folder = folder.context("cannot make a temporary folder")?;
    // Some contestants run, or have workers that run, as a user without privileges.
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    Ok(folder)
}
