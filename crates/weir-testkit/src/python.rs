use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The Python that has the packages of `tests/requirements.txt`.
///
/// # Panics
///
/// When `scripts/test` has not installed it beside what Cargo built.
pub fn python() -> Command {
    Command::new(tool("python/bin/python3"))
}

/// A program that `scripts/test` has installed beside what Cargo built.
///
/// # Panics
///
/// When it is not there.
pub fn tool(path: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let found = test.ancestors().map(|folder| folder.join(path)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no {path} beside what Cargo built: scripts/test installs it"))
}

/// A server written in Python; dropping it ends it.
pub struct PythonServer {
    child: Child,
    addr: SocketAddr,
}

impl PythonServer {
    /// Runs a script with these arguments. It listens on a port of 127.0.0.1 that the kernel chooses, and prints the
    /// port in a line of its own once it listens.
    ///
    /// # Panics
    ///
    /// When it ends without having printed a port.
    pub fn start(script: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let script = script.into();
        let mut child = python()
            .arg("-u")
            .arg(&script)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a piped stdout");
        BufReader::new(stdout).read_line(&mut line).expect("a line of text");
        let port = line.trim().parse().unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("{} printed {line:?} and no port", script.display())
        });
        Self { child, addr: (Ipv4Addr::LOCALHOST, port).into() }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
