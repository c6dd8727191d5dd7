//! A gateway under test.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;

use super::process::{Process, pinned};
use super::{Case, cpu, lab, template};
use crate::install;

/// How long a contestant may take to answer its first request.
const START_TIMEOUT: Duration = Duration::from_secs(15);

/// The gateways that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Weir,
    Nginx,
    Haproxy,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Its configuration, below the folder `bench`.
    pub(super) fn template(self) -> &'static str {
        match self {
            Self::Weir => "peers/weir.yaml.in",
            Self::Nginx => "peers/nginx.conf.in",
            Self::Haproxy => "peers/haproxy.cfg.in",
        }
    }

    /// The program to start.
    pub(super) fn program(self) -> anyhow::Result<String> {
        match self {
            Self::Weir => lab::built("release/weir"),
            Self::Nginx => Ok(install::NGINX.path()),
            Self::Haproxy => Ok(install::HAPROXY.path()),
        }
    }

    fn arguments(self, file: &str, folder: &str) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Weir => &["run", file],
            Self::Nginx => &["-p", folder, "-c", file, "-e", "stderr"],
            Self::Haproxy => &["-db", "-f", file],
        };
        words.iter().map(|&word| word.to_owned()).collect()
    }
}

/// A running gateway; dropping it ends it.
pub(super) struct Contestant {
    /// Its name in reports: the kind, and the workers where they differ.
    pub(super) label: String,
    pub(super) address: SocketAddr,
    /// Weir's admin address; the others do not use it.
    pub(super) admin: SocketAddr,
    pub(super) configuration: PathBuf,
    access_log: PathBuf,
    process: Process,
}

impl Contestant {
    /// Starts one and waits until a request has passed through it.
    pub(super) fn start(lab: &lab::Lab, case: Case, kind: Kind, workers: usize) -> anyhow::Result<Self> {
        let label = if workers == 1 { kind.name().to_owned() } else { format!("{}-{workers}", kind.name()) };
        let folder = lab.folder(&label)?;
        let folder_text = folder.to_str().context("the temporary folder's path is not UTF-8")?;
        let (address, admin) = (lab::free_address()?, lab::free_address()?);
        let values = [
            ("ADDRESS", address.to_string()),
            ("ADMIN", admin.to_string()),
            ("ORIGIN", lab.origin.to_string()),
            ("WORKERS", workers.to_string()),
            ("DIR", folder_text.to_owned()),
        ];
        let source = fs::read_to_string(lab::bench_folder()?.join(kind.template()))?;
        let configuration = folder.join("gateway.conf");
        fs::write(&configuration, template::fill(&source, case.name(), &values)?)?;

        let file = format!("{folder_text}/gateway.conf");
        let mut command = pinned(&lab.gateway_cores, &kind.program()?);
        quiet(command.args(kind.arguments(&file, folder_text)));
        let access_log = folder.join("access.log");
        let process = Process::start(&mut command)?;
        let mut contestant = Self { label, address, admin, configuration, access_log, process };
        contestant.wait_until_ready()?;
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
        let (status, body) = exchange(self.admin, "POST", "/api/v1/reload")?;
        let took = started.elapsed();
        ensure!(status == 200, "the reload was answered {status}: {body}");
        Ok(took)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.process.ended()? {
                bail!("{} ended at start ({status})", self.label);
            }
            match exchange(self.address, "GET", "/128") {
                Ok((200, body)) if body.len() == 128 => return Ok(()),
                other if Instant::now() >= deadline => bail!("{} does not forward: {other:?}", self.label),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// The peers warn about what is meant so here (no port below 1024, running as root); errors still end them.
fn quiet(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::null());
}

/// One request on a connection of its own: the status and the body.
fn exchange(to: SocketAddr, method: &str, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(START_TIMEOUT))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no complete answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}
