//! TCP with a new connection for each exchange, closed by the client.
//!
//! The client closes first, as most clients do, without SO_LINGER, so that the proxy sees an ordinary end. What that
//! leaves behind in TIME_WAIT would soon use up the ports of one address: clients come from several, with ports of
//! their own choice in turn, so that one returns only after seconds, when the kernel lets it be used again.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::ops::Range;
use std::time::Instant;

use anyhow::ensure;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{bind, connect, recv, send, socket_with, sockopt};

use super::{Args, READ_BYTES, Tally, message};
use crate::poll::Poll;

/// 127.0.0.2 and the ones that follow it.
const ADDRESSES: u32 = 8;

/// Below what the kernel gives to others by default.
const PORTS: Range<u16> = 10_000..32_000;

struct Client {
    stream: TcpStream,
    answered: usize,
    began_at: Instant,
}

pub(super) fn run(args: &Args, tally: &mut Tally) -> anyhow::Result<()> {
    let poll = Poll::new()?;
    let mut sources = (0..).map(source);
    let messages: Vec<_> = (0..args.clients).map(|index| message(index, args.bytes)).collect();
    let mut clients: Vec<Option<Client>> = Vec::new();
    clients.resize_with(args.clients, || None);
    let (mut keys, mut room) = (Vec::new(), vec![0; READ_BYTES]);
    loop {
        for (index, place) in clients.iter_mut().enumerate().filter(|(_, place)| place.is_none()) {
            let source = sources.next().expect("sources repeat for ever");
            match Client::begin(source, args.to, &messages[index]) {
                Ok(client) => {
                    poll.add(&client.stream, index as u64)?;
                    *place = Some(client);
                }
                Err(_) => tally.failed += 1,
            }
        }
        ensure!(clients.iter().any(Option::is_some), "not one connection could be made to {}", args.to);
        let now = Instant::now();
        if tally.is_over(now) {
            return Ok(());
        }
        poll.wait(Some(tally.end - now), &mut keys)?;
        for &key in &keys {
            let index = usize::try_from(key)?;
            let Some(client) = &mut clients[index] else { continue };
            match client.receive(&messages[index], &mut room) {
                Ok(false) => continue,
                Ok(true) => tally.done(client.began_at, Instant::now()),
                Err(_) => tally.failed += 1,
            }
            clients[index] = None;
        }
    }
}

impl Client {
    fn begin(source: SocketAddrV4, to: SocketAddr, message: &[u8]) -> anyhow::Result<Self> {
        let began_at = Instant::now();
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &source)?;
        // Over loopback the kernel completes it within the call, as long as the proxy's queue has room.
        connect(&socket, &to)?;
        let sent = send(&socket, message, SendFlags::NOSIGNAL)?;
        ensure!(sent == message.len(), "a message did not fit an empty socket");
        Ok(Self { stream: socket.into(), answered: 0, began_at })
    }

    /// Whether the answer is complete.
    fn receive(&mut self, message: &[u8], room: &mut [u8]) -> anyhow::Result<bool> {
        let (_, received) = recv(&self.stream, &mut *room, RecvFlags::empty())?;
        let expected = message.get(self.answered..self.answered + received);
        ensure!(received > 0 && expected == Some(&room[..received]), "an end, or other bytes than were sent");
        self.answered += received;
        Ok(self.answered == message.len())
    }
}

/// The address of connection number `number`.
pub(super) fn source(number: u32) -> SocketAddrV4 {
    let ports = u32::from(PORTS.end - PORTS.start);
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 2)) + number % ADDRESSES);
    let port = PORTS.start + u16::try_from(number / ADDRESSES % ports).expect("fewer ports than 65,536");
    SocketAddrV4::new(address, port)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_address_returns_only_after_all_others() {
        let all = ADDRESSES * u32::from(PORTS.end - PORTS.start);
        let distinct: HashSet<_> = (0..all).map(source).collect();
        assert_eq!(distinct.len(), all as usize);
        assert_eq!(source(all), source(0));
        assert!(distinct.iter().all(|source| PORTS.contains(&source.port()) && source.ip().is_loopback()));
    }
}
