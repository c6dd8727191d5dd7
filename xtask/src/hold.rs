//! A client that opens many connections, uses each once, and holds them all.
//!
//! It is a process of its own, since ten thousand descriptors leave little of a usual limit for anything else.
//! It prints one JSON line when all are open, waits for the end of standard input, checks that every connection still
//! works, and prints a second line.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use memchr::memmem;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

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
    /// Upgrade each connection to WebSocket instead of sending a GET
    #[arg(long)]
    upgrade: bool,
}

/// Opens, holds, checks; fails when a connection cannot be opened.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    raise_descriptor_limit()?;
    let kind = if args.upgrade { Kind::Upgraded } else { Kind::KeepAlive };
    let mut streams = Vec::with_capacity(args.count);
    while streams.len() < args.count {
        let wave = WAVE.min(args.count - streams.len());
        streams.extend(
            open(args.to, wave, kind).with_context(|| format!("after {} connections", streams.len()))?,
        );
    }
    println!("{}", json!({ "open": streams.len() }));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("{}", json!({ "alive": alive(&mut streams, kind) }));
    Ok(())
}

/// Raises the soft limit of open files to the hard one.
pub(crate) fn raise_descriptor_limit() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("cannot raise the limit of open files")
}

#[derive(Clone, Copy)]
enum Kind {
    KeepAlive,
    Upgraded,
}

impl Kind {
    fn request(self) -> String {
        match self {
            Self::KeepAlive => "GET /128 HTTP/1.1\r\nHost: bench.example\r\n\r\n".to_owned(),
            Self::Upgraded => format!(
                "GET /upgrade HTTP/1.1\r\nHost: bench.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {UPGRADE_KEY}\r\n\r\n"
            ),
        }
    }

    fn read_answer(self, stream: &mut TcpStream) -> anyhow::Result<()> {
        match self {
            Self::KeepAlive => read_ok(stream),
            Self::Upgraded => read_switch(stream),
        }
    }
}

fn open(to: SocketAddr, count: usize, kind: Kind) -> anyhow::Result<Vec<TcpStream>> {
    let request = kind.request();
    let mut wave = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(request.as_bytes())?;
        wave.push(stream);
    }
    for stream in &mut wave {
        kind.read_answer(stream)?;
    }
    Ok(wave)
}

/// How many of the streams still answer.
fn alive(streams: &mut [TcpStream], kind: Kind) -> usize {
    streams
        .chunks_mut(WAVE)
        .map(|wave| wave.iter_mut().filter_map(|stream| check(stream, kind).ok()).count())
        .sum()
}

fn check(stream: &mut TcpStream, kind: Kind) -> anyhow::Result<()> {
    match kind {
        Kind::KeepAlive => {
            stream.write_all(kind.request().as_bytes())?;
            kind.read_answer(stream)
        }
        Kind::Upgraded => {
            stream.write_all(PROBE)?;
            let mut echo = [0; PROBE.len()];
            stream.read_exact(&mut echo)?;
            ensure!(echo == PROBE, "the echo differs");
            Ok(())
        }
    }
}

fn read_ok(stream: &mut TcpStream) -> anyhow::Result<()> {
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

fn read_switch(stream: &mut TcpStream) -> anyhow::Result<()> {
    let (head, rest) = read_head(stream)?;
    ensure!(head.starts_with("HTTP/1.1 101 ") && rest == 0, "unexpected answer: {head}");
    ensure!(
        header(&head, "sec-websocket-accept") == Some(UPGRADE_ACCEPT),
        "the accept field is wrong: {head}"
    );
    Ok(())
}

/// The head, and how many bytes of the body came with it.
fn read_head(stream: &mut TcpStream) -> anyhow::Result<(String, usize)> {
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
        assert_eq!(open(to, 2, Kind::KeepAlive).unwrap().len(), 2);
    }

    #[test]
    fn an_error_status_or_a_cut_body_is_not_an_open_connection() {
        let bad: [&[u8]; 2] = [
            b"HTTP/1.1 502 Bad\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
        ];
        for answer in bad {
            assert!(open(answering(vec![answer.to_vec()]), 1, Kind::KeepAlive).is_err());
        }
    }

    #[test]
    fn an_upgrade_needs_the_right_accept_field() {
        let answer =
            |accept| format!("HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").into_bytes();
        assert!(open(answering(vec![answer(UPGRADE_ACCEPT)]), 1, Kind::Upgraded).is_ok());
        assert!(open(answering(vec![answer("AAAA")]), 1, Kind::Upgraded).is_err());
    }
}
