//! The floor: a relay that only receives and sends, so that a bench can tell what the kernel alone asks.
//!
//! One thread and four system calls an exchange; it parses nothing, limits nothing and waits in place where a socket is
//! full. It is no proxy to use.

use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::Context;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::poll::Poll;

/// Room for one `recv`, shared by all connections.
const READ_BYTES: usize = 64 * 1024;

/// The key of the listening socket; the two ends of pair N are 2N and 2N + 1.
const LISTENER_KEY: u64 = u64::MAX;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address to listen on
    #[arg(long)]
    listen: SocketAddr,
    /// Server to pass connections on to
    #[arg(long)]
    to: SocketAddr,
}

/// Relays until the process is ended.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    crate::hold::raise_descriptor_limit()?;
    let listener = TcpListener::bind(args.listen).with_context(|| format!("cannot bind {}", args.listen))?;
    Relay::new(listener, args.to)?.serve()
}

struct Relay {
    listener: TcpListener,
    to: SocketAddr,
    poll: Poll,
    pairs: Vec<Option<[TcpStream; 2]>>,
    /// Indices of `pairs` that are empty.
    free: Vec<usize>,
}

impl Relay {
    fn new(listener: TcpListener, to: SocketAddr) -> anyhow::Result<Self> {
        listener.set_nonblocking(true)?;
        let poll = Poll::new()?;
        poll.add(&listener, LISTENER_KEY)?;
        Ok(Self { listener, to, poll, pairs: Vec::new(), free: Vec::new() })
    }

    fn serve(mut self) -> anyhow::Result<()> {
        let mut keys = Vec::new();
        let mut room = vec![0; READ_BYTES];
        loop {
            self.poll.wait(None, &mut keys)?;
            for &key in &keys {
                match key {
                    LISTENER_KEY => self.accept()?,
                    key => self.pass(usize::try_from(key)?, &mut room),
                }
            }
        }
    }

    fn accept(&mut self) -> anyhow::Result<()> {
        while let Ok((client, _)) = self.listener.accept() {
            let Ok(server) = TcpStream::connect(self.to) else { continue };
            let index = self.free.pop().unwrap_or(self.pairs.len());
            let pair = [client, server];
            for (side, stream) in pair.iter().enumerate() {
                stream.set_nodelay(true)?;
                self.poll.add(stream, (2 * index + side) as u64)?;
            }
            if index == self.pairs.len() {
                self.pairs.push(None);
            }
            self.pairs[index] = Some(pair);
        }
        Ok(())
    }

    fn pass(&mut self, key: usize, room: &mut [u8]) {
        let (index, side) = (key / 2, key % 2);
        // An earlier event of the same batch may have closed the pair.
        let Some(pair) = &self.pairs[index] else { return };
        let lives = match recv(&pair[side], &mut *room, RecvFlags::empty()) {
            Ok((_, received)) if received > 0 => {
                send(&pair[1 - side], &room[..received], SendFlags::NOSIGNAL) == Ok(received)
            }
            _ => false,
        };
        if !lives {
            // Closing the descriptors takes them out of the epoll set.
            self.pairs[index] = None;
            self.free.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn bytes_pass_both_ways_and_an_end_ends_both() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let relay = Relay::new(listener, server.local_addr().unwrap()).unwrap();
        std::thread::spawn(move || relay.serve());

        let mut client = TcpStream::connect(address).unwrap();
        let (mut behind, _) = server.accept().unwrap();
        let mut room = [0; 4];
        client.write_all(b"ping").unwrap();
        behind.read_exact(&mut room).unwrap();
        assert_eq!(&room, b"ping");
        behind.write_all(b"pong").unwrap();
        client.read_exact(&mut room).unwrap();
        assert_eq!(&room, b"pong");
        drop(client);
        assert_eq!(behind.read(&mut room).unwrap(), 0);
    }
}
