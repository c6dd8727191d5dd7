//! Server programs that Debian packages and a test starts for itself.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// Ports that are tried before giving up: another process may take one between choice and use.
const TRIES_MAX: u32 = 5;

/// A running server; dropping it ends it.
pub(crate) struct Server {
    child: Child,
    farewell: Signal,
}

impl Server {
    /// Starts the program and waits until `ready` holds; `None` when it ends or is not ready in time.
    ///
    /// `farewell` is the signal that ends it.
    pub(crate) fn start(
        command: &mut Command,
        farewell: Signal,
        mut ready: impl FnMut() -> bool,
    ) -> Option<Self> {
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}, installed by scripts/test: {e}"));
        let mut server = Self { child, farewell };
        let up = wait::until_within(wait::PATIENCE, || match server.child.try_wait() {
            Ok(None) => ready().then_some(true),
            _ => Some(false),
        });
        (up == Some(true)).then_some(server)
    }

    /// Starts a server on a free port of 127.0.0.1, trying another one when somebody else was quicker.
    ///
    /// # Panics
    ///
    /// When none of [`TRIES_MAX`] tries succeeded.
    pub(crate) fn on_free_port(
        name: &str,
        mut start: impl FnMut(SocketAddr) -> Option<Self>,
    ) -> (Self, SocketAddr) {
        let mut one = || {
            let addr = free_port();
            start(addr).map(|server| (server, addr))
        };
        (0..TRIES_MAX).find_map(|_| one()).unwrap_or_else(|| panic!("{name} did not start"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Once reaped, its id may belong to somebody else.
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process(Pid::from_child(&self.child), self.farewell);
            let ended = || self.child.try_wait().ok().flatten();
            if wait::until_within(wait::PATIENCE, ended).is_none() {
                let _ = self.child.kill();
            }
        }
        let _ = self.child.wait();
    }
}

/// A port of 127.0.0.1 that is free for TCP and for UDP.
fn free_port() -> SocketAddr {
    let free = || {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = tcp.local_addr().expect("a bound socket has an address");
        UdpSocket::bind(addr).ok().map(|_| addr)
    };
    wait::until("a port that is free for TCP and UDP", free)
}

/// Whether some socket listens on this TCP port; asking the kernel instead of connecting disturbs nobody.
pub(crate) fn listens(addr: SocketAddr) -> bool {
    const STATE_LISTEN: &str = "0A";
    sockets("/proc/net/tcp", addr).any(|state| state == STATE_LISTEN)
}

/// Whether some UDP socket is bound to this address.
pub(crate) fn is_bound_udp(addr: SocketAddr) -> bool {
    sockets("/proc/net/udp", addr).next().is_some()
}

/// The states of the sockets whose local address is `addr`.
fn sockets(table: &str, addr: SocketAddr) -> impl Iterator<Item = String> {
    let SocketAddr::V4(addr) = addr else { panic!("{addr} is not an IPv4 address") };
    let text = std::fs::read_to_string(table).expect("Linux lists its sockets");
    states(&text, addr).into_iter()
}

fn states(table: &str, addr: SocketAddrV4) -> Vec<String> {
    let local = format!("{}:{:04X}", hexadecimal(*addr.ip()), addr.port());
    let columns = table.lines().skip(1).map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
    columns
        .filter(|columns| columns.first() == Some(&local.as_str()))
        .filter_map(|columns| columns.get(2).map(|&state| state.to_owned()))
        .collect()
}

/// An address as the kernel prints it: the four bytes as one number of this machine's byte order.
fn hexadecimal(ip: Ipv4Addr) -> String {
    format!("{:08X}", u32::from_ne_bytes(ip.octets()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_port_is_seen_and_a_closed_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        assert!(listens(addr));
        drop(listener);
        assert!(!listens(addr));
    }

    #[test]
    fn a_bound_udp_port_is_seen() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(is_bound_udp(socket.local_addr().unwrap()));
    }

    #[test]
    fn only_the_local_address_counts() {
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 0100007F:0050 01 0\n";
        let on = |port| states(table, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        assert_eq!(on(8080), ["01"]);
        assert!(on(80).is_empty());
    }
}
