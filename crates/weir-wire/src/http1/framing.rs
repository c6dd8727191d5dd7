use thiserror::Error;
use weir_base::ErrorCode;

use super::{Known, Method, RequestHead, ResponseHead, Version, decimal};

/// How a message's body is delimited (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    Empty,
    /// That many bytes, at least one.
    Length(u64),
    /// In chunks, with optional trailers.
    Chunked,
    /// Up to the end of the connection; responses only.
    UntilClose,
}

/// Why the length of a body is in doubt; the connection cannot be used further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FramingError {
    /// A length beside a transfer coding.
    #[error("Content-Length and Transfer-Encoding are both present")]
    LengthAndCoding,
    /// Not one plain decimal number: repeated, listed, signed, empty or too large.
    #[error("Content-Length is not one plain number")]
    BadLength,
    /// `chunked` repeated, not last, or hidden in a malformed list.
    #[error("Transfer-Encoding is ambiguous")]
    BadCoding,
    /// A coding that is not served.
    #[error("Transfer-Encoding names a coding other than chunked")]
    UnknownCoding,
    /// A transfer coding on an HTTP/1.0 message.
    #[error("Transfer-Encoding on an HTTP/1.0 message")]
    CodingOnHttp10,
}

impl FramingError {
    /// What a client is answered whose request this is.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::UnknownCoding => ErrorCode::UnknownCoding,
            Self::LengthAndCoding | Self::BadLength | Self::BadCoding | Self::CodingOnHttp10 => {
                ErrorCode::BadRequest
            }
        }
    }
}

/// The body that follows a request head.
///
/// # Errors
///
/// [`FramingError`] for anything that two readers could read differently.
pub fn request_body(head: &RequestHead) -> Result<Body, FramingError> {
    let mut codings = head.fields.all(Known::TransferEncoding);
    let mut lengths = head.fields.all(Known::ContentLength);
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Body::Empty),
        (None, Some(length)) => one_length(length, lengths.next()),
        (Some(_), Some(_)) => Err(FramingError::LengthAndCoding),
        (Some(_), None) if head.version() == Version::Http10 => Err(FramingError::CodingOnHttp10),
        (Some(coding), None) => one_coding(coding, codings.next()),
    }
}

/// The body that follows a response head to a request of this method.
///
/// # Errors
///
/// [`FramingError`] for anything that two readers could read differently.
pub fn response_body(head: &ResponseHead, method: Method) -> Result<Body, FramingError> {
    let mut codings = head.fields.all(Known::TransferEncoding);
    let mut lengths = head.fields.all(Known::ContentLength);
    let body = match (codings.next(), lengths.next()) {
        (None, None) => Body::UntilClose,
        (None, Some(length)) => one_length(length, lengths.next())?,
        (Some(_), Some(_)) => return Err(FramingError::LengthAndCoding),
        (Some(_), None) if head.version() == Version::Http10 => return Err(FramingError::CodingOnHttp10),
        (Some(coding), None) => one_coding(coding, codings.next())?,
    };
    let bodiless = method == Method::Head || matches!(head.status, 100..=199 | 204 | 304);
    Ok(if bodiless { Body::Empty } else { body })
}

fn one_length(value: &[u8], second: Option<&[u8]>) -> Result<Body, FramingError> {
    match (decimal(value), second) {
        (Some(0), None) => Ok(Body::Empty),
        (Some(length), None) => Ok(Body::Length(length)),
        _ => Err(FramingError::BadLength),
    }
}

fn one_coding(value: &[u8], second: Option<&[u8]>) -> Result<Body, FramingError> {
    if second.is_none() && value.eq_ignore_ascii_case(b"chunked") {
        return Ok(Body::Chunked);
    }
    // Plain names are codings that are not served, whatever their order says. Anything else is a trick: a second
    // line, an empty item, parameters, quotes, chunked twice or before the end.
    let items = || value.split(|&b| b == b',').map(super::trim_ows);
    let is_chunked = |item: &&[u8]| item.eq_ignore_ascii_case(b"chunked");
    let plain = second.is_none() && items().all(super::is_token);
    let chunked = items().filter(is_chunked).count();
    let in_order = chunked == 0 || (chunked == 1 && items().next_back().as_ref().is_some_and(is_chunked));
    Err(if plain && in_order { FramingError::UnknownCoding } else { FramingError::BadCoding })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::HeadLimits;

    fn request(version: &str, fields: &str) -> Result<Body, FramingError> {
        let mut head = RequestHead::default();
        let text = format!("POST / {version}\r\n{fields}\r\n");
        head.parse(text.as_bytes(), &HeadLimits::default()).unwrap();
        request_body(&head)
    }

    fn response(status: u16, method: Method, fields: &str) -> Result<Body, FramingError> {
        let mut head = ResponseHead::default();
        head.parse(format!("HTTP/1.1 {status} X\r\n{fields}\r\n").as_bytes(), &HeadLimits::default())
            .unwrap();
        response_body(&head, method)
    }

    #[test]
    fn plain_framing_is_understood() {
        assert_eq!(request("HTTP/1.1", ""), Ok(Body::Empty));
        assert_eq!(request("HTTP/1.1", "Content-Length: 0\r\n"), Ok(Body::Empty));
        assert_eq!(request("HTTP/1.0", "Content-Length: 5\r\n"), Ok(Body::Length(5)));
        assert_eq!(request("HTTP/1.1", "Transfer-Encoding: Chunked\r\n"), Ok(Body::Chunked));
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        use FramingError::*;
        let cases = [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", LengthAndCoding),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", LengthAndCoding),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", BadLength),
            ("Content-Length: 5, 5\r\n", BadLength),
            ("Content-Length: +5\r\n", BadLength),
            ("Content-Length: -5\r\n", BadLength),
            ("Content-Length: 0x5\r\n", BadLength),
            ("Content-Length: 5 5\r\n", BadLength),
            ("Content-Length:\r\n", BadLength),
            ("Content-Length: 99999999999999999999\r\n", BadLength),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", BadCoding),
            ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", BadCoding),
            ("Transfer-Encoding: chunked, identity\r\n", BadCoding),
            ("Transfer-Encoding: gzip, chunked\r\n", UnknownCoding),
            ("Transfer-Encoding: ,chunked\r\n", BadCoding),
            ("Transfer-Encoding: xchunked\r\n", UnknownCoding),
            ("Transfer-Encoding: chunked, chunked\r\n", BadCoding),
            ("Transfer-Encoding: chunked;q=1\r\n", BadCoding),
            ("Transfer-Encoding: \"chunked\"\r\n", BadCoding),
            ("Transfer-Encoding:\r\n", BadCoding),
            ("Transfer-Encoding: gzip\r\n", UnknownCoding),
            ("Transfer-Encoding: identity\r\n", UnknownCoding),
        ];
        for (fields, error) in cases {
            assert_eq!(request("HTTP/1.1", fields), Err(error), "{fields:?}");
        }
        assert_eq!(request("HTTP/1.0", "Transfer-Encoding: chunked\r\n"), Err(CodingOnHttp10));
    }

    #[test]
    fn some_responses_have_no_body_whatever_they_say() {
        for (status, method) in
            [(200, Method::Head), (204, Method::Get), (304, Method::Get), (103, Method::Get)]
        {
            assert_eq!(response(status, method, "Content-Length: 5\r\n"), Ok(Body::Empty), "{status}");
        }
        assert_eq!(response(200, Method::Get, ""), Ok(Body::UntilClose));
        assert_eq!(response(200, Method::Head, "Content-Length: x\r\n"), Err(FramingError::BadLength));
    }
}
