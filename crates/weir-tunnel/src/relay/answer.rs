use std::fmt::Write as _;

use weir_base::ErrorCode;

/// An answer to be written, after which the connection is closed.
pub(super) fn json(status: &str, body: &str) -> Vec<u8> {
    head(status, "application/json", "", body)
}

/// A refusal, as the gateway words all of its own.
pub(super) fn problem(code: ErrorCode, path: &str, retry_after: Option<u32>) -> Vec<u8> {
    let mut instance = String::new();
    for character in path.chars() {
        match character {
            '"' | '\\' => instance.extend(['\\', character]),
            _ => instance.push(character),
        }
    }
    let (word, title, status) = (code.as_str(), code.title(), code.status());
    let body = format!(
        r#"{{"type":"urn:weir:error:{word}","title":"{title}","status":{status},"detail":"{title}","instance":"{instance}"}}"#
    );
    let mut more = format!("weir-error: {word}\r\n");
    if let Some(seconds) = retry_after {
        let _written = write!(more, "retry-after: {seconds}\r\n");
    }
    head(&format!("{status} {}", reason(status)), "application/problem+json", &more, &body)
}

fn head(status: &str, kind: &str, more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\ncache-control: no-store\r\n\
         {more}connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

const fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Error",
    }
}
