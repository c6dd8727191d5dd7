//! The PROXY protocol, versions 1 and 2: what a proxy says about a connection before its first byte.
//!
//! Follows `proxy-protocol.txt` of HAProxy (sections 2.1 and 2.2). A reader must know from the listener's
//! configuration and the peer's address that a header may be believed; nothing here can tell. A CRC32c TLV is
//! not verified: TCP has its own checksum, and who could change the header could change the sum too.

mod tls;
mod tlv;
mod v1;
mod v2;
mod write;

use std::net::SocketAddr;
use std::ops::Range;

use thiserror::Error;

pub use tls::TlsTold;
pub use tlv::{Tlv, TlvError, Tlvs};
pub use v1::LINE_BYTES_MAX;
pub use v2::HEADER_BYTES_MAX;
pub use write::{WriteError, write_v1, write_v2, write_v2_datagram};

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// They may become a header; more of them are needed.
    Incomplete,
    /// They are certainly not a PROXY header.
    Absent,
    /// They begin with a whole header.
    Header(Header),
}

/// A whole header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its bytes; what the client sent stands behind them.
    pub length: usize,
    /// Where the client connected from; none where the header does not say, or names a unix socket.
    pub source: Option<SocketAddr>,
    /// Where the client connected to; given when `source` is.
    pub destination: Option<SocketAddr>,
    /// Whether the proxy speaks for itself, as for a health check: the socket's own addresses hold.
    pub is_local: bool,
    /// Where the TLVs stand; empty in version 1 and where the header's block is to be ignored.
    pub tlvs: Range<usize>,
}

impl Header {
    /// The TLVs; `bytes` are those that were parsed. Their lengths were checked then.
    pub fn tlvs<'a>(&self, bytes: &'a [u8]) -> Tlvs<'a> {
        Tlvs::new(bytes.get(self.tlvs.clone()).unwrap_or_default())
    }
}

/// Why bytes that begin as a PROXY header are none. More bytes do not change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProxyError {
    /// Version 1: no CRLF within [`LINE_BYTES_MAX`], or a CR or LF alone.
    #[error("the PROXY line does not end as it should")]
    LineEnd,
    /// Version 1: not `TCP4`, `TCP6` or `UNKNOWN`.
    #[error("the PROXY line names no known protocol")]
    Protocol,
    /// Version 1: an address of the wrong family or not in its canonical form.
    #[error("the PROXY line holds a bad address")]
    Address,
    /// Version 1: not a number from 0 to 65535, or one with leading zeros.
    #[error("the PROXY line holds a bad port")]
    Port,
    /// Version 1: too few fields, too many, or not one space between them.
    #[error("the PROXY line does not have its six fields")]
    Fields,
    /// Version 2: a version other than 2.
    #[error("the PROXY header has an unknown version")]
    Version,
    /// Version 2: neither LOCAL nor PROXY.
    #[error("the PROXY header has an unknown command")]
    Command,
    /// Version 2: a family or a transport that is not assigned.
    #[error("the PROXY header has an unknown family or transport")]
    Family,
    /// Version 2: longer than [`HEADER_BYTES_MAX`].
    #[error("the PROXY header is too long")]
    TooLong,
    /// Version 2: too short for the addresses of its family.
    #[error("the PROXY header is too short for its addresses")]
    TooShort,
    /// Version 2: a TLV reaches beyond the header.
    #[error("a TLV reaches beyond the PROXY header")]
    Tlv,
}

/// Reads the header at the start of `bytes`, all that came so far. Never needs more than [`HEADER_BYTES_MAX`].
///
/// # Errors
///
/// [`ProxyError`], as soon as it is certain; the connection is of no use then.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    if let Some(rest) = bytes.strip_prefix(v1::SIGNATURE) {
        return v1::parse(rest);
    }
    if bytes.starts_with(v2::SIGNATURE) {
        return v2::parse(bytes);
    }
    let may_become = v1::SIGNATURE.starts_with(bytes) || v2::SIGNATURE.starts_with(bytes);
    Ok(if may_become { Parsed::Incomplete } else { Parsed::Absent })
}

#[cfg(test)]
mod tests;
