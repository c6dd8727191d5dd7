use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::RecvFlags;
use socket2::{Domain, Socket, Type};

use crate::wait;

/// Longest datagram over IPv4.
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// A scripted UDP server that remembers what came and from where.
pub struct UdpOrigin {
    addr: SocketAddr,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

struct Shared {
    socket: UdpSocket,
    stopped: AtomicBool,
    received: Mutex<Vec<Received>>,
}

/// A datagram that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Who sent it.
    pub from: SocketAddr,
    /// What it carries.
    pub bytes: Vec<u8>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UdpOrigin {
    /// Starts a server on a port of the kernel's choice that sends back what `script` answers to each datagram.
    pub fn start(script: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), script)
    }

    /// As [`UdpOrigin::start`], on a given address: an endpoint that comes back.
    pub fn start_at(addr: SocketAddr, script: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let socket = wait::until("the server's port", || UdpSocket::bind(addr).ok());
        let addr = socket.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared { socket, stopped: AtomicBool::new(false), received: Mutex::default() });
        let server = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.serve(&script)
        });
        Self { addr, shared, server: Some(server) }
    }

    /// Sends back what it gets.
    pub fn echo() -> Self {
        Self::start(|bytes| vec![bytes.to_vec()])
    }

    /// Sends back what it gets with a word before it, so that a client sees who answered.
    pub fn named(name: &'static str) -> Self {
        Self::start(move |bytes| vec![[name.as_bytes(), b" ", bytes].concat()])
    }

    /// Answers nothing by itself.
    pub fn silent() -> Self {
        Self::start(|_| Vec::new())
    }

    /// Answers each datagram this often: `1 …`, `2 …` and so on.
    pub fn answering(count: usize) -> Self {
        Self::start(move |bytes| {
            (1..=count).map(|number| [format!("{number} ").as_bytes(), bytes].concat()).collect()
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// All that came so far.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// How many datagrams came so far.
    pub fn count(&self) -> usize {
        lock(&self.shared.received).len()
    }

    /// Who sent something so far, each once, in the order of their first datagram.
    pub fn sources(&self) -> Vec<SocketAddr> {
        let mut sources = Vec::new();
        for Received { from, .. } in &*lock(&self.shared.received) {
            if !sources.contains(from) {
                sources.push(*from);
            }
        }
        sources
    }

    /// Who sent exactly this.
    pub fn sources_of(&self, bytes: &[u8]) -> HashSet<SocketAddr> {
        let received = lock(&self.shared.received);
        received.iter().filter(|received| received.bytes == bytes).map(|received| received.from).collect()
    }

    /// Waits until so many datagrams came; all that came.
    ///
    /// # Panics
    ///
    /// When they have not come for [`wait::PATIENCE`].
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        wait::until(&format!("{count} datagrams at the server"), || (self.count() >= count).then_some(()));
        self.received()
    }

    /// Sends something from its port that nobody asked for.
    pub fn send_to(&self, to: SocketAddr, bytes: &[u8]) {
        // A refusal of an earlier one is told here, and is no matter of this one.
        let sent = self.shared.socket.send_to(bytes, to).or_else(|_| self.shared.socket.send_to(bytes, to));
        sent.expect("loopback takes datagrams");
    }
}

impl Shared {
    fn serve(&self, script: &dyn Fn(&[u8]) -> Vec<Vec<u8>>) {
        let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
        while !self.stopped.load(Ordering::Acquire) {
            let Ok((count, from)) = self.socket.recv_from(&mut bytes) else { continue };
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
            let answers = script(&bytes[..count]);
            lock(&self.received).push(Received { from, bytes: bytes[..count].to_vec() });
            for answer in answers {
                let _client_gone = self.socket.send_to(&answer, from);
            }
        }
    }
}

impl Drop for UdpOrigin {
    /// The port is free afterwards: the kernel refuses what comes.
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        if let Some(server) = self.server.take() {
            // Wakes it; anything does, and one that is lost on a full buffer finds it awake.
            let waker = UdpSocket::bind((self.addr.ip(), 0)).expect("a free port");
            let _full = waker.send_to(b"", self.addr);
            let _panicked = server.join();
        }
    }
}

/// A UDP client that talks to one address, and takes answers from there alone.
pub struct UdpClient {
    socket: UdpSocket,
}

impl UdpClient {
    /// A client on a port of the kernel's choice.
    pub fn connect(addr: SocketAddr) -> Self {
        let source = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        Self::connect_from_port(source.parse().expect("a literal"), addr)
    }

    /// As [`UdpClient::connect`], from the address `source`, such as 127.0.0.2: a client of another network.
    pub fn connect_from(source: IpAddr, addr: SocketAddr) -> Self {
        Self::connect_from_port(SocketAddr::new(source, 0), addr)
    }

    /// As [`UdpClient::connect`], from a given address and port.
    pub fn connect_from_port(source: SocketAddr, addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, None).expect("a socket");
        socket.bind(&source.into()).unwrap_or_else(|e| panic!("binding {source}: {e}"));
        socket.connect(&addr.into()).unwrap_or_else(|e| panic!("{addr}: {e}"));
        Self { socket: socket.into() }
    }

    /// Its own address.
    pub fn addr(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }

    /// Sends a datagram.
    pub fn send(&self, bytes: &[u8]) {
        // The kernel may tell that an earlier one was refused.
        let sent = self.socket.send(bytes).or_else(|_| self.socket.send(bytes));
        sent.unwrap_or_else(|e| panic!("sending {} bytes: {e}", bytes.len()));
    }

    /// The next datagram.
    ///
    /// # Panics
    ///
    /// When none comes for [`wait::PATIENCE`].
    pub fn receive(&self) -> Vec<u8> {
        self.receive_within(wait::PATIENCE).unwrap_or_else(|| panic!("{}: no answer came", self.addr()))
    }

    /// The next datagram, if one comes within `limit`.
    pub fn receive_within(&self, limit: Duration) -> Option<Vec<u8>> {
        let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
        self.socket.set_read_timeout(Some(limit)).expect("a positive timeout");
        let count = self.socket.recv(&mut bytes).ok()?;
        bytes.truncate(count);
        Some(bytes)
    }

    /// The next datagram, if one has come already.
    pub fn received(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
        let (count, _) = rustix::net::recv(&self.socket, &mut bytes[..], RecvFlags::DONTWAIT).ok()?;
        bytes.truncate(count);
        Some(bytes)
    }

    /// Sends a datagram and waits for the answer.
    ///
    /// # Panics
    ///
    /// When none comes for [`wait::PATIENCE`].
    pub fn ask(&self, bytes: &[u8]) -> Vec<u8> {
        self.send(bytes);
        self.receive()
    }

    /// As [`UdpClient::ask`] with text.
    pub fn ask_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.ask(text.as_bytes())).into_owned()
    }

    /// Asks again and again, as clients of lossy networks do, until the answer is as expected; others are left aside.
    ///
    /// # Panics
    ///
    /// When it has not come for [`wait::PATIENCE`].
    pub fn ask_patiently(&self, bytes: &[u8], expected: &[u8]) {
        wait::until_true("the answer to a datagram that is repeated", || {
            self.send(bytes);
            let mut answers = std::iter::from_fn(|| self.receive_within(Duration::from_millis(50)));
            answers.any(|answer| answer == expected)
        });
    }
}

/// An address of 127.0.0.1 that nobody has, neither for datagrams nor for connections, below the ports that the kernel
/// gives away by itself.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let free = || {
        // Processes that run side by side begin apart.
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let addr = SocketAddr::from(([127, 0, 0, 1], 10_000 + (number % 20_000) as u16));
        let is_free = UdpSocket::bind(addr).is_ok() && TcpListener::bind(addr).is_ok();
        is_free.then_some(addr)
    };
    wait::until("a port that is free for TCP and UDP", free)
}

/// An address of 127.0.0.1 where the kernel refuses datagrams, as nobody listens there.
pub fn refusing_udp() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port")
}
