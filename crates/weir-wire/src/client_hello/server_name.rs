use std::net::{Ipv4Addr, Ipv6Addr};

use super::reader::Reader;
use super::{HelloError, Stop};

/// The only kind of name there is (RFC 6066, section 3).
const HOST_NAME: usize = 0;

/// Longest name, in bytes, without a trailing dot (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// Longest label of a name, in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// Reads the extension's value: a list of exactly one host name. None for an IP address.
///
/// A list of several could be read by the endpoint another way than here. A trailing dot is not allowed, but means the
/// same name, and some clients send it.
pub(super) fn read(mut extension: Reader<'_>) -> Result<Option<&str>, Stop> {
    let mut list = extension.part(2, 1..=0xffff)?;
    extension.end()?;
    if list.number(1)? != HOST_NAME {
        return Err(HelloError::ServerNames.into());
    }
    let mut name = list.part(2, 1..=0xffff)?;
    if !list.is_done() {
        return Err(HelloError::ServerNames.into());
    }
    let name = std::str::from_utf8(name.rest()?).map_err(|_| HelloError::ServerName)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.parse::<Ipv4Addr>().is_ok() || name.parse::<Ipv6Addr>().is_ok() {
        return Ok(None);
    }
    if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_label) {
        return Err(HelloError::ServerName.into());
    }
    Ok(Some(name))
}

/// Underscores are no part of host names, but of names in use.
fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
