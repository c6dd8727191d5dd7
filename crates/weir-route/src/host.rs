//! The one spelling of a `Host` value.

use std::net::Ipv6Addr;

/// Longest host name, in bytes, without port and trailing dot: the limit of DNS.
pub const HOST_BYTES_MAX: usize = 253;

/// A `Host` value taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host<'a> {
    /// Lower-case, without trailing dot; an IPv6 address keeps its brackets. Never empty.
    pub name: &'a [u8],
    /// The port, when one was written; it plays no part in matching.
    pub port: Option<u16>,
}

/// Why a `Host` value names no host; each is answered with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing before the port, or only a dot.
    #[error("the host is empty")]
    Empty,
    /// Longer than [`HOST_BYTES_MAX`].
    #[error("the host is longer than {HOST_BYTES_MAX} bytes")]
    TooLong,
    /// A byte that no host name holds: `@`, `/`, a comma, a space, `%`, a control byte, a byte outside ASCII.
    #[error("the host holds the byte 0x{byte:02x} at byte {offset}")]
    InvalidByte {
        /// Where it stands.
        offset: usize,
        /// The byte.
        byte: u8,
    },
    /// Two dots in a row, or one at the beginning.
    #[error("the host has an empty label at byte {offset}")]
    EmptyLabel {
        /// Where the label would stand.
        offset: usize,
    },
    /// Brackets that hold no IPv6 address, or that are not closed. Zones are refused: they mean nothing to a peer.
    #[error("the brackets of the host hold no IPv6 address")]
    InvalidIpv6,
    /// What follows the colon is not a number up to 65535.
    #[error("the port of the host is not a number from 0 to 65535")]
    InvalidPort,
}

/// Normalises the value of a `Host` field (or the authority of an absolute target), without surrounding whitespace.
///
/// Upper case is lowered, one trailing dot goes, the port is split off (`host:` has none, RFC 9110 section 4.2.3).
/// Letters, digits, `-`, `_` and `.` make a name; nothing else does, so userinfo, lists and paths are refused.
/// The name borrows `value`, and `buffer` is left alone, unless there is upper case to lower.
///
/// # Errors
///
/// [`HostError`].
pub fn normalize_host<'a>(value: &'a [u8], buffer: &'a mut Vec<u8>) -> Result<Host<'a>, HostError> {
    let (name, port) = if value.first() == Some(&b'[') { split_ipv6(value)? } else { split_name(value)? };
    let port = parse_port(port)?;
    if !name.iter().any(u8::is_ascii_uppercase) {
        return Ok(Host { name, port });
    }
    buffer.clear();
    buffer.extend(name.iter().map(u8::to_ascii_lowercase));
    Ok(Host { name: buffer, port })
}

/// The bracketed address and what follows it.
fn split_ipv6(value: &[u8]) -> Result<(&[u8], &[u8]), HostError> {
    let close = memchr::memchr(b']', value).ok_or(HostError::InvalidIpv6)?;
    let (address, port) = value.split_at(close + 1);
    std::str::from_utf8(&address[1..close])
        .ok()
        .and_then(|text| text.parse::<Ipv6Addr>().ok())
        .ok_or(HostError::InvalidIpv6)?;
    Ok((address, port))
}

/// The name without its trailing dot, and what follows it.
fn split_name(value: &[u8]) -> Result<(&[u8], &[u8]), HostError> {
    let mut end = value.len();
    let mut label_start = 0;
    for (offset, &byte) in value.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'.' if offset == label_start => return Err(empty_label(value, offset)),
            b'.' => label_start = offset + 1,
            b':' => {
                end = offset;
                break;
            }
            _ => return Err(HostError::InvalidByte { offset, byte }),
        }
    }
    let (name, port) = value.split_at(end);
    let name = name.strip_suffix(b".").unwrap_or(name);
    match name.len() {
        0 => Err(HostError::Empty),
        length if length > HOST_BYTES_MAX => Err(HostError::TooLong),
        _ => Ok((name, port)),
    }
}

fn empty_label(value: &[u8], offset: usize) -> HostError {
    if offset == 0 && matches!(value.get(1), None | Some(b':')) {
        HostError::Empty
    } else {
        HostError::EmptyLabel { offset }
    }
}

fn parse_port(text: &[u8]) -> Result<Option<u16>, HostError> {
    let digits = match text {
        [] | [b':'] => return Ok(None),
        [b':', digits @ ..] if digits.len() <= 5 => digits,
        _ => return Err(HostError::InvalidPort),
    };
    digits
        .iter()
        .try_fold(0u32, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0')))
        .and_then(|port| u16::try_from(port).ok())
        .map(Some)
        .ok_or(HostError::InvalidPort)
}
