use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::message::{Fields, Framing, Head};
use crate::wait;
use crate::wire::{ReadError, Wire};

/// One request as an [`Origin`] received it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The head, with every byte as received.
    pub head: Head,
    /// The method.
    pub method: String,
    /// The request target as it stood on the line.
    pub target: String,
    /// The body, as far as it was read.
    pub body: Vec<u8>,
    /// The trailer fields of a chunked body.
    pub trailers: Fields,
    /// Number of the connection it came on, from 0.
    pub connection: usize,
    /// When the head was complete.
    pub at: Instant,
    /// Whether the whole body has come.
    pub is_complete: bool,
}

impl Request {
    fn new(head: Head, connection: usize) -> Result<Self, ReadError> {
        let words: Vec<String> = head.start.split(' ').map(ToOwned::to_owned).collect();
        let [method, target, version] = <[String; 3]>::try_from(words)
            .map_err(|_| ReadError::Malformed(format!("request line: {}", head.start.escape_default())))?;
        if version != "HTTP/1.1" {
            return Err(ReadError::Malformed(format!("version {version}")));
        }
        if head.fields.all("host").len() != 1 {
            return Err(ReadError::Malformed(format!("not one Host: {:?}", head.fields)));
        }
        let at = Instant::now();
        let (body, trailers) = (Vec::new(), Fields::default());
        Ok(Self { head, method, target, body, trailers, connection, at, is_complete: false })
    }

    /// The value of the only field called `name`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.fields.get(name)
    }
}

/// What a handler wants done with the connection when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Wait for the next request.
    KeepOpen,
    /// Close with a FIN.
    Close,
    /// Close with a RST.
    Reset,
}

/// The connection a handler answers on.
pub struct Connection {
    wire: Wire,
    shared: Arc<Shared>,
}

impl Connection {
    /// Writes raw bytes.
    ///
    /// # Errors
    ///
    /// When the gateway has closed, or takes nothing for twice [`wait::PATIENCE`].
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.stream.write_all(bytes.as_ref())
    }

    /// Writes a response with a content-length; a closed gateway is not an error here.
    pub fn respond(&mut self, status: u16, fields: &[(&str, &str)], body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let mut bytes = format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n", body.len()).into_bytes();
        for (name, value) in fields {
            bytes.extend(format!("{name}: {value}\r\n").bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(body);
        let _ = self.write(bytes);
    }

    /// Reads the request's body as framed, sending 100 first when the request expects it.
    ///
    /// # Errors
    ///
    /// See [`ReadError`]; a body that is cut leaves `request.is_complete` false.
    pub fn read_body(&mut self, request: &mut Request) -> Result<(), ReadError> {
        let framing = request.head.framing()?.unwrap_or(Framing::Length(0));
        if request.field("expect").is_some() {
            let _ = self.write("HTTP/1.1 100 Continue\r\n\r\n");
        }
        let before = self.wire.received;
        let result = self.wire.body(framing);
        self.shared.bytes.fetch_add(self.wire.received - before, Ordering::SeqCst);
        let (body, trailers) = match result {
            Ok(read) => read,
            Err(ReadError::Cut { body }) => {
                request.body = body.clone();
                return Err(ReadError::Cut { body });
            }
            Err(error) => return Err(error),
        };
        (request.body, request.trailers, request.is_complete) = (body, trailers, true);
        Ok(())
    }

    /// Reads some more bytes as they come; empty at the end.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn read_some(&mut self) -> Result<Vec<u8>, ReadError> {
        if self.wire.pending.is_empty() {
            let count = self.wire.fill()?;
            self.shared.bytes.fetch_add(count, Ordering::SeqCst);
        }
        Ok(std::mem::take(&mut self.wire.pending))
    }

    /// Sets how long a read waits.
    pub fn patience(&mut self, limit: Duration) {
        self.wire.stream.set_read_timeout(Some(limit)).expect("a positive timeout");
    }

    /// Sends a FIN; reading goes on.
    pub fn half_close(&mut self) {
        let _ = self.wire.stream.shutdown(Shutdown::Write);
    }

    /// Waits until the gateway has closed this connection and reads nothing more into memory meanwhile.
    pub fn wait_for_close(&mut self) {
        while matches!(self.wire.fill(), Ok(count) if count > 0) {
            self.wire.pending.clear();
        }
    }
}

type Handler = Box<dyn Fn(&mut Request, &mut Connection) -> After + Send + Sync>;

struct Shared {
    stopped: AtomicBool,
    accepted: AtomicUsize,
    /// Bytes of bodies and raw streams; heads are kept in `requests`.
    bytes: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    violations: Mutex<Vec<String>>,
    /// A second handle on every open connection, to end them from outside.
    open: Mutex<HashMap<usize, TcpStream>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A scripted upstream on a port of the kernel's choice, one thread per connection.
///
/// Everything it receives is recorded. It reads strictly: a request that is not plain HTTP/1.1, has not exactly
/// one Host or ambiguous framing, fails the test when the origin is dropped.
pub struct Origin {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Origin {
    /// Starts an origin whose handler is called when a request is complete.
    pub fn start(handler: impl Fn(&Request, &mut Connection) -> After + Send + Sync + 'static) -> Self {
        Self::start_at(any_port(), handler)
    }

    /// As [`Origin::start`], on a given address: an endpoint that comes back.
    pub fn start_at(
        addr: SocketAddr,
        handler: impl Fn(&Request, &mut Connection) -> After + Send + Sync + 'static,
    ) -> Self {
        Self::listen(
            addr,
            Box::new(move |request, connection| match connection.read_body(request) {
                Ok(()) => {
                    connection.shared.completed(request);
                    handler(request, connection)
                }
                Err(_) => After::Close,
            }),
        )
    }

    /// Starts an origin whose handler is called as soon as the head is there; it reads the body itself.
    pub fn start_on_head(
        handler: impl Fn(&mut Request, &mut Connection) -> After + Send + Sync + 'static,
    ) -> Self {
        Self::listen(any_port(), Box::new(handler))
    }

    fn listen(addr: SocketAddr, handler: Handler) -> Self {
        // An origin that comes back may have to wait for its predecessor's listener to be gone.
        let listener = wait::until("the origin's port", || TcpListener::bind(addr).ok());
        let addr = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            stopped: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            requests: Mutex::default(),
            violations: Mutex::default(),
            open: Mutex::default(),
        });
        let acceptor = std::thread::spawn({
            let (shared, handler) = (Arc::clone(&shared), Arc::new(handler));
            move || accept(&listener, &shared, &handler)
        });
        Self { addr, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Requests whose head has come, in the order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// How many heads have come.
    pub fn request_count(&self) -> usize {
        lock(&self.shared.requests).len()
    }

    /// The only request so far.
    ///
    /// # Panics
    ///
    /// When there was none or more than one.
    pub fn only_request(&self) -> Request {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.remove(0)
    }

    /// Connections accepted so far.
    pub fn connection_count(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn open_count(&self) -> usize {
        lock(&self.shared.open).len()
    }

    /// Bytes of bodies and of raw streams that have come in.
    pub fn bytes_read(&self) -> usize {
        self.shared.bytes.load(Ordering::SeqCst)
    }

    /// What the gateway sent that is no plain HTTP/1.1 request; empty unless it is at fault.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.shared.violations).clone()
    }

    /// Closes every open connection with a FIN; the port stays open.
    pub fn close_connections(&self) {
        for stream in lock(&self.shared.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Dies as a process does: the port is closed, then every connection.
    pub fn kill(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            // The acceptor sleeps in accept; one connection wakes it and it sees that it is to stop.
            let _ = TcpStream::connect(self.addr);
            let _ = acceptor.join();
        }
        self.close_connections();
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() {
            let violations = self.violations();
            assert!(violations.is_empty(), "the gateway sent malformed requests: {violations:#?}");
        }
    }
}

impl Shared {
    fn completed(&self, request: &Request) {
        let mut requests = lock(&self.requests);
        if let Some(kept) = requests.iter_mut().rev().find(|r| r.connection == request.connection) {
            *kept = request.clone();
        }
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, handler: &Arc<Handler>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(wait::PATIENCE * 4));
        let _ = stream.set_write_timeout(Some(wait::PATIENCE * 2));
        lock(&shared.open).insert(number, stream.try_clone().expect("a second handle"));
        let (shared, handler) = (Arc::clone(shared), Arc::clone(handler));
        std::thread::spawn(move || {
            let mut connection = Connection { wire: Wire::new(stream), shared: Arc::clone(&shared) };
            serve(number, &mut connection, &handler);
            // The last handle decides when the kernel closes, so the second one goes first.
            lock(&shared.open).remove(&number);
        });
    }
}

fn serve(number: usize, connection: &mut Connection, handler: &Handler) {
    loop {
        let head = match connection.wire.head() {
            Ok(head) => head,
            Err(ReadError::Malformed(why)) => {
                lock(&connection.shared.violations).push(why);
                return;
            }
            Err(_) => return,
        };
        let request = Request::new(head, number).and_then(|r| r.head.framing().map(|_| r));
        let mut request = match request {
            Ok(request) => request,
            Err(error) => {
                lock(&connection.shared.violations).push(format!("{error:?}"));
                return;
            }
        };
        lock(&connection.shared.requests).push(request.clone());
        match handler(&mut request, connection) {
            After::KeepOpen => {}
            After::Close => return,
            After::Reset => {
                let _ = socket2::SockRef::from(&connection.wire.stream).set_linger(Some(Duration::ZERO));
                return;
            }
        }
        if request.is_complete {
            connection.shared.completed(&request);
        }
    }
}
