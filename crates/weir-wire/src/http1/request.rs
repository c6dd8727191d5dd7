use thiserror::Error;
use weir_base::ErrorCode;

use super::ascii::is_token;
use super::head::{FieldError, Span};
use super::{Head, HeadLimits, Known, Method, Version};

/// A request's start line and fields.
#[derive(Debug)]
pub struct RequestHead {
    /// The field lines.
    pub fields: Head,
    method_span: Span,
    target: Span,
    method: Method,
    version: Version,
}

/// Why bytes are not a request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The start line is not `method SP target SP version`.
    #[error("the request line is not `METHOD TARGET HTTP/1.1`")]
    BadRequestLine,
    /// The target has a byte that no target may have, or is of no known form.
    #[error("the request target is not valid")]
    BadTarget,
    /// HTTP, but neither 1.0 nor 1.1.
    #[error("only HTTP/1.1 and HTTP/1.0 are served here")]
    UnknownVersion,
    /// A line starts with a space or a tab: an obsolete folded line.
    #[error("a field line is folded")]
    FoldedField,
    /// A field line without a colon.
    #[error("a field line has no colon")]
    NoColon,
    /// A field name is empty or has a byte that no name may have, a space before the colon among them.
    #[error("a field name is not valid")]
    BadName,
    /// A field value has a CR, LF, NUL or another control byte.
    #[error("a field value has a control byte")]
    BadValue,
    /// More field lines than the limit.
    #[error("there are too many field lines")]
    TooManyFields,
}

impl RequestError {
    /// What the client is answered.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::TooManyFields => ErrorCode::HeadersTooLarge,
            Self::UnknownVersion => ErrorCode::UnknownVersion,
            Self::BadRequestLine
            | Self::BadTarget
            | Self::FoldedField
            | Self::NoColon
            | Self::BadName
            | Self::BadValue => ErrorCode::BadRequest,
        }
    }
}

impl From<FieldError> for RequestError {
    fn from(error: FieldError) -> Self {
        match error {
            FieldError::TooMany => Self::TooManyFields,
            FieldError::Folded => Self::FoldedField,
            FieldError::NoColon => Self::NoColon,
            FieldError::BadName => Self::BadName,
            FieldError::BadValue => Self::BadValue,
        }
    }
}

/// The four forms of a request target (RFC 9112 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/path?query`, as written.
    Origin {
        /// The path, without the query.
        path: &'a [u8],
        /// What follows the `?`, if there is one.
        query: Option<&'a [u8]>,
    },
    /// `http://authority/path?query`.
    Absolute {
        /// Host and port as written.
        authority: &'a [u8],
        /// The path; `/` where the target has none.
        path: &'a [u8],
        /// What follows the `?`, if there is one.
        query: Option<&'a [u8]>,
    },
    /// `host:port`, for CONNECT only.
    Authority(&'a [u8]),
    /// `*`, for OPTIONS only.
    Asterisk,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            fields: Head::default(),
            method_span: Span::default(),
            target: Span::default(),
            method: Method::Get,
            version: Version::Http11,
        }
    }
}

impl RequestHead {
    /// Reads one complete head, as [`HeadScanner`](super::HeadScanner) delimits it, in place of what was here.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; what is in `self` is then not to be used.
    pub fn parse(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<(), RequestError> {
        self.fields.clear();
        self.fields.bytes.extend_from_slice(bytes);
        let bytes = &self.fields.bytes[..];
        let end = memchr::memchr(b'\r', bytes).ok_or(RequestError::BadRequestLine)?;
        if bytes.get(end + 1) != Some(&b'\n') {
            return Err(RequestError::BadRequestLine);
        }
        let line = &bytes[..end];
        let method_end = memchr::memchr(b' ', line).ok_or(RequestError::BadRequestLine)?;
        let target_end = memchr::memrchr(b' ', line).ok_or(RequestError::BadRequestLine)?;
        if method_end == target_end || !is_token(&line[..method_end]) || method_end > METHOD_BYTES_MAX {
            return Err(RequestError::BadRequestLine);
        }
        self.version = match &line[target_end + 1..] {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            other if is_version(other) => return Err(RequestError::UnknownVersion),
            _ => return Err(RequestError::BadRequestLine),
        };
        if !is_target(&line[method_end + 1..target_end]) {
            return Err(RequestError::BadTarget);
        }
        self.method = Method::of(&line[..method_end]);
        self.method_span = Span::new(0, method_end);
        self.target = Span::new(method_end + 1, target_end);
        self.fields.read_fields(end + 2, limits.fields)?;
        Ok(())
    }

    /// Begins a head that came as frames of HTTP/2, in place of what was here; its fields are then
    /// [pushed](Head::push).
    ///
    /// # Errors
    ///
    /// [`RequestError`] for a method or a target that no start line could have.
    pub fn begin(&mut self, method: &[u8], target: &[u8]) -> Result<(), RequestError> {
        self.clear();
        if !is_token(method) || method.len() > METHOD_BYTES_MAX {
            return Err(RequestError::BadRequestLine);
        }
        if !is_target(target) {
            return Err(RequestError::BadTarget);
        }
        self.version = Version::Http2;
        self.fields.bytes.extend_from_slice(method);
        self.fields.bytes.extend_from_slice(target);
        self.method = Method::of(method);
        self.method_span = Span::new(0, method.len());
        self.target = Span::new(method.len(), method.len() + target.len());
        Ok(())
    }

    /// Forgets the head: no fields, an empty method and target.
    pub fn clear(&mut self) {
        self.fields.clear();
        self.method = Method::Get;
        self.method_span = Span::default();
        self.target = Span::default();
        self.version = Version::Http11;
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method's name as written.
    pub fn method_bytes(&self) -> &[u8] {
        self.method_span.of(&self.fields.bytes)
    }

    /// The version of the request line.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The target as written.
    pub fn target_bytes(&self) -> &[u8] {
        self.target.of(&self.fields.bytes)
    }

    /// The target, split.
    ///
    /// # Errors
    ///
    /// [`RequestError::BadTarget`] where it is of no form that its method allows, or has a fragment.
    pub fn target(&self) -> Result<Target<'_>, RequestError> {
        let raw = self.target_bytes();
        if self.method == Method::Connect {
            return Ok(Target::Authority(raw));
        }
        if memchr::memchr(b'#', raw).is_some() {
            return Err(RequestError::BadTarget);
        }
        if raw[0] == b'/' {
            let (path, query) = split_query(raw);
            return Ok(Target::Origin { path, query });
        }
        if raw == b"*" {
            return if self.method == Method::Options {
                Ok(Target::Asterisk)
            } else {
                Err(RequestError::BadTarget)
            };
        }
        let rest = [&b"http://"[..], b"https://"]
            .iter()
            .find(|scheme| raw.len() > scheme.len() && raw[..scheme.len()].eq_ignore_ascii_case(scheme))
            .map(|scheme| &raw[scheme.len()..])
            .ok_or(RequestError::BadTarget)?;
        let authority_end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(authority_end);
        if authority.is_empty() {
            return Err(RequestError::BadTarget);
        }
        let (path, query) = split_query(rest);
        Ok(Target::Absolute { authority, path: if path.is_empty() { b"/" } else { path }, query })
    }

    /// Whether the client will keep the connection after this exchange (RFC 9112 section 9.3).
    pub fn is_persistent(&self) -> bool {
        let has = |option: &[u8]| connection_has(&self.fields, option);
        match self.version {
            Version::Http11 | Version::Http2 => !has(b"close"),
            Version::Http10 => has(b"keep-alive") && !has(b"close"),
        }
    }

    /// Whether the client waits for a 100 before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.version != Version::Http10
            && self.fields.all(Known::Expect).any(|value| value.eq_ignore_ascii_case(b"100-continue"))
    }
}

/// Whether a target has bytes, all of them of 0x21 to 0x7e: no space, no control, none above ASCII (RFC 3986 has none).
fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && target.iter().fold(true, |good, &b| good & (b > 0x20 && b < 0x7f))
}

/// Longest method name.
const METHOD_BYTES_MAX: usize = 32;

/// Whether one of the `Connection` fields lists `option`.
pub(super) fn connection_has(fields: &Head, option: &[u8]) -> bool {
    fields.all(Known::Connection).flat_map(super::list_items).any(|item| item.eq_ignore_ascii_case(option))
}

fn split_query(raw: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', raw) {
        Some(at) => (&raw[..at], Some(&raw[at + 1..])),
        None => (raw, None),
    }
}

fn is_version(text: &[u8]) -> bool {
    matches!(text, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RequestHead, RequestError> {
        let mut head = RequestHead::default();
        head.parse(text.as_bytes(), &HeadLimits { bytes: 1000, fields: 3 })?;
        Ok(head)
    }

    #[test]
    fn a_head_is_read_with_case_and_order_kept() {
        let head = parse("POST /a?b=c HTTP/1.1\r\nHoSt:  x \r\nX-Empty:\r\n\r\n").unwrap();
        assert_eq!(head.method(), Method::Post);
        assert_eq!(head.target(), Ok(Target::Origin { path: b"/a", query: Some(b"b=c") }));
        let mut out = Vec::new();
        head.fields.write_fields(&mut out);
        assert_eq!(out, b"HoSt: x\r\nX-Empty: \r\n");
        assert!(head.is_persistent());
    }

    #[test]
    fn a_head_of_frames_is_begun_with_what_a_start_line_could_have() {
        let mut head = RequestHead::default();
        head.begin(b"PUT", b"/a?b").unwrap();
        head.fields.push(b"host", b"x").unwrap();
        assert_eq!((head.method(), head.version()), (Method::Put, Version::Http2));
        assert_eq!(head.target(), Ok(Target::Origin { path: b"/a", query: Some(b"b") }));
        assert_eq!(head.fields.get(Known::Host), Some(&b"x"[..]));
        for (method, target, error) in [
            (&b"G T"[..], &b"/"[..], RequestError::BadRequestLine),
            (b"", b"/", RequestError::BadRequestLine),
            (b"GET", b"/a b", RequestError::BadTarget),
            (b"GET", b"", RequestError::BadTarget),
            (b"GET", b"/\xc3\xa9", RequestError::BadTarget),
        ] {
            assert_eq!(head.begin(method, target), Err(error));
        }
        for value in [&b" a"[..], b"a\t", b"a\rb", b"a\nb", b"a\0b", b"a\x7f"] {
            assert_eq!(head.fields.push(b"a", value), Err(RequestError::BadValue), "{value:?}");
        }
        for name in [&b"A"[..], b"a b", b"", b"a:", b":a"] {
            assert_eq!(head.fields.push(name, b"1"), Err(RequestError::BadName), "{name:?}");
        }
    }

    #[test]
    fn malformed_heads_are_refused_by_cause() {
        use RequestError::*;
        let cases = [
            ("GET / HTTP/1.1\r\nA: b\r\n\rTransfer-Encoding: chunked\r\n\r\n", BadValue),
            ("GET  / HTTP/1.1\r\n\r\n", BadTarget),
            ("GET / \r\n\r\n", BadRequestLine),
            ("GET /\r\n\r\n", BadRequestLine),
            ("GET /a b HTTP/1.1\r\n\r\n", BadTarget),
            ("G\tT / HTTP/1.1\r\n\r\n", BadRequestLine),
            ("GET / HTTP/1.1 \r\n\r\n", BadRequestLine),
            ("GET / http/1.1\r\n\r\n", BadRequestLine),
            ("GET / HTTP/1.2\r\n\r\n", UnknownVersion),
            ("PRI * HTTP/2.0\r\n\r\n", UnknownVersion),
            ("GET /\u{e9} HTTP/1.1\r\n\r\n", BadTarget),
            ("GET /\u{1} HTTP/1.1\r\n\r\n", BadTarget),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", BadName),
            ("GET / HTTP/1.1\r\n: a\r\n\r\n", BadName),
            ("GET / HTTP/1.1\r\nHost\r\n\r\n", NoColon),
            ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", FoldedField),
            ("GET / HTTP/1.1\r\n A: b\r\n\r\n", FoldedField),
            ("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", BadValue),
            ("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", BadValue),
            ("GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n", TooManyFields),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text).err(), Some(error), "{text:?}");
        }
    }

    #[test]
    fn targets_are_told_apart_by_form() {
        let target = |line: &str| {
            parse(&format!("{line} HTTP/1.1\r\n\r\n")).unwrap().target().map(|t| format!("{t:?}"))
        };
        let absolute = parse("GET HTTP://a:1?q HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(
            absolute.target(),
            Ok(Target::Absolute { authority: b"a:1", path: b"/", query: Some(b"q") })
        );
        assert_eq!(parse("OPTIONS * HTTP/1.1\r\n\r\n").unwrap().target(), Ok(Target::Asterisk));
        assert_eq!(parse("CONNECT a:1 HTTP/1.1\r\n\r\n").unwrap().target(), Ok(Target::Authority(b"a:1")));
        for bad in ["GET *", "GET a:1", "GET ftp://a/", "GET http://", "GET http:///x", "GET /a#b"] {
            assert_eq!(target(bad), Err(RequestError::BadTarget), "{bad}");
        }
    }

    #[test]
    fn persistence_follows_version_and_connection() {
        let persistent = |version: &str, connection: &str| {
            parse(&format!("GET / {version}\r\nConnection: {connection}\r\n\r\n")).unwrap().is_persistent()
        };
        assert!(persistent("HTTP/1.1", "x"));
        assert!(!persistent("HTTP/1.1", "x, Close"));
        assert!(!persistent("HTTP/1.0", "x"));
        assert!(persistent("HTTP/1.0", "Keep-Alive"));
    }
}
