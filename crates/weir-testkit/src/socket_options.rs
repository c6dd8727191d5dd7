use std::net::SocketAddr;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::SockRef;

/// What the kernel was asked to do for a TCP socket of another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOptions {
    /// Silence after which the peer is asked whether it is there; none where it is never asked.
    pub keepalive: Option<Duration>,
    /// How long sent bytes may stay unacknowledged; none for the kernel's default.
    pub user_timeout: Option<Duration>,
    /// Whether small writes are sent at once.
    pub nodelay: bool,
}

impl SocketOptions {
    /// Looks among the sockets of `process`, which the caller has started, for the one connected to `peer`.
    pub(crate) fn find(process: &Child, peer: SocketAddr) -> Option<Self> {
        let pidfd = pidfd_open(Pid::from_child(process), PidfdFlags::empty()).expect("a child of ours");
        let folder = format!("/proc/{}/fd", process.id());
        let numbers = std::fs::read_dir(folder).ok()?.flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        numbers
            .filter_map(|number| pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).ok())
            .find(|fd| {
                let address = SockRef::from(fd).peer_addr();
                address.is_ok_and(|address| address.as_socket() == Some(peer))
            })
            .and_then(|fd| Self::of(&SockRef::from(&fd)).ok())
    }

    fn of(socket: &SockRef) -> std::io::Result<Self> {
        let keepalive = if socket.keepalive()? { Some(socket.tcp_keepalive_time()?) } else { None };
        Ok(Self { keepalive, user_timeout: socket.tcp_user_timeout()?, nodelay: socket.tcp_nodelay()? })
    }
}
