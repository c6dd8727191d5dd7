//! UDP: each client has one datagram under way, and sends the next one when its answer came or is given up.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::{Args, READ_BYTES, Tally, message};
use crate::poll::Poll;

/// An answer that takes longer is lost.
const LOST_AFTER: Duration = Duration::from_millis(200);

struct Client {
    socket: UdpSocket,
    message: Vec<u8>,
    /// Number of the datagram under way; it is its first bytes, so that a late answer is not taken for another.
    number: u32,
    sent_at: Instant,
}

pub(super) fn run(args: &Args, tally: &mut Tally) -> anyhow::Result<()> {
    let poll = Poll::new()?;
    let mut clients = Vec::new();
    for index in 0..args.clients {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(args.to)?;
        poll.add(&socket, index as u64)?;
        clients.push(Client {
            socket,
            message: message(index, args.bytes.max(size_of::<u32>())),
            number: 0,
            sent_at: Instant::now(),
        });
    }
    clients.iter_mut().for_each(Client::send);
    let (mut keys, mut room) = (Vec::new(), vec![0; READ_BYTES]);
    let mut looked_at = Instant::now();
    loop {
        let now = Instant::now();
        if tally.is_over(now) {
            return Ok(());
        }
        poll.wait(Some(LOST_AFTER.min(tally.end - now)), &mut keys)?;
        for &key in &keys {
            let client = &mut clients[usize::try_from(key)?];
            if client.has_answer(&mut room) {
                tally.done(client.sent_at, Instant::now());
                client.send();
            }
        }
        if looked_at.elapsed() >= LOST_AFTER {
            looked_at = Instant::now();
            for client in clients.iter_mut().filter(|client| client.sent_at.elapsed() >= LOST_AFTER) {
                tally.failed += 1;
                client.send();
            }
        }
    }
}

impl Client {
    fn send(&mut self) {
        self.number = self.number.wrapping_add(1);
        self.message[..size_of::<u32>()].copy_from_slice(&self.number.to_le_bytes());
        self.sent_at = Instant::now();
        // What could not be sent is lost like what was.
        let _ = self.socket.send(&self.message);
    }

    fn has_answer(&self, room: &mut [u8]) -> bool {
        self.socket.recv(room).is_ok_and(|received| room[..received] == self.message)
    }
}
