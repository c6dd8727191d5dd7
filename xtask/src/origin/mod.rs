//! The origin behind every contestant: one thread, epoll, precomputed answers.
//!
//! It must never be the bottleneck, so it does one `recv` and one `send` per small request, and sends large bodies
//! from a memory file without copying. It understands only what the benches send: GET without a body.

mod connection;
mod reply;

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use anyhow::Context;
use connection::{Connection, Progress};
use reply::{Replies, large_body};
use rustix::event::epoll::{self, EventData, EventFlags};

/// Events taken from the kernel in one call; more connections than this are simply served in turns.
const EVENTS_MAX: usize = 512;

/// Room for one `recv`, shared by all connections.
const READ_BYTES: usize = 64 * 1024;

/// The key of the listening socket in the epoll set; connections use their index.
const LISTENER_KEY: u64 = u64::MAX;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address to listen on; port 0 takes a free one, which is printed
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// Serves until the process is ended.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    crate::hold::raise_descriptor_limit()?;
    let origin = Origin::bind(args.listen)?;
    println!("listening on {}", origin.address()?);
    origin.serve()
}

/// A listening origin; `serve` runs it on the calling thread.
struct Origin {
    listener: TcpListener,
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    /// Indices of `connections` that are empty.
    free: Vec<usize>,
    replies: Replies,
    large: File,
}

impl Origin {
    fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER_KEY), EventFlags::IN)?;
        Ok(Self {
            listener,
            epoll,
            connections: Vec::new(),
            free: Vec::new(),
            replies: Replies::new(),
            large: large_body()?,
        })
    }

    fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    fn serve(mut self) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut scratch = vec![0; READ_BYTES];
        loop {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error).context("epoll_wait"),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER_KEY => self.accept()?,
                    key => self.drive(usize::try_from(key)?, &mut scratch)?,
                }
            }
        }
    }

    fn accept(&mut self) -> anyhow::Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or(self.connections.len());
            epoll::add(&self.epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
            let connection = Some(Connection::new(stream));
            match self.connections.get_mut(index) {
                Some(slot) => *slot = connection,
                None => self.connections.push(connection),
            }
        }
        Ok(())
    }

    fn drive(&mut self, index: usize, scratch: &mut [u8]) -> anyhow::Result<()> {
        // An earlier event of the same batch may have closed it.
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return Ok(());
        };
        let waited_for = connection.interest();
        match connection.drive(&self.replies, &self.large, scratch) {
            Progress::Continue if connection.interest() == waited_for => {}
            Progress::Continue => {
                let key = EventData::new_u64(index as u64);
                epoll::modify(&self.epoll, connection.stream(), key, connection.interest())?;
            }
            Progress::Close => {
                // Closing the descriptor takes it out of the epoll set.
                self.connections[index] = None;
                self.free.push(index);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn connect() -> TcpStream {
        let origin = Origin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = origin.address().unwrap();
        std::thread::spawn(move || origin.serve());
        TcpStream::connect(address).unwrap()
    }

    fn read_response(stream: &mut TcpStream) -> (String, Vec<u8>) {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        (head, body)
    }

    #[test]
    fn small_and_large_bodies_have_their_lengths() {
        let mut stream = connect();
        for (path, length) in [("/128", 128), ("/1m", 1 << 20), ("/128", 128)] {
            write!(stream, "GET {path} HTTP/1.1\r\nHost: o\r\n\r\n").unwrap();
            let (head, body) = read_response(&mut stream);
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert_eq!(body.len(), length);
        }
    }

    #[test]
    fn pipelined_requests_are_answered_in_order() {
        let mut stream = connect();
        let heads =
            ["/128", "/1m", "/none", "/128"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: o\r\n\r\n"));
        stream.write_all(heads.concat().as_bytes()).unwrap();
        let lengths = heads.map(|_| read_response(&mut stream).1.len());
        assert_eq!(lengths, [128, 1 << 20, 0, 128]);
    }

    #[test]
    fn a_head_split_at_every_byte_is_answered_once() {
        let mut stream = connect();
        stream.set_nodelay(true).unwrap();
        for byte in b"GET /128 HTTP/1.1\r\nHost: o\r\n\r\n" {
            stream.write_all(&[*byte]).unwrap();
        }
        assert_eq!(read_response(&mut stream).1.len(), 128);
    }

    #[test]
    fn an_upgrade_is_accepted_with_the_proof_of_rfc_6455_and_then_echoes() {
        let mut stream = connect();
        let head = "GET /upgrade HTTP/1.1\r\nHost: o\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let (head, _) = read_response(&mut stream);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
        let sent = vec![7; 300_000];
        let mut writer = stream.try_clone().unwrap();
        let copy = sent.clone();
        std::thread::spawn(move || writer.write_all(&copy).unwrap());
        let mut echoed = vec![0; sent.len()];
        stream.read_exact(&mut echoed).unwrap();
        assert_eq!(echoed, sent);
    }
}
