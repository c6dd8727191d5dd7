use std::fmt;

use crate::wire::ReadError;

/// Header or trailer fields in their order, names in the case they came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The value of the only field called `name`, compared without case.
    ///
    /// # Panics
    ///
    /// When the field stands more than once: a test that expects a list asks [`Fields::all`].
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.all(name);
        assert!(found.len() <= 1, "{name} stands {} times: {self:?}", found.len());
        found.first().copied()
    }

    /// The values of all fields called `name`, in their order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// Whether a field called `name` is there.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Whether a field with exactly these letters is there.
    pub fn has_exact_case(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    /// Reads field lines strictly: token, colon, value without control bytes; nothing else passes.
    pub(crate) fn parse<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Self, ReadError> {
        let mut fields = Vec::new();
        for line in lines {
            let bad = |why: &str| ReadError::Malformed(format!("{why}: {}", line.escape_ascii()));
            let colon = line.iter().position(|b| *b == b':').ok_or_else(|| bad("field without a colon"))?;
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.is_empty() || !name.iter().all(|b| is_token(*b)) {
                return Err(bad("field name is no token"));
            }
            if value.iter().any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f) {
                return Err(bad("field value with a control byte"));
            }
            fields.push((
                String::from_utf8_lossy(name).into_owned(),
                String::from_utf8_lossy(value).into_owned(),
            ));
        }
        Ok(Self(fields))
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The head of a message: its first line and its fields.
#[derive(Debug, Clone)]
pub struct Head {
    /// Every byte as received, the empty line included.
    pub raw: Vec<u8>,
    /// The request line or status line, without its line end.
    pub start: String,
    /// The fields, in order.
    pub fields: Fields,
}

impl Head {
    /// Reads the bytes up to and including the empty line, strictly: only CRLF ends a line.
    pub(crate) fn parse(raw: Vec<u8>) -> Result<Self, ReadError> {
        let text =
            raw.strip_suffix(b"\r\n\r\n").ok_or_else(|| ReadError::Malformed("no empty line".into()))?;
        let mut lines = Vec::new();
        let mut rest = text;
        while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
            lines.push(&rest[..end]);
            rest = &rest[end + 2..];
        }
        lines.push(rest);
        if lines.iter().any(|l| l.contains(&b'\r') || l.contains(&b'\n') || l.is_empty()) {
            return Err(ReadError::Malformed(format!("bare line end or empty line: {}", raw.escape_ascii())));
        }
        let start = String::from_utf8_lossy(lines[0]).into_owned();
        let fields = Fields::parse(lines[1..].iter().copied())?;
        Ok(Self { start, fields, raw })
    }

    /// How the body that follows is delimited; `None` when no framing field stands there.
    pub(crate) fn framing(&self) -> Result<Option<Framing>, ReadError> {
        let codings = self.fields.all("transfer-encoding");
        let lengths = self.fields.all("content-length");
        match (codings.as_slice(), lengths.as_slice()) {
            ([], []) => Ok(None),
            (["chunked"], []) => Ok(Some(Framing::Chunked)),
            ([], [length]) if length.bytes().all(|b| b.is_ascii_digit()) => length
                .parse()
                .map(|length| Some(Framing::Length(length)))
                .map_err(|_| ReadError::Malformed(format!("content-length {length}"))),
            _ => Err(ReadError::Malformed(format!("ambiguous framing: {:?}", self.fields))),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
}

/// One complete response as a [`crate::RawClient`] read it.
#[derive(Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The final head.
    pub head: Head,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// The trailer fields of a chunked body.
    pub trailers: Fields,
    /// Interim responses (1xx) that came before, in order.
    pub interim: Vec<Head>,
}

impl Response {
    /// The value of the only field called `name`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.fields.get(name)
    }

    /// The body as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    /// Whether the response announces that the connection closes after it.
    pub fn announces_close(&self) -> bool {
        self.head.fields.all("connection").iter().any(|v| v.eq_ignore_ascii_case("close"))
    }

    /// The status of the line `HTTP/1.1 200 OK`, read strictly.
    pub(crate) fn status_of(head: &Head) -> Result<u16, ReadError> {
        let bad = || ReadError::Malformed(format!("status line: {}", head.start.escape_default()));
        let rest = head.start.strip_prefix("HTTP/1.1 ").ok_or_else(bad)?;
        let digits = rest.get(..3).filter(|d| d.bytes().all(|b| b.is_ascii_digit())).ok_or_else(bad)?;
        if rest.len() > 3 && !rest[3..].starts_with(' ') {
            return Err(bad());
        }
        digits.parse().map_err(|_| bad())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.body[..self.body.len().min(2_000)];
        write!(f, "{}{}", String::from_utf8_lossy(&self.head.raw), String::from_utf8_lossy(shown))
    }
}
