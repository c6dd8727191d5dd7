use std::fmt;
use std::future::poll_fn;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use tokio::net::TcpStream;
use weir_net::{Buffer, Buffers, Socket};
use weir_wire::http1::{HeadLimits, HeadScanner, Known, ResponseHead, decimal};
use weir_wire::websocket::accept_of;

use crate::relay::PROTOCOL;

/// Where a relay is: `ws://host:port`, with a path or without; `http://` means the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayUrl {
    authority: String,
    host: String,
    port: u16,
    path: String,
}

/// Why a text names no relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RelayUrlError {
    /// Not `ws://` or `http://`.
    #[error("a relay is `ws://HOST[:PORT][/PATH]`")]
    Scheme,
    /// No host, or a bad port.
    #[error("the relay's host or port is not valid")]
    Authority,
    /// A path that cannot stand in a request.
    #[error("the relay's path is not valid")]
    Path,
}

impl FromStr for RelayUrl {
    type Err = RelayUrlError;

    fn from_str(text: &str) -> Result<Self, RelayUrlError> {
        let rest = text.strip_prefix("ws://").or_else(|| text.strip_prefix("http://"));
        let rest = rest.ok_or(RelayUrlError::Scheme)?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let has_port =
            authority.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
        let (host, port) = match has_port {
            Some((host, port)) => (host, port.parse().map_err(|_| RelayUrlError::Authority)?),
            None => (authority, 80),
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if host.is_empty() || port == 0 || !host.bytes().all(is_host) {
            return Err(RelayUrlError::Authority);
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(RelayUrlError::Path);
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = if path.len() <= 1 { "/tunnel/connect" } else { path };
        Ok(Self { authority: authority.to_owned(), host, port, path: path.to_owned() })
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.authority, self.path)
    }
}

/// Why there is no session with the relay.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The relay cannot be reached, or the connection broke.
    #[error("the relay cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    /// It took too long.
    #[error("the relay did not answer in time")]
    TimedOut,
    /// It answered something else than a relay's upgrade.
    #[error("the relay's answer is not an upgrade: {0}")]
    NotARelay(&'static str),
    /// It refused us.
    #[error("the relay refused the agent: {status} {code}")]
    Refused {
        /// The status.
        status: u16,
        /// Its `weir-error`, empty where it is none of ours.
        code: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
}

impl ConnectError {
    /// Whether asking again cannot help: who we are or what we speak is wrong.
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Refused { status: 400 | 401 | 403 | 404 | 405 | 409 | 426, .. })
    }

    /// When the relay wants to be asked again.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Unreachable(_) | Self::TimedOut | Self::NotARelay(_) => None,
        }
    }
}

/// How long the connection and the handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const HEAD_LIMITS: HeadLimits = HeadLimits { bytes: 16 << 10, fields: 64 };

/// Dials the relay and shakes hands; what came behind its head is returned with the connection.
pub(super) async fn connect(
    relay: &RelayUrl,
    token: &str,
    buffers: &Buffers,
) -> Result<(Socket, Vec<u8>), ConnectError> {
    let connecting = async {
        let stream = TcpStream::connect((&*relay.host, relay.port)).await?;
        stream.set_nodelay(true)?;
        let mut socket = Socket::Tcp(stream);
        let mut buffer = buffers.take();
        let shaken = shake_hands(&mut socket, &mut buffer, relay, token).await;
        let ahead = buffer.filled().to_vec();
        buffers.put(buffer);
        shaken.map(|()| (socket, ahead))
    };
    tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| ConnectError::TimedOut)?
}

async fn shake_hands(
    socket: &mut Socket,
    buffer: &mut Buffer,
    relay: &RelayUrl,
    token: &str,
) -> Result<(), ConnectError> {
    let key = key();
    let RelayUrl { authority, path, .. } = relay;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {authority}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\nsec-websocket-protocol: {PROTOCOL}, yamux\r\n\
         authorization: Bearer {token}\r\nuser-agent: weir-agent/{}\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut rest = request.as_bytes();
    while !rest.is_empty() {
        let count = poll_fn(|cx| socket.poll_write(cx, rest)).await?;
        rest = &rest[count..];
    }
    let mut scanner = HeadScanner::default();
    let length = loop {
        if poll_fn(|cx| socket.poll_read(cx, buffer)).await? == 0 {
            return Err(ConnectError::Unreachable(io::ErrorKind::UnexpectedEof.into()));
        }
        let scanned = scanner.scan(buffer.filled(), HEAD_LIMITS.bytes);
        match scanned.map_err(|_| ConnectError::NotARelay("it is not HTTP"))? {
            Some(length) => break length,
            None if buffer.room().is_empty() => return Err(ConnectError::NotARelay("its head is too long")),
            None => {}
        }
    };
    let mut response = ResponseHead::default();
    let parsed = response.parse(&buffer.filled()[..length], &HEAD_LIMITS);
    parsed.map_err(|_| ConnectError::NotARelay("its head is malformed"))?;
    buffer.consume(length);
    judge(&response, &key)
}

fn judge(response: &ResponseHead, key: &str) -> Result<(), ConnectError> {
    let fields = &response.fields;
    if response.status != 101 {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let seconds = fields.named(b"retry-after").next().and_then(decimal);
        return Err(ConnectError::Refused {
            status: response.status,
            code: fields.get(Known::WeirError).map(text).unwrap_or_default(),
            retry_after: seconds.map(|seconds| Duration::from_secs(seconds.min(3_600))),
        });
    }
    if fields.get(Known::SecWebSocketAccept) != Some(accept_of(key.as_bytes()).as_bytes()) {
        return Err(ConnectError::NotARelay("Sec-WebSocket-Accept does not belong to the key"));
    }
    match fields.named(b"sec-websocket-protocol").next() {
        Some(protocol) if protocol == PROTOCOL.as_bytes() || protocol == b"yamux" => Ok(()),
        _ => Err(ConnectError::NotARelay("it speaks none of the protocols that we offer")),
    }
}

/// A fresh `Sec-WebSocket-Key`: 16 bytes in base64.
fn key() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut key: String = (0..21).map(|_| char::from(ALPHABET[fastrand::usize(..64)])).collect();
    // The last character carries two bits.
    key.push(char::from(ALPHABET[fastrand::usize(..4) * 16]));
    key.push_str("==");
    key
}
