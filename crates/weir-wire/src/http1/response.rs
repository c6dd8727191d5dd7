use thiserror::Error;

use super::head::{FieldError, Span};
use super::request::connection_has;
use super::{Head, HeadLimits, Version};

/// A response's status line and fields.
#[derive(Debug)]
pub struct ResponseHead {
    /// The field lines.
    pub fields: Head,
    /// The status code, 100 to 999.
    pub status: u16,
    reason: Span,
    version: Version,
}

/// Why bytes are not a response head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ResponseError {
    /// The start line is not `version SP status SP reason`.
    #[error("the status line is not `HTTP/1.1 STATUS REASON`")]
    BadStatusLine,
    /// A field line is folded, has no colon, or has a byte that it may not have.
    #[error("a field line is not valid")]
    BadField,
    /// More field lines than the limit.
    #[error("there are too many field lines")]
    TooManyFields,
}

impl From<FieldError> for ResponseError {
    fn from(error: FieldError) -> Self {
        match error {
            FieldError::TooMany => Self::TooManyFields,
            FieldError::Folded | FieldError::NoColon | FieldError::BadName | FieldError::BadValue => {
                Self::BadField
            }
        }
    }
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self { fields: Head::default(), status: 0, reason: Span::default(), version: Version::Http11 }
    }
}

impl ResponseHead {
    /// Reads one complete head, as [`HeadScanner`](super::HeadScanner) delimits it, in place of what was here.
    ///
    /// # Errors
    ///
    /// [`ResponseError`]; what is in `self` is then not to be used.
    pub fn parse(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<(), ResponseError> {
        self.fields.clear();
        self.fields.bytes.extend_from_slice(bytes);
        let bytes = &self.fields.bytes[..];
        let end = memchr::memchr(b'\r', bytes).ok_or(ResponseError::BadStatusLine)?;
        if bytes.get(end + 1) != Some(&b'\n') {
            return Err(ResponseError::BadStatusLine);
        }
        let line = &bytes[..end];
        let (version, rest) = line.split_at_checked(9).ok_or(ResponseError::BadStatusLine)?;
        self.version = match version {
            b"HTTP/1.1 " => Version::Http11,
            b"HTTP/1.0 " => Version::Http10,
            _ => return Err(ResponseError::BadStatusLine),
        };
        let (status, reason) = rest.split_at_checked(3).ok_or(ResponseError::BadStatusLine)?;
        self.status = match status {
            [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
                u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
            }
            _ => return Err(ResponseError::BadStatusLine),
        };
        // Some servers leave out the space before an empty reason.
        if !matches!(reason, [] | [b' ', ..]) || !super::is_field_value(reason) {
            return Err(ResponseError::BadStatusLine);
        }
        self.reason = Span::new((12 + reason.len().min(1)).min(end), end);
        self.fields.read_fields(end + 2, limits.fields)?;
        Ok(())
    }

    /// Makes an empty head for an answer of the gateway's own.
    pub fn reset(&mut self, status: u16) {
        self.fields.clear();
        self.status = status;
        self.reason = Span::default();
        self.version = Version::Http11;
    }

    /// The version of the status line.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Gives the head another status; the reason becomes the usual one.
    pub fn set_status(&mut self, status: u16) {
        self.status = status;
        self.reason = Span::default();
    }

    /// The reason as the server wrote it, else the usual one for the status.
    pub fn reason(&self) -> &[u8] {
        match self.reason.of(&self.fields.bytes) {
            [] => usual_reason(self.status).as_bytes(),
            written => written,
        }
    }

    /// Whether the server will keep the connection after this response (RFC 9112 section 9.3).
    pub fn is_persistent(&self) -> bool {
        match self.version {
            Version::Http11 | Version::Http2 => !connection_has(&self.fields, b"close"),
            Version::Http10 => {
                connection_has(&self.fields, b"keep-alive") && !connection_has(&self.fields, b"close")
            }
        }
    }

    /// Writes the status line in `HTTP/1.1`; the version is that of the connection, not of the server behind.
    pub fn write_status_line(&self, out: &mut Vec<u8>) {
        if self.status == 200 && self.reason() == b"OK" {
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
            return;
        }
        out.extend_from_slice(b"HTTP/1.1 ");
        let digits =
            [self.status / 100 % 10, self.status / 10 % 10, self.status % 10].map(|d| b'0' + d as u8);
        out.extend_from_slice(&digits);
        out.push(b' ');
        out.extend_from_slice(self.reason());
        out.extend_from_slice(b"\r\n");
    }
}

/// The reason phrases of RFC 9110 section 15 and RFC 6585; empty for others.
fn usual_reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ResponseHead, ResponseError> {
        let mut head = ResponseHead::default();
        head.parse(text.as_bytes(), &HeadLimits { bytes: 1000, fields: 2 })?;
        Ok(head)
    }

    #[test]
    fn status_lines_are_read_with_and_without_a_reason() {
        for (line, status, reason) in [
            ("HTTP/1.1 200 OK", 200, "OK"),
            ("HTTP/1.1 200 Fine by me", 200, "Fine by me"),
            ("HTTP/1.0 404 ", 404, "Not Found"),
            ("HTTP/1.1 503", 503, "Service Unavailable"),
            ("HTTP/1.1 799", 799, ""),
        ] {
            let head = parse(&format!("{line}\r\n\r\n")).unwrap();
            assert_eq!((head.status, head.reason()), (status, reason.as_bytes()), "{line}");
        }
    }

    #[test]
    fn malformed_heads_are_refused() {
        for line in [
            "HTTP/1.1",
            "HTTP/1.1 20 OK",
            "HTTP/1.1 0200 OK",
            "HTTP/1.1 200OK",
            "HTTP/1.1  200 OK",
            "HTTP/2.0 200 OK",
            "HTTP/1.1 099 X",
            "HTTP/1.1 200 a\u{1}b",
        ] {
            assert_eq!(parse(&format!("{line}\r\n\r\n")).err(), Some(ResponseError::BadStatusLine), "{line}");
        }
        assert_eq!(parse("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n").err(), Some(ResponseError::BadField));
        assert_eq!(
            parse("HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n").err(),
            Some(ResponseError::TooManyFields)
        );
    }

    #[test]
    fn a_changed_status_takes_the_usual_reason() {
        let mut head = parse("HTTP/1.1 200 Fine\r\n\r\n").unwrap();
        head.set_status(404);
        let mut out = Vec::new();
        head.write_status_line(&mut out);
        assert_eq!(out, b"HTTP/1.1 404 Not Found\r\n");
    }
}
