use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::Finder;
use thiserror::Error;
use weir_base::ErrorCode;

use super::ascii::is_token_byte;

/// Finds the end of a head in bytes that arrive piece by piece, looking at each byte once.
///
/// Remembers how far it has looked, so that a peer that sends one byte at a time costs no more than one that
/// sends all at once. Line ends of a head that comes in pieces are judged as soon as they are seen, so that a bare LF
/// never waits for more; those of a head in one piece are judged when its lines are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadScanner {
    /// Where the line that is being read starts.
    line: usize,
    /// How far its bytes were searched for a line end.
    searched: usize,
    /// Lines seen so far, the start line among them.
    lines: usize,
}

/// How far a head in one piece is looked for at once; a longer one is read line by line.
const WHOLE_BYTES_MAX: usize = 4 << 10;

/// The end of a head's last line and the empty line behind it.
static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// What is wrong with a head whose end is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ScanError {
    /// An LF without a CR before it.
    #[error("a line ends with LF instead of CRLF")]
    BareLf,
    /// The start line does not start with a token.
    #[error("what was received is not HTTP; is this TLS to a plain port?")]
    NotHttp,
    /// The start line alone is longer than the limit.
    #[error("the start line is too long")]
    StartLineTooLong,
    /// The head is longer than the limit.
    #[error("the header fields are too large")]
    TooLong,
}

impl ScanError {
    /// What a client is answered whose request this is.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::BareLf | Self::NotHttp => ErrorCode::BadRequest,
            Self::StartLineTooLong => ErrorCode::UriTooLong,
            Self::TooLong => ErrorCode::HeadersTooLarge,
        }
    }
}

impl HeadScanner {
    /// The length of the head in `bytes`, its last empty line included, once it is complete.
    ///
    /// `bytes` must start with what was given before. Empty lines before the start line must be skipped by the
    /// caller ([`leading_empty_line`](Self::leading_empty_line)).
    ///
    /// # Errors
    ///
    /// [`ScanError`] as soon as the bytes cannot become a head within `bytes_max`.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8], bytes_max: usize) -> Result<Option<usize>, ScanError> {
        if self.lines == 0 && self.searched == 0 && bytes.first().is_some_and(|&b| !is_token_byte(b)) {
            return Err(ScanError::NotHttp);
        }
        // Nearly every head comes in one piece; what is wrong inside it is found when its lines are read.
        if self.searched == 0
            && let Some(found) = END.find(&bytes[..bytes.len().min(WHOLE_BYTES_MAX)])
            && found + 4 <= bytes_max
        {
            return Ok(Some(found + 4));
        }
        while let Some(found) = memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + found;
            if end == 0 || bytes[end - 1] != b'\r' {
                return Err(ScanError::BareLf);
            }
            let empty = end - 1 == self.line;
            self.line = end + 1;
            self.searched = end + 1;
            if end >= bytes_max {
                return Err(if self.lines == 0 { ScanError::StartLineTooLong } else { ScanError::TooLong });
            }
            if empty && self.lines > 0 {
                return Ok(Some(end + 1));
            }
            self.lines += 1;
        }
        self.searched = bytes.len();
        if bytes.len() > bytes_max {
            return Err(if self.lines == 0 { ScanError::StartLineTooLong } else { ScanError::TooLong });
        }
        Ok(None)
    }

    /// The length of one empty line before a start line, which RFC 9112 section 2.2 asks a server to skip.
    pub fn leading_empty_line(bytes: &[u8]) -> usize {
        if bytes.starts_with(b"\r\n") { 2 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn the_end_is_found_however_the_bytes_arrive() {
        for step in 1..=HEAD.len() {
            let mut scanner = HeadScanner::default();
            let mut end = 0;
            let found = loop {
                end = (end + step).min(HEAD.len());
                if let Some(found) = scanner.scan(&HEAD[..end], 1000).unwrap() {
                    break found;
                }
                assert!(end < HEAD.len(), "step {step}");
            };
            assert_eq!(found, HEAD.len());
        }
    }

    #[test]
    fn following_bytes_are_left_alone() {
        let mut bytes = HEAD.to_vec();
        bytes.extend_from_slice(b"GET /2");
        assert_eq!(HeadScanner::default().scan(&bytes, 1000), Ok(Some(HEAD.len())));
    }

    #[test]
    fn a_bare_lf_is_refused_at_once() {
        for bytes in
            [&b"GET / HTTP/1.1\n"[..], b"GET / HTTP/1.1\r\nHost: a\n", b"GET / HTTP/1.1\r\nHost: a\r\n\n"]
        {
            assert_eq!(HeadScanner::default().scan(bytes, 1000), Err(ScanError::BareLf));
        }
    }

    #[test]
    fn limits_tell_the_start_line_from_the_fields() {
        let line = [b'a'; 101];
        assert_eq!(HeadScanner::default().scan(&line, 100), Err(ScanError::StartLineTooLong));
        let mut fields = b"GET / HTTP/1.1\r\n".to_vec();
        fields.extend([b'a'; 100]);
        assert_eq!(HeadScanner::default().scan(&fields, 100), Err(ScanError::TooLong));
    }

    #[test]
    fn other_protocols_are_seen_by_their_first_byte() {
        assert_eq!(HeadScanner::default().scan(&[0x16, 3, 1], 100), Err(ScanError::NotHttp));
        assert_eq!(HeadScanner::default().scan(b" GET", 100), Err(ScanError::NotHttp));
    }
}
