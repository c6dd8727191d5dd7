use std::ops::Range;

use super::RequestError;
use super::ascii::{is_field_value, is_token, is_token_byte, is_value_byte, trim_ows};
use super::field::Known;

/// Where a piece of text stands in a head's bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        // Heads are bounded far below 4 GiB by `HeadLimits`; what policies add is bounded by their configuration.
        Self { start: start as u32, end: end as u32 }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    #[inline]
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

#[derive(Debug, Clone, Copy)]
struct Field {
    name: Span,
    value: Span,
    known: Known,
}

/// The field lines of a message, in order, with the case in which they were written.
///
/// Owns its bytes; changed fields are appended to them. Made to be cleared and used again: parsing and
/// changing allocate only until the largest head has been seen.
#[derive(Debug, Default)]
pub struct Head {
    pub(super) bytes: Vec<u8>,
    fields: Vec<Field>,
    /// A bit for each known name that was ever added: most questions are about fields that are not there.
    seen: u64,
}

/// What is wrong with a field line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldError {
    TooMany,
    Folded,
    NoColon,
    BadName,
    BadValue,
}

impl Head {
    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.seen = 0;
    }

    /// Bytes of memory held while empty.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity() + self.fields.capacity() * size_of::<Field>()
    }

    /// Reads field lines from `self.bytes[at..]`, which ends with an empty line and has CRLF line ends only.
    pub(super) fn read_fields(&mut self, mut at: usize, fields_max: usize) -> Result<(), FieldError> {
        loop {
            match self.bytes.get(at..).unwrap_or_default() {
                b"\r\n" => return Ok(()),
                // A CR that ends nothing, or an empty line that is not the last.
                [b'\r', ..] => return Err(FieldError::BadValue),
                _ => {}
            }
            if self.fields.len() == fields_max {
                return Err(FieldError::TooMany);
            }
            let (field, next) = read_field(&self.bytes, at)?;
            self.add(field);
            at = next;
        }
    }

    fn add(&mut self, field: Field) {
        self.seen |= 1 << field.known as u8;
        self.fields.push(field);
    }

    #[inline]
    fn may_have(&self, known: Known) -> bool {
        self.seen & 1 << known as u8 != 0
    }

    /// The fields in order.
    pub fn iter(&self) -> HeadFields<'_> {
        HeadFields { bytes: &self.bytes, fields: self.fields.iter() }
    }

    /// What [`places`](Self::places) are places in.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Each field's known name, and where its name and its value stand in [`bytes`](Self::bytes), in order.
    pub fn places(&self) -> impl Iterator<Item = (Known, Range<usize>, Range<usize>)> {
        self.fields.iter().map(|field| (field.known, field.name.range(), field.value.range()))
    }

    /// Adds a trailer, if it may stand there: not what a reader acts on before the body, or that the gateway vouches for.
    pub fn append_trailer(&mut self, name: &[u8], value: &[u8]) {
        if super::trailer::may_be_trailer(name) {
            self.append(name, value);
        }
    }

    /// The number of field lines.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no field line.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The value of the first field line of that known name.
    #[inline]
    pub fn get(&self, known: Known) -> Option<&[u8]> {
        if !self.may_have(known) {
            return None;
        }
        self.fields.iter().find(|f| f.known == known).map(|f| f.value.of(&self.bytes))
    }

    /// All values of that known name, in order.
    pub fn all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        let fields = if self.may_have(known) { &self.fields[..] } else { &[] };
        fields.iter().filter(move |f| f.known == known).map(|f| f.value.of(&self.bytes))
    }

    /// The number of field lines of that known name.
    pub fn count(&self, known: Known) -> usize {
        self.all(known).count()
    }

    /// All values of the fields with this name, whatever its case.
    pub fn named<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |f| f.name.of(&self.bytes).eq_ignore_ascii_case(name))
            .map(|f| f.value.of(&self.bytes))
    }

    /// Removes all field lines of that known name.
    pub fn remove(&mut self, known: Known) {
        if self.may_have(known) {
            self.fields.retain(|f| f.known != known);
        }
    }

    /// Keeps the field lines for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(Known, &[u8], &[u8]) -> bool) {
        let bytes = &self.bytes;
        self.fields.retain(|f| keep(f.known, f.name.of(bytes), f.value.of(bytes)));
    }

    /// Removes all field lines with this name, whatever its case; whether there were any.
    pub fn remove_named(&mut self, name: &[u8]) -> bool {
        let before = self.fields.len();
        let bytes = &self.bytes;
        self.fields.retain(|f| !f.name.of(bytes).eq_ignore_ascii_case(name));
        before != self.fields.len()
    }

    /// Adds a field as it came in a frame of HTTP/2 (RFC 9113 section 8.2.1).
    ///
    /// # Errors
    ///
    /// [`RequestError::BadName`] for a name that is no token in lower case, [`RequestError::BadValue`] for a value with a
    /// byte that none may have, or with white space around it.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), RequestError> {
        if !is_token(name) || name.iter().any(u8::is_ascii_uppercase) {
            return Err(RequestError::BadName);
        }
        if !is_field_value(value) || trim_ows(value).len() != value.len() {
            return Err(RequestError::BadValue);
        }
        self.append_as(Known::of(name), name, value);
        Ok(())
    }

    /// Adds a field line at the end.
    ///
    /// `value` may come from outside: bytes that no value may hold (CR, LF, NUL, controls) are replaced by spaces.
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        let value = trim_ows(value);
        let at = self.append_as(Known::of(name), name, value);
        if !is_field_value(value) {
            for b in &mut self.bytes[at..at + value.len()] {
                if !is_field_value(std::slice::from_ref(b)) {
                    *b = b' ';
                }
            }
        }
    }

    /// Adds a field line whose value the gateway made itself and knows to be one.
    pub fn append_own(&mut self, known: Known, name: &'static str, value: &[u8]) {
        debug_assert!(
            Known::of(name.as_bytes()) == known && is_field_value(value) && trim_ows(value) == value
        );
        self.append_as(known, name.as_bytes(), value);
    }

    /// Adds a line in the form in which it is written; returns where its value stands.
    fn append_as(&mut self, known: Known, name: &[u8], value: &[u8]) -> usize {
        let start = self.bytes.len();
        self.bytes.reserve(name.len() + value.len() + 4);
        self.bytes.extend_from_slice(name);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        let end = self.bytes.len();
        self.bytes.extend_from_slice(b"\r\n");
        self.add(Field { name: Span::new(start, middle), value: Span::new(middle + 2, end), known });
        middle + 2
    }

    /// Replaces all field lines with this name by one.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.remove_named(name);
        self.append(name, value);
    }

    /// Removes what belongs to one connection: the hop-by-hop names and all that `Connection` lists.
    ///
    /// Must run before the gateway adds its own fields, so that a client cannot have them removed.
    pub fn strip_hop_by_hop(&mut self) {
        if self.may_have(Known::Connection) {
            let bytes = &self.bytes;
            let mut listed = [Span::default(); LISTED_MAX];
            let mut count = 0;
            for value in self.fields.iter().filter(|f| f.known == Known::Connection).map(|f| f.value) {
                let mut start = value.start as usize;
                for item in value.of(bytes).split(|&b| b == b',') {
                    let end = start + item.len();
                    let trimmed = trim_ows(item);
                    // `close` and `keep-alive` are options; a name no longer than the list is remembered.
                    if count < LISTED_MAX && !trimmed.is_empty() && !is_connection_option(trimmed) {
                        let skip = item.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
                        listed[count] = Span::new(start + skip, start + skip + trimmed.len());
                        count += 1;
                    }
                    start = end + 1;
                }
            }
            let listed = &listed[..count];
            if !listed.is_empty() {
                self.fields.retain(|f| {
                    f.known.survives_connection_list()
                        || !listed.iter().any(|l| f.name.of(bytes).eq_ignore_ascii_case(l.of(bytes)))
                });
            }
        }
        if self.seen & Known::HOP_BY_HOP != 0 {
            self.fields.retain(|f| !f.known.is_hop_by_hop());
        }
    }

    /// Writes all field lines, without the empty line that ends them.
    ///
    /// Each line is what its name and value make of it. Lines that already stand so in memory, one behind the
    /// other, are written at once.
    pub fn write_fields(&self, out: &mut Vec<u8>) {
        let mut fields = self.fields.iter().peekable();
        while let Some(field) = fields.next() {
            if !field.is_as_written(&self.bytes) {
                let (name, value) = (field.name.of(&self.bytes), field.value.of(&self.bytes));
                out.reserve(name.len() + value.len() + 4);
                out.extend_from_slice(name);
                out.extend_from_slice(b": ");
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
                continue;
            }
            let mut end = field.value.end + 2;
            while let Some(next) =
                fields.next_if(|next| next.name.start == end && next.is_as_written(&self.bytes))
            {
                end = next.value.end + 2;
            }
            out.extend_from_slice(&self.bytes[field.name.start as usize..end as usize]);
        }
    }
}

impl Field {
    /// Whether the line stands in memory as `name: value` and CRLF, to the byte.
    #[inline]
    fn is_as_written(&self, bytes: &[u8]) -> bool {
        // Between name and value there is a colon and white space, and behind the value white space and CRLF.
        self.value.start == self.name.end + 2
            && bytes[self.name.end as usize + 1] == b' '
            && bytes.get(self.value.end as usize) == Some(&b'\r')
    }
}

/// Most names that one message's `Connection` fields may list; further ones are not removed.
const LISTED_MAX: usize = 32;

fn is_connection_option(item: &[u8]) -> bool {
    item.eq_ignore_ascii_case(b"close") || item.eq_ignore_ascii_case(b"keep-alive")
}

impl Known {
    /// Fields that a client cannot strip by listing them in `Connection`: framing, routing and credentials.
    ///
    /// RFC 9110 section 7.6.1 forbids senders to list end-to-end fields; honouring it here would let a client
    /// remove what a policy or the server behind relies on.
    const fn survives_connection_list(self) -> bool {
        matches!(
            self,
            Self::Host
                | Self::ContentLength
                | Self::ContentType
                | Self::ContentEncoding
                | Self::Authorization
                | Self::Cookie
                | Self::Origin
                | Self::Forwarded
                | Self::XForwardedFor
                | Self::XForwardedHost
                | Self::XForwardedPort
                | Self::XForwardedProto
                | Self::XRealIp
                | Self::XRequestId
                | Self::Traceparent
        )
    }
}

/// Reads the field line at `at`; returns it with the place of the next line. Each byte is looked at once.
#[inline]
fn read_field(bytes: &[u8], at: usize) -> Result<(Field, usize), FieldError> {
    let from = |start: usize| bytes.get(start..).unwrap_or_default();
    let name_end = at + from(at).iter().position(|&b| !is_token_byte(b)).ok_or(FieldError::BadName)?;
    match bytes[name_end] {
        b':' if name_end > at => {}
        b' ' | b'\t' if name_end == at => return Err(FieldError::Folded),
        b'\r' => return Err(FieldError::NoColon),
        _ => return Err(FieldError::BadName),
    }
    let is_space = |b: &u8| matches!(b, b' ' | b'\t');
    let start = name_end + 1 + from(name_end + 1).iter().take_while(|b| is_space(b)).count();
    // The first byte that no value may hold must be the CR of the line's end.
    let line_end = start + from(start).iter().position(|&b| !is_value_byte(b)).ok_or(FieldError::BadValue)?;
    if !from(line_end).starts_with(b"\r\n") {
        return Err(FieldError::BadValue);
    }
    let end = line_end - bytes[start..line_end].iter().rev().take_while(|b| is_space(b)).count();
    let known = Known::of(&bytes[at..name_end]);
    Ok((Field { name: Span::new(at, name_end), value: Span::new(start, end), known }, line_end + 2))
}

/// The fields of a [`Head`] in order: known name, name as written, value.
pub struct HeadFields<'a> {
    bytes: &'a [u8],
    fields: std::slice::Iter<'a, Field>,
}

impl<'a> Iterator for HeadFields<'a> {
    type Item = (Known, &'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.fields.next().map(|f| (f.known, f.name.of(self.bytes), f.value.of(self.bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[(&str, &str)]) -> Head {
        let mut head = Head::default();
        for (name, value) in lines {
            head.append(name.as_bytes(), value.as_bytes());
        }
        head
    }

    fn names(head: &Head) -> Vec<String> {
        head.iter().map(|(_, name, _)| String::from_utf8_lossy(name).into_owned()).collect()
    }

    #[test]
    fn hop_by_hop_fields_and_what_connection_lists_are_removed() {
        let mut h = head(&[
            ("Connection", "close, X-Mine ,\tx-other"),
            ("X-Mine", "1"),
            ("Keep-Alive", "timeout=5"),
            ("TE", "trailers"),
            ("Upgrade", "h2c"),
            ("Accept", "*/*"),
            ("X-OTHER", "2"),
        ]);
        h.strip_hop_by_hop();
        assert_eq!(names(&h), ["Accept"]);
    }

    #[test]
    fn connection_cannot_strip_what_the_gateway_relies_on() {
        let mut h = head(&[
            ("Connection", "host, content-length, authorization, x-forwarded-for"),
            ("Host", "a"),
            ("Content-Length", "3"),
            ("Authorization", "x"),
            ("X-Forwarded-For", "1.2.3.4"),
        ]);
        h.strip_hop_by_hop();
        assert_eq!(names(&h), ["Host", "Content-Length", "Authorization", "X-Forwarded-For"]);
    }

    #[test]
    fn appended_values_cannot_split_a_message() {
        let mut h = Head::default();
        h.append(b"x-a", b"one\r\nEvil: 1\0");
        let mut out = Vec::new();
        h.write_fields(&mut out);
        assert_eq!(out, b"x-a: one  Evil: 1 \r\n");
    }

    #[test]
    fn set_replaces_every_line_of_the_name() {
        let mut h = head(&[("A", "1"), ("b", "2"), ("a", "3")]);
        h.set(b"a", b"4");
        let mut out = Vec::new();
        h.write_fields(&mut out);
        assert_eq!(out, b"b: 2\r\na: 4\r\n");
    }
}
