use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::{RawClient, wait};

/// Ports that are tried before giving up: another process may take one between choice and use.
const TRIES_MAX: u32 = 5;

/// Debian's nginx, running in the foreground from a folder of its own.
pub struct Nginx {
    child: Child,
    addr: SocketAddr,
    folder: TempDir,
}

impl Nginx {
    /// Starts nginx with one server block that holds `snippet`, such as `location / { return 200 ok; }`.
    ///
    /// Its document root is [`Nginx::root`].
    ///
    /// # Panics
    ///
    /// When nginx is not installed or does not accept the snippet.
    pub fn start(snippet: &str) -> Self {
        Self::listening("", snippet)
    }

    /// As [`Nginx::start`], with these options of the `listen` line, such as `ssl` or `proxy_protocol`.
    ///
    /// # Panics
    ///
    /// When nginx is not installed or does not accept the options or the snippet.
    pub fn listening(options: &str, snippet: &str) -> Self {
        for _ in 0..TRIES_MAX {
            if let Some(nginx) = Self::try_start(options, snippet) {
                return nginx;
            }
        }
        panic!("nginx did not start; installed by scripts/test. Snippet:\n{snippet}");
    }

    fn try_start(options: &str, snippet: &str) -> Option<Self> {
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let folder = tempfile::tempdir().expect("a folder for nginx");
        let path = folder.path();
        std::fs::create_dir(path.join("html")).expect("the test's own folder is writable");
        // Workers run as nobody when nginx is started by root, and must reach the files.
        open_to_all(path);
        let config = format!(
            "daemon off; worker_processes 1; pid {0}/pid; error_log {0}/error.log warn;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy;\n\
             fastcgi_temp_path {0}/fastcgi; uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;\n\
             client_max_body_size 0; default_type application/octet-stream; server {{ listen {addr} {options}; root {0}/html; {snippet} }} }}\n",
            path.display()
        );
        let file = path.join("nginx.conf");
        std::fs::write(&file, config).expect("the test's own folder is writable");
        let mut child = Command::new("nginx")
            .arg("-p")
            .arg(path)
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed by scripts/test");
        let up = wait::until_within(wait::PATIENCE, || match child.try_wait() {
            Ok(None) => RawClient::try_connect(addr).ok().map(|_| true),
            _ => Some(false),
        });
        if up == Some(true) {
            return Some(Self { child, addr, folder });
        }
        let _ = child.kill();
        let _ = child.wait();
        None
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The folder it serves files from.
    pub fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("html")
    }
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("our own folder");
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM, so that the master takes its worker with it.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
