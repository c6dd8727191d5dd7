//! TCP over long connections.

use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, ensure};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::{Args, READ_BYTES, Tally, message};
use crate::poll::Poll;

struct Client {
    stream: TcpStream,
    message: Vec<u8>,
    /// Bytes of the answer that have arrived.
    answered: usize,
    sent_at: Instant,
}

pub(super) fn run(args: &Args, tally: &mut Tally) -> anyhow::Result<()> {
    let poll = Poll::new()?;
    let mut clients = Vec::new();
    for index in 0..args.clients {
        let stream = TcpStream::connect(args.to).with_context(|| format!("cannot connect to {}", args.to))?;
        stream.set_nodelay(true)?;
        poll.add(&stream, index as u64)?;
        let message = message(index, args.bytes);
        clients.push(Some(Client { stream, message, answered: 0, sent_at: Instant::now() }));
    }
    for client in clients.iter_mut().flatten() {
        client.send();
    }
    let (mut keys, mut room) = (Vec::new(), vec![0; READ_BYTES]);
    loop {
        let now = Instant::now();
        if tally.is_over(now) {
            return Ok(());
        }
        poll.wait(Some(tally.end - now), &mut keys)?;
        for &key in &keys {
            let place = &mut clients[usize::try_from(key)?];
            let Some(client) = place else { continue };
            if client.drive(&mut room, tally).is_err() {
                tally.failed += 1;
                *place = None;
            }
        }
        ensure!(clients.iter().any(Option::is_some), "every connection broke");
    }
}

impl Client {
    fn send(&mut self) {
        self.sent_at = Instant::now();
        // One message always fits an idle socket; an error shows in the next `recv`.
        let _ = send(&self.stream, &self.message, SendFlags::NOSIGNAL);
    }

    fn drive(&mut self, room: &mut [u8], tally: &mut Tally) -> anyhow::Result<()> {
        let (_, received) = recv(&self.stream, &mut *room, RecvFlags::empty())?;
        let expected = self.message.get(self.answered..self.answered + received);
        ensure!(received > 0 && expected == Some(&room[..received]), "an end, or other bytes than were sent");
        self.answered += received;
        if self.answered == self.message.len() {
            self.answered = 0;
            tally.done(self.sent_at, Instant::now());
            self.send();
        }
        Ok(())
    }
}
