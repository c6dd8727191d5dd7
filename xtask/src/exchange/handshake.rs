//! Full TLS handshakes, each on a connection of its own, closed by the client.
//!
//! A handshake counts when the server's first session ticket has come: it sends one only when it has seen all that the
//! client sent. Each client is a thread.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustls::{ClientConfig, ClientConnection};

use super::connect::source;
use super::{Args, Tally};
use crate::tls;

/// Longest wait for what the server says next.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn run(args: &Args, tally: &mut Tally) -> anyhow::Result<()> {
    let authority = args.authority.as_deref().context("handshakes need --authority")?;
    let config = tls::client(authority, args.group)?;
    let (sources, end) = (AtomicU32::new(0), tally.end);
    let results = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..args.clients).map(|_| scope.spawn(|| client(args, &config, &sources, end))).collect();
        clients.into_iter().map(|client| client.join().expect("a client does not panic")).collect::<Vec<_>>()
    });
    for result in results.into_iter().flatten() {
        match result {
            Ok((began_at, ended_at)) => tally.done(began_at, ended_at),
            Err(error) => {
                eprintln!("{error:#}");
                tally.failed += 1;
            }
        }
    }
    ensure!(tally.latencies.count() > 0, "not one handshake with {} succeeded", args.to);
    Ok(())
}

type Outcome = anyhow::Result<(Instant, Instant)>;

fn client(args: &Args, config: &Arc<ClientConfig>, sources: &AtomicU32, end: Instant) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    while Instant::now() < end {
        let began_at = Instant::now();
        let number = sources.fetch_add(1, Ordering::Relaxed);
        outcomes.push(handshake(args, config, number).map(|()| (began_at, Instant::now())));
    }
    outcomes
}

fn handshake(args: &Args, config: &Arc<ClientConfig>, number: u32) -> anyhow::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &source(number))?;
    connect(&socket, &args.to)?;
    let stream: TcpStream = socket.into();
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut tls = tls::connect(stream, Arc::clone(config))?;
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    await_ticket(&mut tls.conn, &mut tls.sock)?;
    tls.conn.send_close_notify();
    tls.conn.write_tls(&mut tls.sock)?;
    Ok(())
}

fn await_ticket(connection: &mut ClientConnection, socket: &mut impl Read) -> anyhow::Result<()> {
    while connection.tls13_tickets_received() == 0 {
        ensure!(connection.read_tls(socket)? > 0, "closed before a ticket came");
        connection.process_new_packets()?;
    }
    Ok(())
}
