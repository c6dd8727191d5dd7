//! Asking the running gateway through its admin address.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use weir_wire::http1::{
    Body, Chunk, ChunkedDecoder, HeadLimits, HeadScanner, Method, ResponseHead, response_body,
};

/// Longest wait for an answer; a reload of ten thousand routes takes a small part of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// What the admin address answered.
pub(super) struct Answer {
    pub(super) status: u16,
    /// JSON; what is not is a text.
    pub(super) body: Value,
}

/// Sends one request and reads its answer.
///
/// # Errors
///
/// A sentence that names the address and says what to do.
pub(super) fn ask(
    admin: &str,
    token_file: Option<&Path>,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Answer, String> {
    let token = token_file.map(read_token).transpose()?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    if let Some(token) = token {
        request.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(&body);
    let bytes = exchange(admin, request.as_bytes()).map_err(|error| {
        format!("cannot ask the gateway at {admin}: {error}\n  = help: is it running, and is this its admin address? `--admin ADDR` names another")
    })?;
    read_answer(&bytes).ok_or_else(|| format!("{admin} answered something that is not HTTP"))
}

fn read_token(path: &Path) -> Result<String, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(text.trim().to_owned())
}

fn exchange(admin: &str, request: &[u8]) -> io::Result<Vec<u8>> {
    match admin.strip_prefix("unix:") {
        Some(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            converse(stream, request)
        }
        None => {
            let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the address names no host");
            for address in admin.to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, PATIENCE) {
                    Ok(stream) => {
                        stream.set_read_timeout(Some(PATIENCE))?;
                        return converse(stream, request);
                    }
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

fn converse(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

fn read_answer(bytes: &[u8]) -> Option<Answer> {
    let limits = HeadLimits::default();
    let end = HeadScanner::default().scan(bytes, limits.bytes).ok()??;
    let mut head = ResponseHead::default();
    head.parse(&bytes[..end], &limits).ok()?;
    let rest = &bytes[end..];
    let body = match response_body(&head, Method::Get).ok()? {
        Body::Empty => Vec::new(),
        Body::Length(length) => rest.get(..usize::try_from(length).ok()?)?.to_vec(),
        Body::Chunked => read_chunks(rest)?,
        Body::UntilClose => rest.to_vec(),
    };
    let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
    Some(Answer { status: head.status, body: serde_json::from_slice(&body).unwrap_or_else(|_| text()) })
}

fn read_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = ChunkedDecoder::default();
    let mut body = Vec::new();
    loop {
        match decoder.next(rest).ok()? {
            Chunk::Data { start, end } => {
                body.extend_from_slice(&rest[start..end]);
                rest = &rest[end..];
            }
            Chunk::End { .. } => return Some(body),
            Chunk::More => return None,
        }
    }
}

/// What a refusal says for people: its detail, else its title, else its status.
pub(super) fn refusal(answer: &Answer) -> String {
    let text = |key: &str| answer.body.get(key).and_then(Value::as_str);
    match text("detail").or_else(|| text("title")) {
        Some(text) => text.to_owned(),
        None => format!("the gateway answered {}", answer.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whichever_way_they_are_framed() {
        for text in [
            "HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"revision\":7}",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"rev\r\n9\r\nision\":7}\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n{\"revision\":7}",
        ] {
            let answer = read_answer(text.as_bytes()).unwrap();
            assert_eq!((answer.status, &answer.body["revision"]), (200, &Value::from(7)), "{text}");
        }
        assert!(read_answer(b"SSH-2.0-x\r\n\r\n").is_none());
        assert!(read_answer(b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{").is_none());
    }
}
