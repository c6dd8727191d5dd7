//! Whether a contestant forwards, asked once in the way of its case.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::lab::Lab;
use super::load::{h2load, iperf3};
use super::{Case, Plane};
use crate::tls;

/// Longest wait for an answer to one question.
const TIMEOUT: Duration = Duration::from_secs(2);

const MESSAGE: &[u8] = b"through?";

/// Sends something that must come through.
pub(super) fn pass(case: Case, to: SocketAddr, lab: &Lab) -> anyhow::Result<()> {
    let cores = &lab.load_cores;
    match (case, case.plane()) {
        // An iperf3 server understands its own clients alone.
        (Case::TcpBulk | Case::TcpBulkMany, _) => iperf3::client(cores, to, &["--bytes", "1M"]).map(drop),
        (_, Plane::Http1) => whole(http(to, "GET", "/128")?),
        (_, Plane::Tls) => {
            let config = tls::client(&lab.certificates.authority(), None)?;
            whole(ask(tls::connect(TcpStream::connect(to)?, config)?, to, "GET", "/128")?)
        }
        (_, Plane::Http2) => h2load::once(case, to, cores),
        (_, Plane::Tcp) => echo(TcpStream::connect(to)?),
        (_, Plane::Udp) => datagram(to),
    }
}

fn whole((status, body): (u16, String)) -> anyhow::Result<()> {
    ensure!(status == 200 && body.len() == 128, "the answer was {status}: {body}");
    Ok(())
}

/// One request on a connection of its own: the status and the body.
pub(super) fn http(to: SocketAddr, method: &str, path: &str) -> anyhow::Result<(u16, String)> {
    let stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    ask(stream, to, method, path)
}

fn ask(
    mut stream: impl Read + Write,
    to: SocketAddr,
    method: &str,
    path: &str,
) -> anyhow::Result<(u16, String)> {
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    let mut room = [0; 4096];
    // The floor knows nothing of `Connection: close`, so the length tells the end as well.
    while !is_complete(&answer) {
        match stream.read(&mut room)? {
            0 => break,
            received => answer.extend_from_slice(&room[..received]),
        }
    }
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no complete answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// Whether an answer with a length has arrived in full.
fn is_complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.and_then(|length| length.trim().parse().ok()).is_some_and(|length: usize| body.len() >= length)
}

fn echo(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(MESSAGE)?;
    let mut back = [0; MESSAGE.len()];
    stream.read_exact(&mut back)?;
    ensure!(back == MESSAGE, "the echo differs");
    Ok(())
}

fn datagram(to: SocketAddr) -> anyhow::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.connect(to)?;
    socket.send(MESSAGE)?;
    let mut back = [0; 64];
    let received = socket.recv(&mut back)?;
    ensure!(&back[..received] == MESSAGE, "the echo differs");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert!(is_complete(answer));
        assert!(!is_complete(&answer[..answer.len() - 1]));
        assert!(!is_complete(b"HTTP/1.1 200 OK\r\n\r\nuntil the end"));
    }
}
