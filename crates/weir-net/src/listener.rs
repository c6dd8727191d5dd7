use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket as RawSocket, Type};
use thiserror::Error;

/// Connections that the kernel completes and holds until a worker accepts them; cut to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Where a listener listens: `127.0.0.1:8080`, `[::1]:8080`, `:8080` (every IPv4 address) or `unix:/run/weir.sock`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BindAddress {
    /// TCP; port 0 lets the kernel choose. An IPv6 address takes IPv6 connections only.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

/// Why a text is not a [`BindAddress`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BindAddressError {
    /// Neither `ADDRESS:PORT` nor `unix:PATH`.
    #[error("expected `ADDRESS:PORT` such as `0.0.0.0:8080` or `[::]:8080`, or `unix:/path`")]
    Malformed,
    /// A unix socket's path is empty or longer than the kernel takes (107 bytes).
    #[error("a unix socket's path must have 1 to 107 bytes")]
    PathLength,
}

impl FromStr for BindAddress {
    type Err = BindAddressError;

    fn from_str(text: &str) -> Result<Self, BindAddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if (1..=107).contains(&path.len()) {
                Ok(Self::Unix(PathBuf::from(path)))
            } else {
                Err(BindAddressError::PathLength)
            };
        }
        if let Some(port) = text.strip_prefix(':') {
            let port = port.parse().map_err(|_| BindAddressError::Malformed)?;
            return Ok(Self::Tcp(SocketAddr::from(([0, 0, 0, 0], port))));
        }
        text.replace("localhost:", "127.0.0.1:")
            .parse()
            .map(Self::Tcp)
            .map_err(|_| BindAddressError::Malformed)
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another process, or another listener of this one, has it.
    #[error("{address} is already in use by another process")]
    InUse {
        /// The address.
        address: BindAddress,
    },
    /// The same of datagrams, whose ports are others than those of connections.
    #[error("{address} (UDP) is already in use by another process")]
    UdpInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The path of a unix socket exists and is not a socket.
    #[error("{address} exists and is not a socket")]
    NotASocket {
        /// The address.
        address: BindAddress,
    },
    /// Anything else that the kernel says.
    #[error("cannot listen on {address}: {source}")]
    Refused {
        /// The address.
        address: BindAddress,
        /// The kernel's word.
        source: io::Error,
    },
}

/// A socket that a worker accepts from.
#[derive(Debug)]
pub enum ListenerSocket {
    /// TCP: this worker's own of the group.
    Tcp(StdTcpListener),
    /// A unix socket, shared by all workers.
    Unix(StdUnixListener),
}

/// An address that is bound but not listened on yet: dropping it leaves no trace.
#[derive(Debug)]
pub struct Pending {
    address: BindAddress,
    sockets: Vec<RawSocket>,
}

/// A listening address, owned by the control side for as long as it is wanted.
#[derive(Debug)]
pub struct Listener {
    address: BindAddress,
    sockets: Vec<ListenerSocket>,
    /// Removed from the file system when the listener ends.
    path: Option<PathBuf>,
}

impl Pending {
    /// Binds one TCP socket per worker, or one unix socket, with the mode given.
    ///
    /// # Errors
    ///
    /// [`BindError`]; a TCP port that another process listens on is refused although the sockets of this
    /// process share it. A stale unix socket (nobody answers) is removed.
    pub fn bind(address: &BindAddress, workers: usize, unix_mode: u32) -> Result<Self, BindError> {
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address: address.clone() },
            _ => BindError::Refused { address: address.clone(), source },
        };
        match address {
            BindAddress::Tcp(tcp) => {
                // Sockets that share a port do not see a foreign one that shares it too; this one does.
                let alone = tcp_socket(*tcp, false).map_err(refused)?;
                let tcp = alone.local_addr().map_err(refused)?.as_socket().unwrap_or(*tcp);
                drop(alone);
                let sockets = (0..workers)
                    .map(|_| tcp_socket(tcp, true))
                    .collect::<io::Result<_>>()
                    .map_err(refused)?;
                Ok(Self { address: BindAddress::Tcp(tcp), sockets })
            }
            BindAddress::Unix(path) => {
                remove_stale(path, address)?;
                let socket = unix_socket(path, unix_mode).map_err(refused)?;
                Ok(Self { address: address.clone(), sockets: vec![socket] })
            }
        }
    }

    /// The address, with the port that the kernel chose.
    pub fn address(&self) -> &BindAddress {
        &self.address
    }

    /// Starts listening.
    ///
    /// # Errors
    ///
    /// [`BindError`] where another process was faster.
    pub fn listen(self) -> Result<Listener, BindError> {
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address: self.address.clone() },
            _ => BindError::Refused { address: self.address.clone(), source },
        };
        for socket in &self.sockets {
            socket.listen(BACKLOG).map_err(refused)?;
        }
        let path = match &self.address {
            BindAddress::Unix(path) => Some(path.clone()),
            BindAddress::Tcp(_) => None,
        };
        let wrap = |socket: RawSocket| match path {
            Some(_) => ListenerSocket::Unix(StdUnixListener::from(socket)),
            None => ListenerSocket::Tcp(StdTcpListener::from(socket)),
        };
        Ok(Listener { sockets: self.sockets.into_iter().map(wrap).collect(), address: self.address, path })
    }
}

impl Listener {
    /// The address, with the port that the kernel chose.
    pub fn address(&self) -> &BindAddress {
        &self.address
    }

    /// The socket for a worker; a copy, while the listener keeps its own.
    ///
    /// # Errors
    ///
    /// Where no descriptor is left.
    pub fn socket(&self, worker: usize) -> io::Result<ListenerSocket> {
        match &self.sockets[worker % self.sockets.len()] {
            ListenerSocket::Tcp(socket) => socket.try_clone().map(ListenerSocket::Tcp),
            ListenerSocket::Unix(socket) => socket.try_clone().map(ListenerSocket::Unix),
        }
    }
}

/// Drops packets that would begin a connection, and lets everything else pass: load the flags of the TCP header,
/// keep SYN and ACK, and refuse SYN alone.
const NO_NEW_CONNECTIONS: [SockFilter; 5] = [
    SockFilter::new((libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16, 0, 0, 13),
    SockFilter::new((libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16, 0, 0, 0x12),
    SockFilter::new((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 0, 1, 0x02),
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0),
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, u32::MAX),
];

impl Listener {
    /// Takes back [`stop_greeting`](Self::stop_greeting).
    pub fn greet(&self) {
        for socket in &self.sockets {
            if let ListenerSocket::Tcp(socket) = socket {
                // None is attached to a socket that never stopped.
                let _none = SockRef::from(socket).detach_filter();
            }
        }
    }

    /// From now on no connection begins here, while those that have begun still reach the queue.
    ///
    /// So the queue can be emptied for good before the sockets close: closing resets what waits in it, and a client
    /// that the kernel has greeted in our name was promised an answer. A client that comes later tries again after a
    /// second, by itself, and is then refused. Best effort: where the kernel has no such filter nothing changes.
    pub fn stop_greeting(&self) {
        for socket in &self.sockets {
            if let ListenerSocket::Tcp(socket) = socket {
                let _unsupported = SockRef::from(socket).attach_filter(&NO_NEW_CONNECTIONS);
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Already gone is as good.
            let _gone = std::fs::remove_file(path);
        }
    }
}

fn tcp_socket(address: SocketAddr, shared: bool) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // What is accepted inherits it: answers are written whole, and waiting for more would only delay the last part.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn unix_socket(path: &Path, mode: u32) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(socket)
}

fn remove_stale(path: &Path, address: &BindAddress) -> Result<(), BindError> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket { address: address.clone() });
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(BindError::InUse { address: address.clone() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .map_err(|source| BindError::Refused { address: address.clone(), source }),
        Err(source) => Err(BindError::Refused { address: address.clone(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> BindAddress {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn addresses_read_back_as_they_are_written() {
        for text in ["127.0.0.1:80", "[::]:8080", "unix:/run/weir.sock"] {
            assert_eq!(text.parse::<BindAddress>().unwrap().to_string(), text);
        }
        assert_eq!(":80".parse::<BindAddress>().unwrap().to_string(), "0.0.0.0:80");
        for bad in ["", "80", "host:80", "127.0.0.1", "127.0.0.1:99999", "::1:80"] {
            assert_eq!(bad.parse::<BindAddress>(), Err(BindAddressError::Malformed), "{bad}");
        }
        assert_eq!("unix:".parse::<BindAddress>(), Err(BindAddressError::PathLength));
    }

    #[test]
    fn a_port_that_is_listened_on_is_refused_though_workers_share_it() {
        let listener = Pending::bind(&local(), 2, 0o660).unwrap().listen().unwrap();
        let again = Pending::bind(listener.address(), 2, 0o660);
        assert!(matches!(again, Err(BindError::InUse { .. })), "{again:?}");
    }

    #[test]
    fn a_listener_that_stops_greeting_still_hands_over_who_was_greeted() {
        let listener = Pending::bind(&local(), 1, 0o660).unwrap().listen().unwrap();
        let BindAddress::Tcp(address) = *listener.address() else { panic!("it is TCP") };
        let _greeted = std::net::TcpStream::connect(address).unwrap();
        listener.stop_greeting();
        let late = std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(100));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let ListenerSocket::Tcp(socket) = listener.socket(0).unwrap() else { panic!("it is TCP") };
        assert!(socket.accept().is_ok());
        listener.greet();
        let again = std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_secs(5));
        assert!(again.is_ok(), "{again:?}");
    }

    #[test]
    fn dropping_a_pending_address_frees_it() {
        let pending = Pending::bind(&local(), 2, 0o660).unwrap();
        let address = pending.address().clone();
        drop(pending);
        assert!(Pending::bind(&address, 1, 0o660).is_ok());
    }

    #[test]
    fn a_stale_unix_socket_is_removed_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.sock");
        let address = BindAddress::Unix(path.clone());
        drop(StdUnixListener::bind(&path).unwrap());
        let listener = Pending::bind(&address, 2, 0o600).unwrap().listen().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Pending::bind(&address, 1, 0o600), Err(BindError::InUse { .. })));
        drop(listener);
        assert!(!path.exists());
        std::fs::write(&path, "").unwrap();
        assert!(matches!(Pending::bind(&address, 1, 0o600), Err(BindError::NotASocket { .. })));
    }
}
