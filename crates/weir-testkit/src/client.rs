use std::io::{self, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::message::{Fields, Framing, Head, Response};
use crate::wait::PATIENCE;
use crate::wire::{Ending, ReadError, Wire};

/// A client that sends exactly the bytes it is told to and reads responses strictly.
pub struct RawClient {
    wire: Wire,
}

impl RawClient {
    /// Connects to `addr`; reads then wait at most [`PATIENCE`].
    ///
    /// # Panics
    ///
    /// When the connection is refused.
    pub fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).unwrap_or_else(|e| panic!("connecting to {addr}: {e}"))
    }

    /// Connects to `addr`.
    ///
    /// # Errors
    ///
    /// Those of the system: refused, timed out, no descriptor left.
    pub fn try_connect(addr: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&addr, PATIENCE)?)
    }

    /// Connects from the address `source`, such as 127.0.0.2: a client of another network.
    pub fn connect_from(source: IpAddr, addr: SocketAddr) -> Self {
        Self::try_connect_from(source, addr).unwrap_or_else(|e| panic!("connecting to {addr}: {e}"))
    }

    /// As [`RawClient::connect_from`].
    ///
    /// # Errors
    ///
    /// Those of the system: refused, reset, no descriptor left.
    pub fn try_connect_from(source: IpAddr, addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect(&addr.into())?;
        Self::over(socket.into())
    }

    /// Connects with a receive buffer as small as the kernel allows: a client that reads slowly.
    pub fn connect_narrow(addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small receive buffer");
        socket.connect(&addr.into()).unwrap_or_else(|e| panic!("connecting to {addr}: {e}"));
        Self::over(socket.into()).expect("a fresh socket takes a timeout")
    }

    pub(crate) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { wire: Wire::new(stream) })
    }

    /// This end's address.
    pub fn local_addr(&self) -> SocketAddr {
        self.wire.stream.local_addr().expect("a connected socket has an address")
    }

    /// The other end's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.wire.stream.peer_addr().expect("a connected socket has a peer")
    }

    /// Sets how long a read waits for the next byte.
    pub fn patience(&mut self, limit: Duration) {
        self.wire.stream.set_read_timeout(Some(limit)).expect("a positive timeout");
    }

    /// Sends all of `bytes`.
    ///
    /// # Panics
    ///
    /// When the peer has closed; [`RawClient::try_send`] for tests in which it may.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the peer takes what is sent");
    }

    /// Sends all of `bytes`, or as much as the peer takes.
    ///
    /// # Errors
    ///
    /// When the peer has closed or takes nothing for [`PATIENCE`].
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.stream.write_all(bytes.as_ref())
    }

    /// Sends `bytes` in pieces of `every` bytes, each in its own segment.
    pub fn send_split(&mut self, bytes: impl AsRef<[u8]>, every: usize) {
        for piece in bytes.as_ref().chunks(every) {
            // TCP_NODELAY: each write is a segment; the yield lets the reader see it alone, mostly.
            self.send(piece);
            std::thread::yield_now();
        }
    }

    /// Sends a GET for `path` with `Host: host`.
    pub fn get(&mut self, host: &str, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.response()
    }

    /// Reads one response.
    ///
    /// # Panics
    ///
    /// When none can be read.
    pub fn response(&mut self) -> Response {
        self.read_response("GET").unwrap_or_else(|e| panic!("no response: {e:?}"))
    }

    /// Reads one response to a request with this `method`; interim responses are kept in it.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn read_response(&mut self, method: &str) -> Result<Response, ReadError> {
        self.bounded(|client| {
            let (head, status, interim) = client.final_head()?;
            let bodiless = method == "HEAD" || status == 204 || status == 304 || status == 101;
            let (body, trailers) = match head.framing()? {
                _ if bodiless => (Vec::new(), Fields::default()),
                Some(framing) => client.wire.body(framing)?,
                None => (client.wire.rest()?, Fields::default()),
            };
            Ok(Response { status, head, body, trailers, interim })
        })
    }

    /// Reads with a limit for the whole, since an endless body always has a next byte.
    fn bounded<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        self.wire.deadline = Some(Instant::now() + PATIENCE * 2);
        let result = read(self);
        self.wire.deadline = None;
        result
    }

    /// Reads the next head, interim or final, and leaves its body.
    ///
    /// # Panics
    ///
    /// When none can be read.
    pub fn head(&mut self) -> (u16, Head) {
        let head = self.wire.head().unwrap_or_else(|e| panic!("no head: {e:?}"));
        (Response::status_of(&head).unwrap_or_else(|e| panic!("{e:?}")), head)
    }

    fn final_head(&mut self) -> Result<(Head, u16, Vec<Head>), ReadError> {
        let mut interim = Vec::new();
        loop {
            let head = self.wire.head()?;
            let status = Response::status_of(&head)?;
            if status >= 200 || status == 101 {
                return Ok((head, status, interim));
            }
            interim.push(head);
        }
    }

    /// Reads the next chunk of a chunked body after [`RawClient::head`]; empty at the last one.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn chunk(&mut self) -> Result<Vec<u8>, ReadError> {
        self.wire.chunk()
    }

    /// Reads a whole chunked body after [`RawClient::head`].
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn chunked_body(&mut self) -> Result<(Vec<u8>, Fields), ReadError> {
        self.wire.body(Framing::Chunked)
    }

    /// Reads exactly `count` bytes.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn exactly(&mut self, count: usize) -> Result<Vec<u8>, ReadError> {
        self.wire.exactly(count)
    }

    /// Reads what comes next; empty at the end.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn some(&mut self) -> Result<Vec<u8>, ReadError> {
        if self.wire.pending.is_empty() {
            self.wire.fill()?;
        }
        Ok(std::mem::take(&mut self.wire.pending))
    }

    /// Sends bytes until the peer takes no more for `pause`; how many it took. Nothing is read meanwhile.
    pub fn send_until_held(&mut self, pause: Duration, most: usize) -> usize {
        let piece = [b'x'; 64 * 1024];
        let mut sent = 0;
        self.wire.stream.set_write_timeout(Some(pause)).expect("a positive timeout");
        while sent < most {
            match (&self.wire.stream).write(&piece) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        self.wire.stream.set_write_timeout(Some(PATIENCE)).expect("a positive timeout");
        sent
    }

    /// Reads all bytes up to the end.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn rest(&mut self) -> Result<Vec<u8>, ReadError> {
        self.bounded(|client| client.wire.rest())
    }

    /// Waits for the end of the connection.
    ///
    /// # Panics
    ///
    /// When bytes come instead, or the connection stays open for [`PATIENCE`].
    pub fn ending(&mut self) -> Ending {
        let ending = match self.wire.fill() {
            Ok(0) => Ending::Closed,
            Err(ReadError::Reset) => Ending::Reset,
            other => panic!("the connection did not end: {other:?}"),
        };
        assert!(self.wire.pending.is_empty(), "left over: {}", self.wire.pending.escape_ascii());
        ending
    }

    /// Whether a read would find bytes, or the end, without waiting.
    pub fn is_readable(&self) -> bool {
        let stream = &self.wire.stream;
        stream.set_nonblocking(true).expect("a connected socket");
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).expect("a connected socket");
        !self.wire.pending.is_empty() || !peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether no byte is left of what was read.
    pub(crate) fn is_drained(&self) -> bool {
        self.wire.pending.is_empty()
    }

    /// Whether nothing comes and nothing ends for `span`.
    pub fn is_quiet_for(&mut self, span: Duration) -> bool {
        self.patience(span);
        let quiet = self.wire.pending.is_empty() && self.wire.fill() == Err(ReadError::TimedOut);
        self.patience(PATIENCE);
        quiet
    }

    /// Sends a FIN; reading goes on.
    pub fn half_close(&mut self) {
        self.wire.stream.shutdown(Shutdown::Write).expect("a connected socket");
    }

    /// Ends the connection with a RST.
    pub fn reset(self) {
        socket2::SockRef::from(&self.wire.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("a connected socket lingers as told");
    }
}
