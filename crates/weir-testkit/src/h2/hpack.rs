//! Header blocks as a peer sends them: RFC 7541, reading only.

use std::collections::VecDeque;

/// RFC 7541 appendix A, from index 1.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// Bits of each symbol's code (RFC 7541 appendix B). The code is canonical: within a length it
/// counts up with the symbols, so that the lengths say all.
#[rustfmt::skip]
const CODE_LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6,
    6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6,
    6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22,
    20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23,
    22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22,
    23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22,
    25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// The table's size unless SETTINGS say otherwise, which the kit's ends never do.
const TABLE_BYTES_MAX: usize = 4096;

/// The state of one direction of a connection.
#[derive(Default)]
pub(super) struct Decoder {
    /// Newest first.
    table: VecDeque<(Vec<u8>, Vec<u8>)>,
}

type Field = (Vec<u8>, Vec<u8>);

impl Decoder {
    /// The fields of a whole block; `None` where it is malformed.
    pub(super) fn decode(&mut self, mut block: &[u8]) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        while let Some(first) = block.first().copied() {
            match first {
                0x80.. => fields.push(self.indexed(integer(&mut block, 7)?)?),
                0x40.. => {
                    let field = self.literal(&mut block, 6)?;
                    self.table.push_front(field.clone());
                    fields.push(field);
                    self.evict();
                }
                // Its size is the peer's to lower; ours holds no more than the peer's, so lookups agree unless it lowers.
                0x20.. => match integer(&mut block, 5)? {
                    0 => self.table.clear(),
                    TABLE_BYTES_MAX => {}
                    _ => return None,
                },
                _ => fields.push(self.literal(&mut block, 4)?),
            }
        }
        Some(fields)
    }

    fn literal(&self, block: &mut &[u8], prefix: u32) -> Option<Field> {
        let name = match integer(block, prefix)? {
            0 => string(block)?,
            index => self.indexed(index)?.0,
        };
        Some((name, string(block)?))
    }

    fn indexed(&self, index: usize) -> Option<Field> {
        match STATIC.get(index.checked_sub(1)?) {
            Some((name, value)) => Some((name.as_bytes().to_vec(), value.as_bytes().to_vec())),
            None => self.table.get(index - 1 - STATIC.len()).cloned(),
        }
    }

    fn evict(&mut self) {
        let bytes = |(name, value): &Field| name.len() + value.len() + 32;
        while self.table.iter().map(bytes).sum::<usize>() > TABLE_BYTES_MAX {
            self.table.pop_back();
        }
    }
}

/// RFC 7541 section 5.1.
fn integer(block: &mut &[u8], prefix: u32) -> Option<usize> {
    let mask = (1 << prefix) - 1;
    let first = usize::from(take(block, 1)?[0]) & mask;
    if first < mask {
        return Some(first);
    }
    let mut value = first;
    for shift in [0, 7, 14, 21] {
        let byte = usize::from(take(block, 1)?[0]);
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn string(block: &mut &[u8]) -> Option<Vec<u8>> {
    let is_coded = block.first()? & 0x80 != 0;
    let length = integer(block, 7)?;
    let bytes = take(block, length)?;
    if is_coded { uncode(bytes) } else { Some(bytes.to_vec()) }
}

fn take<'a>(block: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = block.split_at_checked(count)?;
    *block = rest;
    Some(taken)
}

/// Reads canonical codes bit by bit: for each length, the first code of it and how many there are.
fn uncode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut symbols: Vec<u8> = (0..=255).collect();
    symbols.sort_by_key(|symbol| CODE_LENGTHS[usize::from(*symbol)]);
    let mut text = Vec::new();
    let (mut code, mut length, mut first, mut before) = (0usize, 0u8, 0usize, 0usize);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        (code, length, first) = (code << 1 | usize::from(bit), length + 1, first << 1);
        let count = CODE_LENGTHS.iter().filter(|other| **other == length).count();
        if code - first < count {
            text.push(symbols[before + code - first]);
            (code, length, first, before) = (0, 0, 0, 0);
        } else {
            (first, before) = (first + count, before + count);
        }
    }
    // What is left is the beginning of the end symbol: fewer than eight ones.
    (length < 8 && code + 1 == 1 << length).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(fields: Option<Vec<Field>>) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields
            .expect("a block")
            .iter()
            .map(|(name, value)| format!("{}: {}", text(name), text(value)))
            .collect()
    }

    /// RFC 7541 section C.4, three requests on one connection, and two answers of C.6.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let mut decoder = Decoder::default();
        let first = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        let request = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
        assert_eq!(text(decoder.decode(first)), request);
        let second = b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf";
        assert_eq!(text(decoder.decode(second)), [&request[..], &["cache-control: no-cache"]].concat());
        let third = b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";
        let more = [":scheme: https", ":path: /index.html", request[3], "custom-key: custom-value"];
        assert_eq!(text(decoder.decode(third)), [&[request[0]], &more[..]].concat());
    }

    #[test]
    fn broken_blocks_are_refused() {
        for block in
            [&b"\x80"[..], b"\xff\xff\xff\xff\xff\xff", b"\x00\x05ab", b"\xbe", b"\x00\x81\xff\x81\xff\xff"]
        {
            assert_eq!(Decoder::default().decode(block), None, "{}", block.escape_ascii());
        }
    }
}
