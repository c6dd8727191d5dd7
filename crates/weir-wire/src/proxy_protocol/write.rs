use std::io::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use thiserror::Error;

use super::{HEADER_BYTES_MAX, Tlv, v1, v2};

/// Why a header was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WriteError {
    /// With its TLVs it would be longer than [`HEADER_BYTES_MAX`].
    #[error("the PROXY header would be {bytes} bytes long")]
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
}

/// Appends a line of version 1; source and destination, or none for `UNKNOWN`.
pub fn write_v1(endpoints: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    out.extend_from_slice(v1::SIGNATURE);
    let Some((source, destination)) = endpoints else { return out.extend_from_slice(b"UNKNOWN\r\n") };
    let (protocol, from, to) = match one_family(source.ip(), destination.ip()) {
        (from @ IpAddr::V4(_), to) => ("TCP4", from, to),
        (from, to) => ("TCP6", from, to),
    };
    write!(out, "{protocol} {from} {to} {} {}\r\n", source.port(), destination.port())
        .expect("a vector takes all that is written");
}

/// Appends a header of version 2 for a stream; source and destination, or none for LOCAL.
///
/// # Errors
///
/// [`WriteError::TooLong`]; nothing is appended then.
pub fn write_v2(
    endpoints: Option<(SocketAddr, SocketAddr)>,
    tlvs: &[Tlv<'_>],
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    write_v2_for(STREAM, endpoints, tlvs, out)
}

/// Appends a header of version 2 for datagrams; source and destination.
pub fn write_v2_datagram(source: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) {
    write_v2_for(DATAGRAM, Some((source, destination)), &[], out)
        .expect("a header without TLVs is shorter than the bound");
}

/// The transports of section 2.2.
const STREAM: u8 = 1;
const DATAGRAM: u8 = 2;

fn write_v2_for(
    transport: u8,
    endpoints: Option<(SocketAddr, SocketAddr)>,
    tlvs: &[Tlv<'_>],
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let addresses = endpoints.map(|(source, destination)| one_family(source.ip(), destination.ip()));
    let (command, family, address_bytes) = match addresses {
        None => (0x20, 0x00, 0),
        Some((IpAddr::V4(_), _)) => (0x21, 0x10 | transport, 12),
        Some((IpAddr::V6(_), _)) => (0x21, 0x20 | transport, 36),
    };
    let block = address_bytes + tlvs.iter().map(|tlv| 3 + tlv.value.len()).sum::<usize>();
    let bytes = v2::FIXED_BYTES + block;
    if bytes > HEADER_BYTES_MAX {
        return Err(WriteError::TooLong { bytes });
    }
    out.extend_from_slice(v2::SIGNATURE);
    out.extend_from_slice(&[command, family]);
    // Both lengths fit: they are below the bound of the whole.
    out.extend_from_slice(&(block as u16).to_be_bytes());
    if let (Some((from, to)), Some((source, destination))) = (addresses, endpoints) {
        write_octets(from, out);
        write_octets(to, out);
        out.extend_from_slice(&source.port().to_be_bytes());
        out.extend_from_slice(&destination.port().to_be_bytes());
    }
    for tlv in tlvs {
        out.push(tlv.kind);
        out.extend_from_slice(&(tlv.value.len() as u16).to_be_bytes());
        out.extend_from_slice(tlv.value);
    }
    Ok(())
}

/// Both in the same family: IPv4 where both are, else IPv6, with IPv4 mapped into it.
fn one_family(source: IpAddr, destination: IpAddr) -> (IpAddr, IpAddr) {
    let (source, destination) = (source.to_canonical(), destination.to_canonical());
    if source.is_ipv4() && destination.is_ipv4() {
        return (source, destination);
    }
    (IpAddr::V6(as_ipv6(source)), IpAddr::V6(as_ipv6(destination)))
}

fn as_ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn write_octets(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
    }
}
