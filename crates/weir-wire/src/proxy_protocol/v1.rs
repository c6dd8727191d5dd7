use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Header, Parsed, ProxyError};

/// What every line begins with.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// Longest line of version 1 with its CRLF, in bytes (section 2.1).
pub const LINE_BYTES_MAX: usize = 107;

/// Reads what follows the signature.
pub(super) fn parse(rest: &[u8]) -> Result<Parsed, ProxyError> {
    let Some(line) = line(rest)? else { return Ok(Parsed::Incomplete) };
    let length = SIGNATURE.len() + line.len() + b"\r\n".len();
    let (protocol, fields) = match line.iter().position(|&b| b == b' ') {
        Some(at) => (&line[..at], Some(&line[at + 1..])),
        None => (line, None),
    };
    let endpoints = match protocol {
        // Whatever follows is to be ignored.
        b"UNKNOWN" => None,
        b"TCP4" => Some(endpoints(fields, |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4))?),
        b"TCP6" => Some(endpoints(fields, |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6))?),
        _ => return Err(ProxyError::Protocol),
    };
    Ok(Parsed::Header(Header {
        length,
        source: endpoints.map(|(source, _)| source),
        destination: endpoints.map(|(_, destination)| destination),
        is_local: false,
        tlvs: length..length,
    }))
}

/// The line without its end; none until it is whole.
fn line(rest: &[u8]) -> Result<Option<&[u8]>, ProxyError> {
    let bound = LINE_BYTES_MAX - SIGNATURE.len();
    let seen = &rest[..rest.len().min(bound)];
    match seen.iter().position(|&b| b == b'\r' || b == b'\n') {
        Some(end) if seen[end..].starts_with(b"\r\n") => Ok(Some(&seen[..end])),
        Some(end) if seen[end..] == *b"\r" && seen.len() < bound => Ok(None),
        None if seen.len() < bound => Ok(None),
        _ => Err(ProxyError::LineEnd),
    }
}

fn endpoints(
    fields: Option<&[u8]>,
    address: impl Fn(&str) -> Option<IpAddr>,
) -> Result<(SocketAddr, SocketAddr), ProxyError> {
    let text = std::str::from_utf8(fields.ok_or(ProxyError::Fields)?).map_err(|_| ProxyError::Address)?;
    let mut parts = text.split(' ');
    let mut next = || parts.next().filter(|part| !part.is_empty()).ok_or(ProxyError::Fields);
    let (source, destination) = (next()?, next()?);
    let (source_port, destination_port) = (next()?, next()?);
    if parts.next().is_some() {
        return Err(ProxyError::Fields);
    }
    let endpoint = |text: &str, port_text: &str| {
        // The standard library takes no leading zeros in IPv4, no zone, and nothing around the address.
        let address = address(text).ok_or(ProxyError::Address)?;
        Ok(SocketAddr::new(address, port(port_text)?))
    };
    Ok((endpoint(source, source_port)?, endpoint(destination, destination_port)?))
}

fn port(text: &str) -> Result<u16, ProxyError> {
    let is_canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| is_canonical).ok_or(ProxyError::Port)
}
