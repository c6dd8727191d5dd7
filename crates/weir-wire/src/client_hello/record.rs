use super::{Absent, HELLO_BYTES_MAX, HelloError, Stop};

const HEADER_BYTES: usize = 5;

/// Most content of a record, in bytes (RFC 8446, section 5.1).
const CONTENT_BYTES_MAX: usize = 1 << 14;

/// Content type of a handshake record.
const HANDSHAKE: u8 = 22;

/// What all versions of SSL and TLS since 3.0 have as the high byte; the low one is of no meaning in a record.
const MAJOR: u8 = 3;

/// Type and length of a handshake message.
const MESSAGE_HEADER_BYTES: usize = 4;

/// Why there is no more content than was joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The records did not come further, or hold the whole message.
    Open,
    /// What follows cannot continue the message.
    Broken(HelloError),
}

/// Tells other protocols by the first bytes; `Ok` when they begin a handshake record.
pub(super) fn first(bytes: &[u8]) -> Result<(), Stop> {
    match bytes {
        [HANDSHAKE, MAJOR, ..] => Ok(()),
        [] | [HANDSHAKE] => Err(Stop::Incomplete),
        _ => Err(ssl2(bytes)),
    }
}

/// A hello of SSL 2.0: two bytes of length with the high bit set, message type 1, a version (RFC 5246, appendix E.2).
fn ssl2(bytes: &[u8]) -> Stop {
    let other = Stop::Absent(Absent::OtherProtocol);
    if bytes[0] & 0x80 == 0 || bytes.get(2).is_some_and(|&kind| kind != 1) {
        return other;
    }
    match bytes.get(3..) {
        Some([0, 2, ..] | [MAJOR, _, ..]) => Stop::Absent(Absent::Ssl2),
        None | Some([] | [0 | MAJOR]) => Stop::Incomplete,
        Some(_) => other,
    }
}

/// One record, or the beginning of one.
struct Record<'a> {
    /// As much of the content as there is.
    content: &'a [u8],
    /// The declared length of the content.
    length: usize,
}

impl<'a> Record<'a> {
    /// Reads the record at the start of `bytes`; none until its header is whole.
    fn read(bytes: &'a [u8]) -> Result<Option<Self>, HelloError> {
        if bytes.first().is_some_and(|&kind| kind != HANDSHAKE)
            || bytes.get(1).is_some_and(|&major| major != MAJOR)
        {
            return Err(HelloError::Interrupted);
        }
        let Some((&[.., high, low], rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !(1..=CONTENT_BYTES_MAX).contains(&length) {
            return Err(HelloError::RecordLength);
        }
        Ok(Some(Self { content: &rest[..length.min(rest.len())], length }))
    }

    fn is_whole(&self) -> bool {
        self.content.len() == self.length
    }

    /// Fewest bytes, from this record's first on, in which so much content can stand.
    fn bytes_to(&self, content: usize) -> usize {
        let headers = if content > self.length { 2 * HEADER_BYTES } else { HEADER_BYTES };
        headers + content
    }
}

/// Joins the contents of the first records, until the message in them is whole or its bytes end. Borrows `bytes` where
/// the first record is all there is.
///
/// Content stops short of what is found to be broken, so that a reader of the message that finds a fault in an earlier
/// byte finds the same one in every beginning of `bytes`.
pub(super) fn join<'a>(bytes: &'a [u8], joined: &'a mut Vec<u8>) -> (&'a [u8], End) {
    joined.clear();
    let mut at = 0;
    loop {
        let record = match Record::read(&bytes[at..]) {
            Ok(Some(record)) => record,
            Ok(None) => return (joined, End::Open),
            Err(error) => return (joined, End::Broken(error)),
        };
        let before = joined.len();
        if before > 0 {
            joined.extend_from_slice(record.content);
        }
        let message = if before == 0 { record.content } else { &joined[..] };
        let wanted = wanted(message);
        let is_too_long =
            wanted.is_some_and(|wanted| at + record.bytes_to(wanted - before) > HELLO_BYTES_MAX);
        let is_last = !record.is_whole() || wanted.is_some_and(|wanted| wanted <= message.len());
        if is_too_long || is_last {
            let message = if before == 0 { record.content } else { joined };
            return match is_too_long {
                true => (&message[..before.max(MESSAGE_HEADER_BYTES)], End::Broken(HelloError::TooLong)),
                false => (message, End::Open),
            };
        }
        if before == 0 {
            joined.extend_from_slice(record.content);
        }
        at += HEADER_BYTES + record.length;
    }
}

/// How long the message wants to be, its header included; none until that is whole.
fn wanted(message: &[u8]) -> Option<usize> {
    let &[_, high, middle, low] = message.first_chunk()?;
    Some(MESSAGE_HEADER_BYTES + u32::from_be_bytes([0, high, middle, low]) as usize)
}
