use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::frame::{self, flag, kind};

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
    /// An answer to a PING of ours.
    Pong,
    /// Our SETTINGS hold from here on.
    SettingsAck,
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

impl H2Peer {
    /// Writes one frame; a client that is gone is found out by reading.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send(&frame::frame(kind, flags, stream, payload));
    }

    fn send(&mut self, frame: &[u8]) {
        let _gone = self.stream.write_all(frame);
    }

    /// HEADERS with this block.
    pub fn headers(&mut self, stream: u32, block: &[u8], end: bool) {
        self.frame(kind::HEADERS, flag::END_HEADERS | end_stream(end), stream, block);
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
        self.send(&frame::data(stream, end_stream(end), bytes));
    }

    /// RST_STREAM.
    pub fn reset(&mut self, stream: u32, code: u32) {
        self.send(&frame::reset(stream, code));
    }

    /// SETTINGS.
    pub fn settings(&mut self, settings: &[(u16, u32)]) {
        self.send(&frame::settings(settings));
    }

    /// GOAWAY without an error.
    pub fn go_away(&mut self, last: u32) {
        self.send(&frame::goaway(last, frame::code::NO_ERROR));
    }

    /// WINDOW_UPDATE.
    pub fn credit(&mut self, stream: u32, bytes: u32) {
        self.send(&frame::window_update(stream, bytes));
    }

    /// Ends the connection.
    pub fn close(&mut self) {
        let _gone = self.stream.shutdown(Shutdown::Both);
    }
}

fn end_stream(end: bool) -> u8 {
    if end { flag::END_STREAM } else { 0 }
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
    let mut preface = [0; frame::PREFACE.len()];
    if peer.stream.read_exact(&mut preface).is_err() || preface != *frame::PREFACE {
        return;
    }
    peer.settings(settings);
    while let Ok((kind, flags, stream, mut payload)) = read_frame(&peer.stream) {
        // END_STREAM, and ACK of what belongs to no stream.
        let end = flags & flag::END_STREAM != 0;
        match kind {
            kind::DATA => {
                if peer.gives_credit && !payload.is_empty() {
                    let bytes = payload.len() as u32;
                    peer.credit(0, bytes);
                    if !end {
                        peer.credit(stream, bytes);
                    }
                }
                if flags & flag::PADDED != 0 {
                    let padding = usize::from(payload.remove(0));
                    payload.truncate(payload.len() - padding);
                }
                serve(&mut peer, H2Event::Data { stream, bytes: payload, end });
            }
            kind::HEADERS => serve(&mut peer, H2Event::Headers { stream, end }),
            kind::RST_STREAM => {
                let code = payload.try_into().map_or(u32::MAX, u32::from_be_bytes);
                serve(&mut peer, H2Event::Reset { stream, code });
            }
            kind::SETTINGS if !end && peer.answers => peer.frame(kind::SETTINGS, flag::ACK, 0, &[]),
            kind::SETTINGS if end => serve(&mut peer, H2Event::SettingsAck),
            kind::PING if end => serve(&mut peer, H2Event::Pong),
            kind::PING => {
                serve(&mut peer, H2Event::Ping);
                if peer.answers {
                    peer.frame(kind::PING, flag::ACK, 0, &payload);
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
