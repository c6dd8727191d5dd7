//! One connection of the origin.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use memchr::memmem;
use rustix::event::epoll::EventFlags;

use super::reply::{LARGE_BYTES, Replies, Reply};

/// A request head longer than this closes the connection.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Whether the connection lives on.
pub(super) enum Progress {
    /// Wait for the next event.
    Continue,
    /// Drop it.
    Close,
}

/// A client's connection: what is not yet parsed, and what is not yet sent.
pub(super) struct Connection {
    stream: TcpStream,
    /// Bytes received and not yet understood: part of a head, or requests waiting for earlier answers.
    input: Vec<u8>,
    output: VecDeque<Piece>,
    /// Set by an upgrade: bytes go back as they came.
    echoing: bool,
}

enum Piece {
    Fixed(&'static [u8]),
    Owned(Vec<u8>, usize),
    /// The rest of the large body, from this offset.
    Large(u64),
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, input: Vec::new(), output: VecDeque::new(), echoing: false }
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// What to wait for: reading stops while an answer is stuck, so a slow reader holds itself back.
    pub(super) fn interest(&self) -> EventFlags {
        if self.output.is_empty() { EventFlags::IN } else { EventFlags::OUT }
    }

    /// Does what can be done now, without waiting. `scratch` is room for one read.
    pub(super) fn drive(&mut self, replies: &Replies, large: &File, scratch: &mut [u8]) -> Progress {
        self.step(replies, large, scratch).unwrap_or(Progress::Close)
    }

    fn step(&mut self, replies: &Replies, large: &File, scratch: &mut [u8]) -> std::io::Result<Progress> {
        if !self.output.is_empty() {
            self.flush(large)?;
            let waiting = std::mem::take(&mut self.input);
            return self.understand(&waiting, replies, large);
        }
        let received = match self.stream.read(scratch) {
            Ok(0) => return Ok(Progress::Close),
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Continue),
            Err(error) => return Err(error),
        };
        if self.input.is_empty() {
            return self.understand(&scratch[..received], replies, large);
        }
        let mut whole = std::mem::take(&mut self.input);
        whole.extend_from_slice(&scratch[..received]);
        self.understand(&whole, replies, large)
    }

    fn understand(&mut self, mut bytes: &[u8], replies: &Replies, large: &File) -> std::io::Result<Progress> {
        while !bytes.is_empty() && self.output.is_empty() {
            if self.echoing {
                self.output.push_back(Piece::Owned(bytes.to_vec(), 0));
                bytes = &[];
            } else {
                let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { break };
                let (head, rest) = bytes.split_at(end + 4);
                bytes = rest;
                self.answer(replies.choose(head));
            }
            self.flush(large)?;
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Ok(Progress::Close);
        }
        self.input.extend_from_slice(bytes);
        Ok(Progress::Continue)
    }

    fn answer(&mut self, reply: Reply) {
        match reply {
            Reply::Whole(bytes) => self.output.push_back(Piece::Fixed(bytes)),
            Reply::Large(head) => self.output.extend([Piece::Fixed(head), Piece::Large(0)]),
            Reply::Switch(head) => {
                self.output.push_back(Piece::Owned(head, 0));
                self.echoing = true;
            }
        }
    }

    /// Sends until nothing is left or the socket is full.
    fn flush(&mut self, large: &File) -> std::io::Result<()> {
        while let Some(piece) = self.output.front_mut() {
            match piece.send(&mut self.stream, large) {
                Ok(true) => drop(self.output.pop_front()),
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Piece {
    /// Sends once; true when the piece is complete.
    fn send(&mut self, stream: &mut TcpStream, large: &File) -> std::io::Result<bool> {
        match self {
            Self::Fixed(bytes) => {
                let sent = stream.write(bytes)?;
                *bytes = &bytes[sent..];
                Ok(bytes.is_empty())
            }
            Self::Owned(bytes, from) => {
                *from += stream.write(&bytes[*from..])?;
                Ok(*from == bytes.len())
            }
            Self::Large(from) => {
                let left = usize::try_from(LARGE_BYTES - *from).expect("the large body fits in memory");
                rustix::fs::sendfile(&*stream, large, Some(from), left)?;
                Ok(*from == LARGE_BYTES)
            }
        }
    }
}
