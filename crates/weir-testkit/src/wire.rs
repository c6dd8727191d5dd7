use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Instant;

use crate::message::{Fields, Framing, Head};

/// Longest head that either end reads.
const HEAD_BYTES_MAX: usize = 1 << 20;

/// Why no message could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    /// The peer closed before the first byte.
    Closed,
    /// The peer closed in the middle of a message; the part of the body that had come is kept.
    Cut {
        /// Body bytes that had arrived.
        body: Vec<u8>,
    },
    /// The peer reset the connection.
    Reset,
    /// Nothing came for the whole read timeout.
    TimedOut,
    /// The bytes are no HTTP/1.1 message; the text says why.
    Malformed(String),
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a FIN.
    Closed,
    /// With a RST.
    Reset,
}

/// A socket and the bytes that were read from it but not yet used.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    pub(crate) pending: Vec<u8>,
    /// All bytes that ever came in.
    pub(crate) received: usize,
    /// When reading gives up although bytes still come: an endless body must not make an endless test.
    pub(crate) deadline: Option<Instant>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, pending: Vec::new(), received: 0, deadline: None }
    }

    /// Reads more bytes; `Ok(0)` at the end.
    pub(crate) fn fill(&mut self) -> Result<usize, ReadError> {
        let mut buffer = [0; 16 * 1024];
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(ReadError::TimedOut);
        }
        loop {
            match self.stream.read(&mut buffer) {
                Ok(count) => {
                    self.pending.extend_from_slice(&buffer[..count]);
                    self.received += count;
                    return Ok(count);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(ReadError::TimedOut);
                }
                Err(_) => return Err(ReadError::Reset),
            }
        }
    }

    fn need(&mut self) -> Result<(), ReadError> {
        if self.fill()? == 0 { Err(ReadError::Cut { body: Vec::new() }) } else { Ok(()) }
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        self.pending.drain(..count).collect()
    }

    /// Reads one head. Only the very first byte may be missing for [`ReadError::Closed`].
    pub(crate) fn head(&mut self) -> Result<Head, ReadError> {
        let mut searched = 0;
        loop {
            let from = usize::saturating_sub(searched, 3);
            if let Some(at) = self.pending[from..].windows(4).position(|w| w == b"\r\n\r\n") {
                return Head::parse(self.take(from + at + 4));
            }
            searched = self.pending.len();
            if searched > HEAD_BYTES_MAX {
                return Err(ReadError::Malformed("head without an end".into()));
            }
            match self.fill() {
                Ok(0) if self.pending.is_empty() => return Err(ReadError::Closed),
                Ok(0) => return Err(ReadError::Cut { body: Vec::new() }),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn exactly(&mut self, count: usize) -> Result<Vec<u8>, ReadError> {
        while self.pending.len() < count {
            self.need()?;
        }
        Ok(self.take(count))
    }

    /// One line ended by CRLF, without it.
    pub(crate) fn line(&mut self) -> Result<Vec<u8>, ReadError> {
        loop {
            if let Some(at) = self.pending.iter().position(|b| *b == b'\n') {
                let mut line = self.take(at + 1);
                line.pop();
                if line.pop() != Some(b'\r') || line.contains(&b'\r') {
                    return Err(ReadError::Malformed("line not ended by CRLF".into()));
                }
                return Ok(line);
            }
            self.need()?;
        }
    }

    /// The next chunk of a chunked body; empty at the last one, whose trailers are still unread.
    pub(crate) fn chunk(&mut self) -> Result<Vec<u8>, ReadError> {
        let line = self.line()?;
        let bad = || ReadError::Malformed(format!("chunk size: {}", line.escape_ascii()));
        let digits = std::str::from_utf8(&line).map_err(|_| bad())?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let size = usize::from_str_radix(digits, 16).map_err(|_| bad())?;
        if size == 0 {
            return Ok(Vec::new());
        }
        let data = self.exactly(size)?;
        if self.exactly(2)? != b"\r\n" {
            return Err(ReadError::Malformed("chunk not followed by CRLF".into()));
        }
        Ok(data)
    }

    pub(crate) fn trailers(&mut self) -> Result<Fields, ReadError> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Fields::parse(lines.iter().map(Vec::as_slice));
            }
            lines.push(line);
        }
    }

    /// The body as framed; what had come is kept when it is cut.
    pub(crate) fn body(&mut self, framing: Framing) -> Result<(Vec<u8>, Fields), ReadError> {
        match framing {
            Framing::Length(length) => match self.exactly(length) {
                Err(ReadError::Cut { .. }) => Err(ReadError::Cut { body: std::mem::take(&mut self.pending) }),
                other => Ok((other?, Fields::default())),
            },
            Framing::Chunked => {
                let mut body = Vec::new();
                loop {
                    match self.chunk() {
                        Ok(data) if data.is_empty() => return Ok((body, self.trailers()?)),
                        Ok(data) => body.extend(data),
                        Err(ReadError::Cut { .. }) => return Err(ReadError::Cut { body }),
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Result<Vec<u8>, ReadError> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.pending))
    }
}
