use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use super::kernel;
use crate::{BindAddress, BindError};

/// Bytes that wait at each socket before the kernel drops what comes; cut to `net.core.rmem_max`.
///
/// At 64 bytes a datagram (and some 700 that the kernel adds to each) this is about ten thousand, a burst of some tens of
/// milliseconds at full load.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// A UDP address that is bound but that nobody reads yet: dropping it leaves no trace.
///
/// Unlike a stream socket it takes datagrams from now on; they wait in its buffer.
#[derive(Debug)]
pub struct UdpPending {
    address: SocketAddr,
    sockets: Vec<RawSocket>,
}

/// A UDP address that is listened on, owned by the control side for as long as it is wanted.
#[derive(Debug)]
pub struct UdpListener {
    address: SocketAddr,
    sockets: Vec<RawSocket>,
}

/// A worker's socket of a listener.
///
/// What one client sends to one address always comes to the same worker: the kernel shares out by both ends.
#[derive(Debug)]
pub struct UdpSocket {
    socket: RawSocket,
    address: SocketAddr,
}

impl UdpPending {
    /// Binds one socket per worker; port 0 lets the kernel choose. An IPv6 address takes IPv6 only.
    ///
    /// # Errors
    ///
    /// [`BindError`]; a port that another process has is refused although the sockets of this process share it.
    pub fn bind(address: SocketAddr, workers: usize) -> Result<Self, BindError> {
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::UdpInUse { address },
            _ => BindError::Refused { address: BindAddress::Tcp(address), source },
        };
        // Sockets that share a port do not see a foreign one that shares it too; this one does.
        let alone = bound(address, false).map_err(refused)?;
        let address = alone.local_addr().map_err(refused)?.as_socket().unwrap_or(address);
        drop(alone);
        let sockets =
            (0..workers).map(|_| bound(address, true)).collect::<io::Result<_>>().map_err(refused)?;
        Ok(Self { address, sockets })
    }

    /// The address, with the port that the kernel chose.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes it a listener, whose sockets the workers read.
    pub fn listen(self) -> UdpListener {
        UdpListener { address: self.address, sockets: self.sockets }
    }
}

impl UdpListener {
    /// The address, with the port that the kernel chose.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket for a worker; a copy, while the listener keeps its own.
    ///
    /// # Errors
    ///
    /// Where no descriptor is left.
    pub fn socket(&self, worker: usize) -> io::Result<UdpSocket> {
        let socket = self.sockets[worker % self.sockets.len()].try_clone()?;
        Ok(UdpSocket { socket, address: self.address })
    }
}

impl UdpSocket {
    /// The address that is listened on; each datagram says its own where this is the one of every interface.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    // Before the bind, so that the first datagram says it too.
    match address {
        SocketAddr::V4(address) if address.ip().is_unspecified() => {
            kernel::switch_on(socket.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO)?;
        }
        SocketAddr::V6(address) if address.ip().is_unspecified() => {
            kernel::switch_on(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)?;
        }
        _ => {}
    }
    join_datagrams(socket.as_fd());
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Lets the kernel hand over several datagrams of one sender at once; where it cannot, they come singly.
pub(super) fn join_datagrams(socket: BorrowedFd<'_>) {
    let _unsupported = kernel::switch_on(socket, libc::SOL_UDP, libc::UDP_GRO);
}
