//! A client that opens many connections or UDP sessions, uses each once, and holds them all.
//!
//! It is a process of its own, since ten thousand descriptors leave little of a usual limit for anything else.
//! It prints one JSON line when all are open, waits for the end of standard input, checks that every connection still
//! works, and prints a second line.

mod datagram;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use memchr::memmem;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::tls::{self, Stream};

/// Connections that are used at the same moment while opening and checking.
const WAVE: usize = 64;

/// Longest wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

const UPGRADE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const UPGRADE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What is sent over an upgraded stream to see whether it lives: it must come back unchanged.
const PROBE: &[u8] = b"\x89\x80\x00\x00\x00\x00";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Server to connect to
    #[arg(long)]
    to: SocketAddr,
    /// Connections to open
    #[arg(long, default_value_t = 10_000)]
    count: usize,
    /// What each is used for
    #[arg(long, value_enum, default_value = "get")]
    kind: Kind,
    /// For TLS: the certificate to trust
    #[arg(long)]
    authority: Option<PathBuf>,
}

/// What a connection is used for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A GET over HTTP/1.1, kept alive
    Get,
    /// The same over TLS
    TlsGet,
    /// An upgrade to WebSocket
    Upgrade,
    /// Bytes over TCP that must come back
    Echo,
    /// A datagram over UDP that must come back
    Datagram,
}

/// Opens, holds, checks; fails when a connection cannot be opened.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    raise_descriptor_limit()?;
    match args.kind {
        Kind::Datagram => {
            let sockets = datagram::open(args.to, args.count)?;
            hold(sockets.len(), || datagram::alive(&sockets))
        }
        kind => {
            let config = match &args.authority {
                Some(authority) => Some(tls::client(authority, None)?),
                None => None,
            };
            let mut streams = open_all(args.to, args.count, kind, config.as_ref())?;
            hold(streams.len(), || alive(&mut streams, kind))
        }
    }
}

fn hold(open: usize, alive: impl FnOnce() -> usize) -> anyhow::Result<()> {
    println!("{}", json!({ "open": open }));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("{}", json!({ "alive": alive() }));
    Ok(())
}

/// Raises the soft limit of open files to the hard one.
pub(crate) fn raise_descriptor_limit() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("cannot raise the limit of open files")
}

/// What is sent to open a connection.
fn request(kind: Kind) -> String {
    match kind {
        Kind::Get | Kind::TlsGet => "GET /128 HTTP/1.1\r\nHost: bench.example\r\n\r\n".to_owned(),
        Kind::Upgrade => format!(
            "GET /upgrade HTTP/1.1\r\nHost: bench.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {UPGRADE_KEY}\r\n\r\n"
        ),
        Kind::Echo | Kind::Datagram => "held".to_owned(),
    }
}

fn read_answer(kind: Kind, stream: &mut Stream) -> anyhow::Result<()> {
    match kind {
        Kind::Get | Kind::TlsGet => read_ok(stream),
        Kind::Upgrade => read_switch(stream),
        Kind::Echo | Kind::Datagram => read_echo(stream, request(kind).as_bytes()),
    }
}

type Config = Arc<rustls::ClientConfig>;

fn open_all(
    to: SocketAddr,
    count: usize,
    kind: Kind,
    config: Option<&Config>,
) -> anyhow::Result<Vec<Stream>> {
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        let wave = WAVE.min(count - streams.len());
        streams.extend(
            open(to, wave, kind, config).with_context(|| format!("after {} connections", streams.len()))?,
        );
    }
    Ok(streams)
}

fn open(to: SocketAddr, count: usize, kind: Kind, config: Option<&Config>) -> anyhow::Result<Vec<Stream>> {
    let request = request(kind);
    let mut wave = Vec::with_capacity(count);
    for _ in 0..count {
        let stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut stream = match (kind, config) {
            (Kind::TlsGet, None) => bail!("TLS needs --authority"),
            (Kind::TlsGet, Some(config)) => Stream::Tls(Box::new(tls::connect(stream, Arc::clone(config))?)),
            _ => Stream::Plain(stream),
        };
        stream.write_all(request.as_bytes())?;
        wave.push(stream);
    }
    for stream in &mut wave {
        read_answer(kind, stream)?;
    }
    Ok(wave)
}

/// How many of the streams still answer.
fn alive(streams: &mut [Stream], kind: Kind) -> usize {
    streams
        .chunks_mut(WAVE)
        .map(|wave| wave.iter_mut().filter_map(|stream| check(stream, kind).ok()).count())
        .sum()
}

fn check(stream: &mut Stream, kind: Kind) -> anyhow::Result<()> {
    if kind == Kind::Upgrade {
        stream.write_all(PROBE)?;
        return read_echo(stream, PROBE);
    }
    stream.write_all(request(kind).as_bytes())?;
    read_answer(kind, stream)
}

fn read_echo(stream: &mut Stream, sent: &[u8]) -> anyhow::Result<()> {
    let mut echo = vec![0; sent.len()];
    stream.read_exact(&mut echo)?;
    ensure!(echo == sent, "the echo differs");
    Ok(())
}

fn read_ok(stream: &mut Stream) -> anyhow::Result<()> {
    let (head, mut rest) = read_head(stream)?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "unexpected answer: {head}");
    let length: usize = header(&head, "content-length").context("no content-length")?.parse()?;
    let mut room = [0; 4096];
    while rest < length {
        match stream.read(&mut room)? {
            0 => bail!("closed within the body"),
            received => rest += received,
        }
    }
    ensure!(rest == length, "more than the body arrived");
    Ok(())
}

fn read_switch(stream: &mut Stream) -> anyhow::Result<()> {
    let (head, rest) = read_head(stream)?;
    ensure!(head.starts_with("HTTP/1.1 101 ") && rest == 0, "unexpected answer: {head}");
    ensure!(
        header(&head, "sec-websocket-accept") == Some(UPGRADE_ACCEPT),
        "the accept field is wrong: {head}"
    );
    Ok(())
}

/// The head, and how many bytes of the body came with it.
fn read_head(stream: &mut Stream) -> anyhow::Result<(String, usize)> {
    let mut bytes = Vec::new();
    let mut room = [0; 4096];
    loop {
        match stream.read(&mut room)? {
            0 => bail!("closed within the head"),
            received => bytes.extend_from_slice(&room[..received]),
        }
        if let Some(end) = memmem::find(&bytes, b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8(bytes)?, rest.len()));
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    fields.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that answers each of its connections with fixed bytes once it has read something.
    fn answering(answers: Vec<Vec<u8>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
                stream.write_all(&answer).unwrap();
                kept.push(stream);
            }
            kept.into_iter().for_each(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
        });
        address
    }

    #[test]
    fn a_wave_is_open_when_every_connection_had_its_answer() {
        let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc".to_vec();
        let to = answering(vec![ok.clone(), ok]);
        assert_eq!(open(to, 2, Kind::Get, None).unwrap().len(), 2);
    }

    #[test]
    fn an_error_status_or_a_cut_body_is_not_an_open_connection() {
        let bad: [&[u8]; 2] = [
            b"HTTP/1.1 502 Bad\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
        ];
        for answer in bad {
            assert!(open(answering(vec![answer.to_vec()]), 1, Kind::Get, None).is_err());
        }
    }

    #[test]
    fn an_echo_is_what_was_sent() {
        assert!(open(answering(vec![b"held".to_vec()]), 1, Kind::Echo, None).is_ok());
        assert!(open(answering(vec![b"hold".to_vec()]), 1, Kind::Echo, None).is_err());
    }

    #[test]
    fn an_upgrade_needs_the_right_accept_field() {
        let answer =
            |accept| format!("HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").into_bytes();
        assert!(open(answering(vec![answer(UPGRADE_ACCEPT)]), 1, Kind::Upgrade, None).is_ok());
        assert!(open(answering(vec![answer("AAAA")]), 1, Kind::Upgrade, None).is_err());
    }
}
