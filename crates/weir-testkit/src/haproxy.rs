use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::{RawClient, wait};

/// Ports that are tried before giving up: another process may take one between choice and use.
const TRIES_MAX: u32 = 5;

/// Debian's HAProxy, passing TCP connections on to one server.
pub struct Haproxy {
    child: Child,
    addr: SocketAddr,
    _folder: TempDir,
}

impl Haproxy {
    /// Starts HAProxy in TCP mode in front of `server`, with these options of its `server` line, such as
    /// `send-proxy-v2`.
    ///
    /// # Panics
    ///
    /// When HAProxy is not installed or does not accept the options.
    pub fn start(server: SocketAddr, options: &str) -> Self {
        Self::listening("", server, options)
    }

    /// As [`Haproxy::start`], with options of its `bind` line too, such as `accept-proxy`.
    ///
    /// # Panics
    ///
    /// When HAProxy is not installed or does not accept the options.
    pub fn listening(bind: &str, server: SocketAddr, options: &str) -> Self {
        for _ in 0..TRIES_MAX {
            if let Some(haproxy) = Self::try_start(bind, server, options) {
                return haproxy;
            }
        }
        panic!("HAProxy did not start; installed by scripts/test. Options: {options}");
    }

    fn try_start(bind: &str, server: SocketAddr, options: &str) -> Option<Self> {
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let folder = tempfile::tempdir().expect("a folder for HAProxy");
        let config = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             listen test\n bind {addr} {bind}\n server weir {server} {options}\n"
        );
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config).expect("the test's own folder is writable");
        let mut child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("HAProxy is installed by scripts/test");
        let up = wait::until_within(wait::PATIENCE, || match child.try_wait() {
            Ok(None) => RawClient::try_connect(addr).ok().map(|_| true),
            _ => Some(false),
        });
        if up == Some(true) {
            return Some(Self { child, addr, _folder: folder });
        }
        let _ = child.kill();
        let _ = child.wait();
        None
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
