//! What stands behind a measured stream proxy: it returns whatever it receives, over TCP and UDP.
//!
//! One `recv` and one `send` for each message, so that it is never the bottleneck. One thread for TCP, one for UDP.

use std::net::{TcpListener, TcpStream, UdpSocket};

use anyhow::Context;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde_json::json;

use crate::poll::Poll;

/// Room for one message.
const READ_BYTES: usize = 64 * 1024;

/// The keys of listening sockets begin here; connections use their index.
const LISTENER_KEY: u64 = 1 << 32;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// TCP ports to listen on, so that a proxy which connects anew each time does not run out of its own
    #[arg(long, default_value_t = 1)]
    ports: usize,
}

/// Serves until the process is ended; prints its addresses as one JSON line first.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    crate::hold::raise_descriptor_limit()?;
    let echo = Echo::bind(args.ports)?;
    let datagrams = UdpSocket::bind("127.0.0.1:0").context("cannot bind a UDP socket")?;
    let tcp: Vec<_> = echo.listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    println!("{}", json!({ "tcp": tcp, "udp": datagrams.local_addr()? }));
    std::thread::spawn(move || return_datagrams(&datagrams));
    echo.serve()
}

struct Echo {
    listeners: Vec<TcpListener>,
    poll: Poll,
    connections: Vec<Option<TcpStream>>,
    /// Indices of `connections` that are empty.
    free: Vec<usize>,
}

impl Echo {
    fn bind(ports: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut listeners = Vec::new();
        for key in (LISTENER_KEY..).take(ports) {
            let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
            listener.set_nonblocking(true)?;
            poll.add(&listener, key)?;
            listeners.push(listener);
        }
        Ok(Self { listeners, poll, connections: Vec::new(), free: Vec::new() })
    }

    fn serve(mut self) -> anyhow::Result<()> {
        let mut keys = Vec::new();
        let mut room = vec![0; READ_BYTES];
        loop {
            self.poll.wait(None, &mut keys)?;
            for &key in &keys {
                match key.checked_sub(LISTENER_KEY) {
                    Some(listener) => self.accept(usize::try_from(listener)?)?,
                    None => self.answer(usize::try_from(key)?, &mut room),
                }
            }
        }
    }

    fn accept(&mut self, listener: usize) -> anyhow::Result<()> {
        while let Ok((stream, _)) = self.listeners[listener].accept() {
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or(self.connections.len());
            self.poll.add(&stream, index as u64)?;
            if index == self.connections.len() {
                self.connections.push(None);
            }
            self.connections[index] = Some(stream);
        }
        Ok(())
    }

    fn answer(&mut self, index: usize, room: &mut [u8]) {
        let Some(stream) = &self.connections[index] else { return };
        // The socket has something to read, and what it sends fits its buffer: neither call waits.
        let lives = match recv(stream, &mut *room, RecvFlags::empty()) {
            Ok((_, received)) if received > 0 => {
                send(stream, &room[..received], SendFlags::NOSIGNAL) == Ok(received)
            }
            _ => false,
        };
        if !lives {
            // Closing the descriptor takes it out of the epoll set.
            self.connections[index] = None;
            self.free.push(index);
        }
    }
}

fn return_datagrams(socket: &UdpSocket) {
    let mut room = vec![0; READ_BYTES];
    loop {
        // An error is the refusal of an earlier datagram by a client that has left.
        if let Ok((received, from)) = socket.recv_from(&mut room) {
            let _ = socket.send_to(&room[..received], from);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn bytes_come_back_on_every_port() {
        let echo = Echo::bind(2).unwrap();
        let addresses: Vec<_> = echo.listeners.iter().map(|l| l.local_addr().unwrap()).collect();
        std::thread::spawn(move || echo.serve());
        for address in addresses {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"there").unwrap();
            let mut back = [0; 5];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"there");
        }
    }

    #[test]
    fn datagrams_come_back() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || return_datagrams(&socket));
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(address).unwrap();
        client.send(b"there").unwrap();
        let mut back = [0; 16];
        let received = client.recv(&mut back).unwrap();
        assert_eq!(&back[..received], b"there");
    }
}
