use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

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

fn bound() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let addr = socket.local_addr().ok().and_then(|a| a.as_socket()).expect("an address of a bound socket");
    (socket, addr)
}
