//! UDP sessions: one client address each.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::WAVE;

/// Clients have a few ports on many addresses: a proxy's own sockets need most of the ports that there are.
const ADDRESSES: usize = 250;

/// The first of these ports, below what the kernel gives to others by default.
const FIRST_PORT: usize = 20_000;

/// Datagrams may be lost; each is sent this often at most.
const TRIES_MAX: usize = 3;

const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

const PROBE: &[u8] = b"held";

/// Opens sessions until `count` have had an answer.
pub(super) fn open(to: SocketAddr, count: usize) -> anyhow::Result<Vec<UdpSocket>> {
    let mut sockets: Vec<UdpSocket> = Vec::with_capacity(count);
    let mut clients = (0..).map(client);
    while sockets.len() < count {
        let mut wave = Vec::new();
        while wave.len() < WAVE.min(count - sockets.len()) {
            let address =
                clients.next().expect("a range without end").context("no client address is left")?;
            // Somebody else's port is left out.
            let Ok(socket) = UdpSocket::bind(address) else { continue };
            socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            socket.connect(to)?;
            wave.push(socket);
        }
        let answered = answered(&wave);
        ensure!(answered == wave.len(), "{answered} answers after {} sessions", sockets.len() + wave.len());
        sockets.extend(wave);
    }
    Ok(sockets)
}

/// How many of the sessions still have an answer.
pub(super) fn alive(sockets: &[UdpSocket]) -> usize {
    sockets.chunks(WAVE).map(answered).sum()
}

/// How many have an answer, when all are used at once.
fn answered(wave: &[UdpSocket]) -> usize {
    let mut waiting: Vec<_> = wave.iter().collect();
    for _ in 0..TRIES_MAX {
        for socket in &waiting {
            // What cannot be sent has no answer.
            let _ = socket.send(PROBE);
        }
        waiting.retain(|socket| {
            let mut room = [0; 64];
            !socket.recv(&mut room).is_ok_and(|received| room[..received] == *PROBE)
        });
    }
    wave.len() - waiting.len()
}

/// The address of client number `number`; `None` when there are no more ports.
fn client(number: usize) -> Option<SocketAddr> {
    let last = u8::try_from(2 + number % ADDRESSES).expect("fewer addresses than 253");
    let port = u16::try_from(FIRST_PORT + number / ADDRESSES).ok()?;
    Some((Ipv4Addr::new(127, 0, 0, last), port).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_open_when_its_datagram_came_back() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut room = [0; 64];
            while let Ok((received, from)) = server.recv_from(&mut room) {
                server.send_to(&room[..received], from).unwrap();
            }
        });
        let sockets = open(address, WAVE + 1).unwrap();
        assert_eq!((sockets.len(), alive(&sockets)), (WAVE + 1, WAVE + 1));
    }

    #[test]
    fn clients_have_addresses_of_their_own() {
        assert_ne!(client(0), client(ADDRESSES));
        assert_ne!(client(0), client(1));
        assert_eq!(client(ADDRESSES * 65_536), None);
    }
}
