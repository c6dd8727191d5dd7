use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::{Domain, SockRef, Socket, Type};

use crate::Gateway;

/// An address that refuses every connection and that nobody else can take meanwhile.
pub struct Refusing {
    addr: SocketAddr,
    /// Bound but never listening: the kernel answers a SYN with RST.
    _socket: Socket,
}

impl Refusing {
    /// Takes a port.
    pub fn start() -> Self {
        let (socket, addr) = bound();
        Self { addr, _socket: socket }
    }

    /// Where connections are refused.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// An address that neither accepts nor refuses: its accept queue is full, so that SYNs are dropped.
pub struct Blackhole {
    addr: SocketAddr,
    _socket: Socket,
    _fillers: Vec<TcpStream>,
}

impl Blackhole {
    /// Takes a port and fills its queue.
    pub fn start() -> Self {
        let (socket, addr) = bound();
        socket.listen(0).expect("a bound socket listens");
        let mut fillers = Vec::new();
        // A backlog of 0 takes one connection; the first that times out proves that the queue is full.
        while let Ok(filler) = TcpStream::connect_timeout(&addr, Duration::from_millis(200)) {
            fillers.push(filler);
        }
        Self { addr, _socket: socket, _fillers: fillers }
    }

    /// Where connections hang.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Gateway {
    /// Makes the sockets on which the listener called `name` listens useless, as if the kernel had broken them.
    ///
    /// # Panics
    ///
    /// When the process has no such socket, or its descriptors may not be reached: a debugger's rights are needed, which
    /// a parent has over its child unless the system forbids it.
    pub fn break_listener(&self, name: &str) {
        let addr = self.addr(name);
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        let process = pidfd_open(pid, PidfdFlags::empty()).expect("the child has not been waited for");
        let mut broken = 0;
        for number in self.fds() {
            // One that was closed meanwhile is none of those sought.
            let Ok(fd) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) else { continue };
            let socket = SockRef::from(&fd);
            let is_here = socket.local_addr().is_ok_and(|local| local.as_socket() == Some(addr));
            if is_here && socket.is_listener().unwrap_or(false) {
                socket.shutdown(Shutdown::Both).expect("a listening socket can be shut down");
                broken += 1;
            }
        }
        assert!(broken > 0, "nothing listens on {addr}, or descriptors of the child may not be taken");
    }

    fn fds(&self) -> Vec<i32> {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("a running process");
        folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }
}

fn bound() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let addr = socket.local_addr().ok().and_then(|a| a.as_socket()).expect("an address of a bound socket");
    (socket, addr)
}
