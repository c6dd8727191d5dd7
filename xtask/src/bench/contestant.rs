//! A gateway under test.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::entry::Entry;
use super::process::{Process, pinned, pinned_unprivileged};
use super::{Case, cpu, lab, probe, template};

/// How long a contestant may take to answer its first request.
const START_TIMEOUT: Duration = Duration::from_secs(15);

/// A running gateway; dropping it ends it.
pub(super) struct Contestant {
    /// Its name in reports.
    pub(super) label: String,
    pub(super) address: SocketAddr,
    /// Weir's admin address; the others do not use it.
    pub(super) admin: SocketAddr,
    pub(super) configuration: PathBuf,
    access_log: PathBuf,
    /// From its start to its first answer.
    pub(super) started_in: Duration,
    process: Process,
}

impl Contestant {
    /// Starts one and waits until a request has passed through it.
    pub(super) fn start(lab: &lab::Lab, case: Case, entry: &Entry) -> anyhow::Result<Self> {
        let (label, kind) = (entry.label.clone(), entry.kind);
        let folder = lab.folder(&label)?;
        let (address, admin) = (lab::free_address()?, lab::free_address()?);
        let configuration = folder.join("gateway.conf");
        if let Some(name) = kind.template(case.plane()) {
            let source = fs::read_to_string(lab::bench_folder()?.join(name))?;
            let values = [
                ("ADDRESS", address.to_string()),
                ("ADMIN", admin.to_string()),
                ("WORKERS", entry.workers.to_string()),
                ("DIR", text(&folder)?.to_owned()),
                ("CERTIFICATES", lab.certificates.folder()?),
            ];
            let filled =
                template::fill(&source, &[case.name(), case.plane().name(), &label], &values, &lab.origins)?;
            fs::write(&configuration, filled)?;
        }

        let pinned = if entry.unprivileged { pinned_unprivileged } else { pinned };
        let mut command = pinned(&lab.gateway_cores, &kind.program()?);
        command.args(kind.arguments(text(&configuration)?, text(&folder)?, address, lab.origins[0]));
        quiet(&mut command);
        let access_log = folder.join("access.log");
        let started = Instant::now();
        let process = Process::start(&mut command)?;
        let started_in = Duration::ZERO;
        let mut contestant = Self { label, address, admin, configuration, access_log, started_in, process };
        contestant.wait_until_ready(lab, case)?;
        contestant.started_in = started.elapsed();
        Ok(contestant)
    }

    pub(super) fn cpu_time(&self) -> anyhow::Result<cpu::Cpu> {
        cpu::time(self.process.id())
    }

    pub(super) fn resident_bytes(&self) -> anyhow::Result<u64> {
        cpu::resident_bytes(self.process.id())
    }

    /// Empties its access log, which would otherwise fill the memory it lies in.
    pub(super) fn empty_access_log(&self) -> anyhow::Result<()> {
        match fs::OpenOptions::new().write(true).open(&self.access_log) {
            Ok(file) => Ok(file.set_len(0)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).context("cannot empty the access log"),
        }
    }

    /// Lines in its access log.
    pub(super) fn access_log_lines(&self) -> usize {
        fs::read(&self.access_log).map_or(0, |text| memchr::memchr_iter(b'\n', &text).count())
    }

    /// Tells Weir to reload; the time until its answer.
    pub(super) fn reload(&self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let (status, body) = probe::http(self.admin, "POST", "/api/v1/reload")?;
        let took = started.elapsed();
        ensure!(status == 200, "the reload was answered {status}: {body}");
        Ok(took)
    }

    fn wait_until_ready(&mut self, lab: &lab::Lab, case: Case) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.process.ended()? {
                bail!("{} ended at start ({status})", self.label);
            }
            match probe::pass(case, self.address, lab) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= deadline => {
                    return Err(error).with_context(|| format!("{} does not forward", self.label));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the temporary folder's path is not UTF-8")
}

/// The peers warn about what is meant so here (no port below 1024, running as root); errors still end them.
fn quiet(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::null());
}
