//! Programs that the bench starts, and that never outlive it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a program may take to end after SIGTERM, before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// A running program; dropping it ends it.
pub(super) struct Process {
    child: Child,
}

/// The cores a program may run on, as `taskset --cpu-list` reads them: `0`, or `0,1`.
#[derive(Clone)]
pub(super) struct Cores(pub(super) String);

/// A command for `program`, pinned to `cores`, that the kernel ends when the bench dies in whatever way.
///
/// `setpriv` and `taskset` both replace themselves by the program, so the process id stays.
pub(super) fn pinned(cores: &Cores, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    // TERM, not KILL: nginx's master must still be able to end its workers.
    command.args(["--pdeathsig", "TERM", "taskset", "--cpu-list", &cores.0, program]);
    command
}

/// The same, run by a user without privileges when the bench is run by root.
pub(super) fn pinned_unprivileged(cores: &Cores, program: &str) -> Command {
    let inner = pinned(cores, program);
    if !rustix::process::geteuid().is_root() {
        return inner;
    }
    let mut command = Command::new("setpriv");
    // A change of user forgets the signal of the parent's death: it is asked for afterwards.
    command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]);
    command.arg(inner.get_program()).args(inner.get_args());
    command
}

/// The path of this program, whose other tasks are companions of the bench.
pub(super) fn own_program() -> anyhow::Result<String> {
    let own = std::env::current_exe().context("cannot find the running program")?;
    Ok(own.to_str().context("the path of the running program is not UTF-8")?.to_owned())
}

impl Process {
    pub(super) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The status, if it has ended.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// All that it prints, until it ends.
    pub(super) fn output(&mut self) -> anyhow::Result<String> {
        let mut text = String::new();
        self.child.stdout.take().context("its output is not a pipe")?.read_to_string(&mut text)?;
        self.child.wait()?;
        Ok(text)
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        // Once it is reaped its id may belong to somebody else.
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = Pid::from_child(&self.child);
        drop(self.child.stdin.take());
        let deadline = Instant::now() + STOP_TIMEOUT;
        // An error means that it has just ended.
        let _ = kill_process(pid, Signal::TERM);
        while self.child.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                self.child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("process {} could not be ended: {error}", self.child.id());
        }
    }
}

/// One of xtask's own programs, spoken to by lines.
pub(super) struct Companion {
    process: Process,
    lines: BufReader<ChildStdout>,
    input: Option<ChildStdin>,
}

impl Companion {
    /// Starts `cargo xtask ARGUMENTS` from this same executable.
    pub(super) fn start(cores: &Cores, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = pinned(cores, &own_program()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(&mut command)?;
        let output = process.child.stdout.take().context("no output pipe")?;
        let input = process.child.stdin.take();
        Ok(Self { process, lines: BufReader::new(output), input })
    }

    /// The next line it prints; waits for it.
    pub(super) fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        ensure!(!line.is_empty(), "a companion process ended early ({:?})", self.process.ended()?);
        Ok(line.trim_end().to_owned())
    }

    /// Ends its standard input.
    pub(super) fn end_input(&mut self) {
        drop(self.input.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_process_is_gone() {
        let process = Process::start(pinned(&Cores("0".into()), "sleep").arg("600")).unwrap();
        let folder = format!("/proc/{}", process.id());
        assert!(std::path::Path::new(&folder).exists());
        drop(process);
        assert!(!std::path::Path::new(&folder).exists());
    }

    #[test]
    fn a_program_that_ignores_the_polite_signal_is_killed() {
        let mut command = pinned(&Cores("0".into()), "sh");
        let started = Instant::now();
        drop(Process::start(command.args(["-c", "trap '' TERM; while :; do :; done"])).unwrap());
        assert!(started.elapsed() < STOP_TIMEOUT * 3);
    }
}
