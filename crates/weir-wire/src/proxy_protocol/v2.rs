use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Header, Parsed, ProxyError, Tlvs};

/// What every header begins with.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before the addresses.
pub(super) const FIXED_BYTES: usize = 16;

/// Longest header of version 2 that is read, TLVs included, in bytes.
///
/// Senders keep a header within one segment; client certificates' names and private TLVs are the longest parts.
pub const HEADER_BYTES_MAX: usize = 4 << 10;

/// What the fourteenth byte says of the addresses.
enum Family {
    /// Unknown to the sender: whatever follows is to be ignored.
    Unspecified,
    Inet,
    Inet6,
    /// Two paths of 108 bytes; they mean nothing here.
    Unix,
}

/// Reads a header; `bytes` begin with the signature.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let Some(&command) = bytes.get(12) else { return Ok(Parsed::Incomplete) };
    let is_local = match (command >> 4, command & 0x0f) {
        (2, 0) => true,
        (2, 1) => false,
        (2, _) => return Err(ProxyError::Command),
        _ => return Err(ProxyError::Version),
    };
    let Some(&family) = bytes.get(13) else { return Ok(Parsed::Incomplete) };
    // The block of a LOCAL header is ignored, its family included.
    let family = if is_local { Family::Unspecified } else { Family::of(family)? };
    let Some(&[high, low]) = bytes.get(14..FIXED_BYTES).and_then(|length| length.first_chunk()) else {
        return Ok(Parsed::Incomplete);
    };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    if length < FIXED_BYTES + family.bytes() {
        return Err(ProxyError::TooShort);
    }
    let Some(block) = bytes.get(FIXED_BYTES..length) else { return Ok(Parsed::Incomplete) };
    let tlvs = match family {
        Family::Unspecified => length..length,
        _ => FIXED_BYTES + family.bytes()..length,
    };
    if Tlvs::new(&bytes[tlvs.clone()]).any(|tlv| tlv.is_err()) {
        return Err(ProxyError::Tlv);
    }
    let (source, destination) = family.endpoints(block).unzip();
    Ok(Parsed::Header(Header { length, source, destination, is_local, tlvs }))
}

impl Family {
    fn of(byte: u8) -> Result<Self, ProxyError> {
        match (byte >> 4, byte & 0x0f) {
            (0..=3, 0) | (0, 1 | 2) => Ok(Self::Unspecified),
            (1, 1 | 2) => Ok(Self::Inet),
            (2, 1 | 2) => Ok(Self::Inet6),
            (3, 1 | 2) => Ok(Self::Unix),
            _ => Err(ProxyError::Family),
        }
    }

    /// Bytes of its addresses.
    const fn bytes(&self) -> usize {
        match self {
            Self::Unspecified => 0,
            Self::Inet => 12,
            Self::Inet6 => 36,
            Self::Unix => 216,
        }
    }

    /// Source and destination, where they are addresses of the internet.
    fn endpoints(&self, block: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Self::Unspecified | Self::Unix => None,
            Self::Inet => endpoints(block, |octets: [u8; 4]| IpAddr::V4(Ipv4Addr::from(octets))),
            Self::Inet6 => endpoints(block, |octets: [u8; 16]| IpAddr::V6(Ipv6Addr::from(octets))),
        }
    }
}

/// Two addresses of `N` bytes, then two ports.
fn endpoints<const N: usize>(
    block: &[u8],
    address: impl Fn([u8; N]) -> IpAddr,
) -> Option<(SocketAddr, SocketAddr)> {
    let (source, rest) = block.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let destination_port = rest.first_chunk::<2>()?;
    let source = SocketAddr::new(address(*source), u16::from_be_bytes(*source_port));
    let destination = SocketAddr::new(address(*destination), u16::from_be_bytes(*destination_port));
    Some((source, destination))
}
