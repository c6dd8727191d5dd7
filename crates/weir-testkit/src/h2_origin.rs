use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A server of HTTP/2 without TLS that says what a test has it say, frame by frame.
///
/// It acknowledges SETTINGS and PING by itself, and gives credit for what it receives unless told not to.
pub struct H2Origin {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    acceptor: Option<JoinHandle<()>>,
}

/// What came from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum H2Event {
    /// The head of a request, or its trailers: the block as it is encoded.
    Headers {
        /// The stream.
        stream: u32,
        /// Whether nothing follows.
        end: bool,
    },
    /// Data.
    Data {
        /// The stream.
        stream: u32,
        /// The bytes, without padding.
        bytes: Vec<u8>,
        /// Whether nothing follows.
        end: bool,
    },
    /// RST_STREAM.
    Reset {
        /// The stream.
        stream: u32,
        /// The error code.
        code: u32,
    },
    /// PING, not an answer to one; it is answered after this.
    Ping,
}

/// One connection, to be written to.
pub struct H2Peer {
    stream: TcpStream,
    /// How many connections there were before it.
    pub connection: usize,
    /// Whether credit is given for what is received.
    pub gives_credit: bool,
    /// Whether it goes on answering SETTINGS and PING.
    pub answers: bool,
}

/// `:status: 200`, from the static table.
pub const STATUS_200: &[u8] = &[0x88];

/// A field of HPACK that is neither indexed nor Huffman-coded.
pub fn h2_field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).ok().filter(|&l| l < 127).expect("a short text");
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

impl H2Peer {
    /// Writes one frame; a client that is gone is found out by reading.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        let _gone = self.stream.write_all(&frame);
    }

    /// HEADERS with this block.
    pub fn headers(&mut self, stream: u32, block: &[u8], end: bool) {
        self.frame(1, 4 | u8::from(end), stream, block);
    }

    /// An answer with the status 200 and this body.
    pub fn answer(&mut self, stream: u32, body: &[u8]) {
        self.headers(stream, STATUS_200, body.is_empty());
        if !body.is_empty() {
            self.data(stream, body, true);
        }
    }

    /// DATA.
    pub fn data(&mut self, stream: u32, bytes: &[u8], end: bool) {
        self.frame(0, u8::from(end), stream, bytes);
    }

    /// RST_STREAM.
    pub fn reset(&mut self, stream: u32, code: u32) {
        self.frame(3, 0, stream, &code.to_be_bytes());
    }

    /// SETTINGS.
    pub fn settings(&mut self, settings: &[(u16, u32)]) {
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        self.frame(4, 0, 0, &payload);
    }

    /// GOAWAY without an error.
    pub fn go_away(&mut self, last: u32) {
        self.frame(7, 0, 0, &[last.to_be_bytes(), [0; 4]].concat());
    }

    /// WINDOW_UPDATE.
    pub fn credit(&mut self, stream: u32, bytes: u32) {
        self.frame(8, 0, stream, &bytes.to_be_bytes());
    }

    /// Ends the connection.
    pub fn close(&mut self) {
        let _gone = self.stream.shutdown(Shutdown::Both);
    }
}

impl H2Origin {
    /// Serves every connection on a thread of its own: SETTINGS with these values, then whatever `serve` does with what
    /// comes.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    pub fn start(
        settings: &[(u16, u32)],
        serve: impl Fn(&mut H2Peer, H2Event) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of the kernel's choice");
        let addr = listener.local_addr().expect("it is bound");
        let (connections, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let serve = Arc::new(serve);
        let settings = settings.to_vec();
        let (count, stopping, streams) = (Arc::clone(&connections), Arc::clone(&stop), Arc::clone(&open));
        let acceptor = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopping.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(copy) = stream.try_clone() else { continue };
                streams.lock().expect("no thread panics with it").push(copy);
                let _as_it_is = stream.set_nodelay(true);
                let connection = count.fetch_add(1, Ordering::SeqCst);
                let peer = H2Peer { stream, connection, gives_credit: true, answers: true };
                let (serve, settings) = (Arc::clone(&serve), settings.clone());
                std::thread::spawn(move || converse(peer, &settings, &*serve));
            }
        });
        Self { addr, connections, stop, open, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connections so far.
    pub fn connection_count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for H2Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _woken = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ended = acceptor.join();
        }
        for stream in self.open.lock().expect("no thread panics with it").iter() {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }
}

fn converse(mut peer: H2Peer, settings: &[(u16, u32)], serve: &impl Fn(&mut H2Peer, H2Event)) {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut preface = [0; PREFACE.len()];
    if peer.stream.read_exact(&mut preface).is_err() || preface != PREFACE {
        return;
    }
    peer.settings(settings);
    while let Ok((kind, flags, stream, mut payload)) = read_frame(&peer.stream) {
        let end = flags & 1 != 0;
        match kind {
            0 => {
                if peer.gives_credit && !payload.is_empty() {
                    let bytes = payload.len() as u32;
                    peer.credit(0, bytes);
                    if !end {
                        peer.credit(stream, bytes);
                    }
                }
                if flags & 8 != 0 {
                    let padding = usize::from(payload.remove(0));
                    payload.truncate(payload.len() - padding);
                }
                serve(&mut peer, H2Event::Data { stream, bytes: payload, end });
            }
            1 => serve(&mut peer, H2Event::Headers { stream, end }),
            3 => {
                let code = payload.try_into().map_or(u32::MAX, u32::from_be_bytes);
                serve(&mut peer, H2Event::Reset { stream, code });
            }
            4 if !end && peer.answers => peer.frame(4, 1, 0, &[]),
            6 if !end => {
                serve(&mut peer, H2Event::Ping);
                if peer.answers {
                    peer.frame(6, 1, 0, &payload);
                }
            }
            _ => {}
        }
    }
}

fn read_frame(mut from: &TcpStream) -> std::io::Result<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    from.read_exact(&mut head)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    if length > 1 << 20 {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut payload = vec![0; length];
    from.read_exact(&mut payload)?;
    Ok((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff, payload))
}
