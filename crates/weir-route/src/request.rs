use std::sync::Arc;

use crate::PARAMS_MAX;
use crate::rule::ValueTest;

/// What of a request decides its route. Host and path are normalised.
pub struct RequestView<'a> {
    /// The listener it came to.
    pub listener: u32,
    /// Lower case, no port, no trailing dot; empty where the client named none.
    pub host: &'a [u8],
    /// Starts with `/`.
    pub path: &'a [u8],
    /// As written, without `?`.
    pub query: &'a [u8],
    /// As written.
    pub method: &'a [u8],
    /// The header fields.
    pub fields: &'a dyn FieldLookup,
}

/// Header fields by name.
pub trait FieldLookup {
    /// Whether `test` holds for any value of the fields with this name, whatever its case.
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// The path parameters of a match; made to be used again.
#[derive(Debug, Default, Clone)]
pub struct Params {
    pub(crate) spans: [(u32, u32); PARAMS_MAX],
    pub(crate) names: Option<Arc<[Box<str>]>>,
}

impl Params {
    /// Forgets the last match.
    pub fn clear(&mut self) {
        self.names = None;
    }

    /// The value of a parameter, as it stands in the path that was looked up.
    pub fn get<'a>(&self, name: &str, path: &'a [u8]) -> Option<&'a [u8]> {
        let names = self.names.as_ref()?;
        let place = names.iter().position(|known| **known == *name)?;
        let (start, end) = *self.spans.get(place)?;
        path.get(start as usize..end as usize)
    }

    /// Names and values in the order of the path.
    pub fn iter<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.names
            .iter()
            .flat_map(|names| names.iter())
            .filter_map(|name| Some((&**name, self.get(name, path)?)))
    }
}

impl ValueTest {
    pub(crate) fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => text.as_bytes() == value,
            Self::Expression(expression) => expression.is_match(value),
            Self::Present => true,
        }
    }

    pub(crate) fn holds_for_field(&self, name: &str, fields: &dyn FieldLookup) -> bool {
        fields.any(name, &mut |value| self.holds(value))
    }

    pub(crate) fn holds_for_query(&self, name: &str, query: &[u8]) -> bool {
        entries(query).any(|(key, value)| decoded_equals(key, name.as_bytes()) && self.holds_decoded(value))
    }

    fn holds_decoded(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => decoded_equals(value, text.as_bytes()),
            Self::Present => true,
            Self::Expression(expression) if memchr::memchr2(b'%', b'+', value).is_none() => {
                expression.is_match(value)
            }
            // Rare: an expression on an encoded value is the one place that needs memory.
            Self::Expression(expression) => expression.is_match(&decoded(value).collect::<Vec<u8>>()),
        }
    }
}

/// Names and values of a query as they are written; a name alone has an empty value.
fn entries(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|&b| b == b'&').filter(|pair| !pair.is_empty()).map(|pair| match memchr::memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &b""[..]),
    })
}

/// The value of the first entry with this name, as it is written.
pub(crate) fn query_value<'a>(name: &str, query: &'a [u8]) -> Option<&'a [u8]> {
    entries(query).find(|(key, _)| decoded_equals(key, name.as_bytes())).map(|(_, value)| value)
}

fn decoded_equals(encoded: &[u8], text: &[u8]) -> bool {
    // Bytes that stand for others never stand for themselves too.
    match memchr::memchr2(b'%', b'+', encoded) {
        None => encoded == text,
        Some(_) => decoded(encoded).eq(text.iter().copied()),
    }
}

/// The bytes of a query name or value: `+` is a space, `%XX` a byte, anything else itself.
fn decoded(encoded: &[u8]) -> impl Iterator<Item = u8> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let b = *encoded.get(at)?;
        at += 1;
        let digit = |place: usize| encoded.get(place).and_then(|&d| char::from(d).to_digit(16));
        match (b, digit(at), digit(at + 1)) {
            (b'%', Some(high), Some(low)) => {
                at += 2;
                Some((high * 16 + low) as u8)
            }
            (b'+', _, _) => Some(b' '),
            _ => Some(b),
        }
    })
}
