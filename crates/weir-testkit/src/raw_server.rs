use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::{RawClient, wait};

/// A TCP server whose connections the test takes by hand and speaks on itself.
pub struct RawServer {
    listener: TcpListener,
}

impl RawServer {
    /// Listens on a port of the kernel's choice.
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Listens on a given address: a server that comes back.
    pub fn start_at(addr: SocketAddr) -> Self {
        let listener = wait::until("the server's port", || TcpListener::bind(addr).ok());
        listener.set_nonblocking(true).expect("a listener does not have to wait");
        Self { listener }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound listener has an address")
    }

    /// The next connection.
    ///
    /// # Panics
    ///
    /// When none comes for [`wait::PATIENCE`].
    pub fn accept(&self) -> RawClient {
        wait::until("a connection to the server", || self.try_accept())
    }

    /// The next connection, if one has come.
    pub fn try_accept(&self) -> Option<RawClient> {
        match self.listener.accept() {
            Ok((stream, _)) => Some(adopt(stream).expect("a fresh socket takes a timeout")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("accepting: {error}"),
        }
    }
}

/// A scripted TCP server on a port of the kernel's choice, one thread for each connection.
pub struct TcpOrigin {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    accepted: AtomicUsize,
    /// A second handle on every open connection, to end them from outside.
    open: Mutex<HashMap<usize, TcpStream>>,
}

type Script = dyn Fn(RawClient) + Send + Sync;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TcpOrigin {
    /// Starts a server that calls `script` for each connection, which is closed when it returns.
    pub fn start(script: impl Fn(RawClient) + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), script)
    }

    /// As [`TcpOrigin::start`], on a given address: an endpoint that comes back.
    pub fn start_at(addr: SocketAddr, script: impl Fn(RawClient) + Send + Sync + 'static) -> Self {
        let listener = wait::until("the server's port", || TcpListener::bind(addr).ok());
        let addr = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared::default());
        let acceptor = std::thread::spawn({
            let (shared, script): (_, Arc<Script>) = (Arc::clone(&shared), Arc::new(script));
            move || accept(&listener, &shared, &script)
        });
        Self { addr, shared, acceptor: Some(acceptor) }
    }

    /// Sends back what comes, in order; ends its direction when the client has ended its own.
    pub fn echo() -> Self {
        Self::start(echo)
    }

    /// Says `greeting` first, then echoes: which of several servers a connection went to.
    pub fn greeting(greeting: &str) -> Self {
        Self::greeting_at(SocketAddr::from(([127, 0, 0, 1], 0)), greeting)
    }

    /// As [`TcpOrigin::greeting`], on a given address.
    pub fn greeting_at(addr: SocketAddr, greeting: &str) -> Self {
        let greeting = greeting.to_owned();
        Self::start_at(addr, move |mut client| {
            if client.try_send(&greeting).is_ok() {
                echo(client);
            }
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connections accepted so far.
    pub fn connection_count(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn open_count(&self) -> usize {
        lock(&self.shared.open).len()
    }

    /// Closes the port; connections go on.
    pub fn stop_listening(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            // The acceptor sleeps in accept; one connection wakes it and it sees that it is to stop.
            let _ = TcpStream::connect(self.addr);
            let _ = acceptor.join();
        }
    }

    /// Dies as a process does: the port is closed, then every connection.
    pub fn kill(&mut self) {
        self.stop_listening();
        for stream in lock(&self.shared.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for TcpOrigin {
    fn drop(&mut self) {
        self.kill();
    }
}

fn adopt(stream: TcpStream) -> io::Result<RawClient> {
    stream.set_nonblocking(false)?;
    RawClient::over(stream)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, script: &Arc<Script>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        lock(&shared.open).insert(number, stream.try_clone().expect("a second handle"));
        let (shared, script) = (Arc::clone(shared), Arc::clone(script));
        std::thread::spawn(move || {
            if let Ok(client) = adopt(stream) {
                script(client);
            }
            // The last handle decides when the kernel closes: the connection ends here.
            lock(&shared.open).remove(&number);
        });
    }
}

fn echo(mut client: RawClient) {
    client.patience(wait::PATIENCE * 4);
    while let Ok(bytes) = client.some() {
        if bytes.is_empty() || client.try_send(&bytes).is_err() {
            return;
        }
    }
}
