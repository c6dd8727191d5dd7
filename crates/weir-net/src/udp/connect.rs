use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with};

use super::bind::join_datagrams;

/// A socket of its own for one peer: it receives only from there, and is told when nobody listens there.
///
/// The kernel chooses its port at random. Never waits.
///
/// # Errors
///
/// What socket(2) and connect(2) say, such as a missing route or no descriptor left.
pub fn connect_udp(peer: SocketAddr) -> io::Result<OwnedFd> {
    let family = if peer.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    connect(&socket, &peer)?;
    join_datagrams(socket.as_fd());
    Ok(socket)
}
