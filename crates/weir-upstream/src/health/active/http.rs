use bytes::Bytes;
use http::{Request, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_net::tls::Alpn;
use weir_wire::http1::{
    Body, Chunk, ChunkedDecoder, HeadLimits, HeadScanner, Method, ResponseHead, ScanError, response_body,
};

use super::connect::{Asked, Stream};
use super::http2::exchange;
use super::{Fault, USER_AGENT};
use crate::{BodyPlan, HttpCheckPlan, HttpVersions};

/// Most bytes of the body that are looked at; what comes after them is not read.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Longest head, the interim ones before it included.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Sends a GET on a connection of its own and judges the answer; says which status it had.
pub(super) async fn ask(asked: &Asked, plan: &HttpCheckPlan) -> Result<u16, Fault> {
    let host = plan.host.as_deref().unwrap_or(&asked.host);
    let (status, body) = match asked.link.http() {
        HttpVersions::Http2 => ask_http2(asked.connect_http2().await?, asked, host, plan).await?,
        versions => match asked.connect(versions.alpn()).await? {
            (stream, Some(Alpn::H2)) => ask_http2(stream, asked, host, plan).await?,
            (stream, _) => ask_http1(stream, host, plan).await?,
        },
    };
    if let Some(wanted) = &plan.body {
        wanted.judge(&body).map_err(|reason| Fault { status: Some(status), reason })?;
    }
    Ok(status)
}

/// The status, which must be a good one, and the body, where it matters.
async fn ask_http2(
    stream: Box<dyn Stream>,
    asked: &Asked,
    host: &str,
    plan: &HttpCheckPlan,
) -> Result<(u16, Vec<u8>), Fault> {
    let request = Request::get(format!("{}://{host}{}", asked.scheme(), plan.path))
        .version(Version::HTTP_2)
        .header("user-agent", USER_AGENT)
        .header("accept", "*/*")
        .body(())
        .map_err(|error| Fault::early(format!("cannot ask: {error}")))?;
    let body_max = if plan.body.is_some() { BODY_BYTES_MAX } else { 0 };
    let answer = exchange(stream, request, Bytes::new(), body_max).await?;
    judge_status(answer.status, plan)?;
    Ok((answer.status, answer.body.to_vec()))
}

fn judge_status(status: u16, plan: &HttpCheckPlan) -> Result<(), Fault> {
    match plan.statuses.iter().any(|range| range.contains(&status)) {
        true => Ok(()),
        false => Err(Fault { status: Some(status), reason: format!("status {status}") }),
    }
}

async fn ask_http1(
    mut stream: Box<dyn Stream>,
    host: &str,
    plan: &HttpCheckPlan,
) -> Result<(u16, Vec<u8>), Fault> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        plan.path
    );
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|error| Fault::early(format!("cannot send: {error}")))?;
    let (head, rest) = read_head(&mut *stream).await.map_err(Fault::early)?;
    judge_status(head.status, plan)?;
    if plan.body.is_none() {
        return Ok((head.status, Vec::new()));
    }
    let body = read_body(&mut *stream, &head, rest).await;
    let body = body.map_err(|reason| Fault { status: Some(head.status), reason })?;
    Ok((head.status, body))
}

/// The final head, and what was read behind it.
async fn read_head(stream: &mut dyn Stream) -> Result<(ResponseHead, Vec<u8>), String> {
    let limits = HeadLimits { bytes: HEAD_BYTES_MAX, ..HeadLimits::default() };
    let (mut bytes, mut scanner, mut head) = (Vec::new(), HeadScanner::default(), ResponseHead::default());
    let mut left = HEAD_BYTES_MAX;
    loop {
        let end = scanner.scan(&bytes, left).map_err(|error| match error {
            ScanError::TooLong | ScanError::StartLineTooLong => "the head is longer than 64 KiB".to_owned(),
            ScanError::BareLf | ScanError::NotHttp => "the answer is not HTTP/1.1".to_owned(),
        })?;
        let Some(end) = end else {
            if read(stream, &mut bytes).await? == 0 {
                return Err("the connection was closed before the head was complete".to_owned());
            }
            continue;
        };
        head.parse(&bytes[..end], &limits).map_err(|error| error.to_string())?;
        bytes.drain(..end);
        // 101 is final: nobody asked to change the protocol.
        if !(100..200).contains(&head.status) || head.status == 101 {
            return Ok((head, bytes));
        }
        left = left.saturating_sub(end);
        scanner = HeadScanner::default();
    }
}

/// The body, or its first [`BODY_BYTES_MAX`] bytes.
async fn read_body(
    stream: &mut dyn Stream,
    head: &ResponseHead,
    mut rest: Vec<u8>,
) -> Result<Vec<u8>, String> {
    let framing = response_body(head, Method::Get).map_err(|error| error.to_string())?;
    let mut chunks = ChunkedDecoder::default();
    let mut body = Vec::new();
    loop {
        let is_complete = match framing {
            Body::Empty => true,
            Body::Length(length) => {
                body.append(&mut rest);
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                body.truncate(length);
                body.len() == length
            }
            Body::UntilClose => {
                body.append(&mut rest);
                false
            }
            Body::Chunked => unchunk(&mut chunks, &rest, &mut body)?,
        };
        if is_complete || body.len() >= BODY_BYTES_MAX {
            body.truncate(BODY_BYTES_MAX);
            return Ok(body);
        }
        rest.clear();
        if read(stream, &mut rest).await? == 0 {
            return match framing {
                Body::UntilClose => Ok(body),
                _ => Err("the connection was closed within the body".to_owned()),
            };
        }
    }
}

/// Adds the data in `input` to `body`; whether the body is complete.
fn unchunk(chunks: &mut ChunkedDecoder, mut input: &[u8], body: &mut Vec<u8>) -> Result<bool, String> {
    loop {
        match chunks.next(input).map_err(|error| error.to_string())? {
            Chunk::More => return Ok(false),
            Chunk::Data { start, end } => {
                body.extend_from_slice(&input[start..end]);
                input = &input[end..];
            }
            Chunk::End { .. } => return Ok(true),
        }
    }
}

async fn read(stream: &mut dyn Stream, into: &mut Vec<u8>) -> Result<usize, String> {
    into.reserve(4 << 10);
    stream.read_buf(into).await.map_err(|error| format!("cannot read: {error}"))
}

impl BodyPlan {
    /// Whether a body holds what is wanted.
    fn judge(&self, body: &[u8]) -> Result<(), String> {
        let text = || String::from_utf8_lossy(body);
        match self {
            Self::Text(wanted) if text().contains(wanted.as_str()) => Ok(()),
            Self::Text(_) => Err("the body does not hold the expected text".to_owned()),
            Self::Regex(wanted) if wanted.is_match(&text()) => Ok(()),
            Self::Regex(_) => Err("the body does not match the expected expression".to_owned()),
            Self::Json { path, value } => judge_json(body, path, value),
        }
    }
}

fn judge_json(body: &[u8], path: &str, wanted: &serde_json::Value) -> Result<(), String> {
    let document: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| "the body is not a JSON document".to_owned())?;
    match at(&document, path) {
        Some(found) if is_same(found, wanted) => Ok(()),
        // Shown shortened: it goes to a log line.
        Some(found) => Err(format!("`{path}` is {:.64}, not {wanted}", found.to_string())),
        None => Err(format!("the body has no `{path}`")),
    }
}

fn at<'a>(document: &'a serde_json::Value, path: &str) -> Option<&'a serde_json::Value> {
    let path = path.strip_prefix('$').map_or(path, |rest| rest.strip_prefix('.').unwrap_or(rest));
    path.split('.').filter(|step| !step.is_empty()).try_fold(document, |value, step| match value {
        serde_json::Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        value => value.get(step),
    })
}

/// Equal, or written the same: what a file says without quotes may be meant as a text.
fn is_same(found: &serde_json::Value, wanted: &serde_json::Value) -> bool {
    use serde_json::Value::{Bool, Number, String};
    match (found, wanted) {
        (Number(a), Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (String(text), Number(number)) | (Number(number), String(text)) => {
            number.to_string() == text.as_str()
        }
        (String(text), Bool(bool)) | (Bool(bool), String(text)) => {
            text == if *bool { "true" } else { "false" }
        }
        (a, b) => a == b,
    }
}
