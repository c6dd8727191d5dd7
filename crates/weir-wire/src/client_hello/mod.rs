//! A TLS ClientHello, read without decrypting anything: which server the client asks for, and by which protocols.
//!
//! Follows RFC 8446 (sections 4.1.2, 4.2 and 5.1), RFC 6066 (section 3) and RFC 7301 (section 3.1). Nothing is
//! negotiated or kept: what a connection is routed by stands in its first bytes, and these are forwarded as they
//! came. With Encrypted Client Hello the outer name counts, the only one that can be read.

mod alpn;
mod hello;
mod reader;
mod record;
mod server_name;

use thiserror::Error;

pub use alpn::Protocols;
pub use hello::{ClientHello, EXTENSIONS_MAX};
use record::End;

/// Most bytes within which a hello must be whole, the headers of its records included.
///
/// Hellos with a post-quantum key share are about 1.8 KiB, with resumption tickets a few KiB more; 16 KiB is also what
/// Envoy and HAProxy look at. A caller that keeps as much can always tell.
pub const HELLO_BYTES_MAX: usize = 16 << 10;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// They may become a hello; more of them are needed.
    Incomplete,
    /// They are certainly no hello that could name a server.
    Absent(Absent),
    /// They begin with a whole hello.
    Hello(ClientHello<'a>),
}

/// Why bytes are no ClientHello of TLS, though nothing about them is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// They are not those of a handshake record: another protocol, or none that the peer should speak.
    OtherProtocol,
    /// They begin a handshake with another message.
    OtherMessage,
    /// A hello in the form of SSL 2.0, which holds no extensions; refused by servers since RFC 6176.
    Ssl2,
    /// A hello of SSL 3.0, which knows no extensions; refused by servers since RFC 7568.
    Ssl3,
}

/// Why bytes that begin as a ClientHello are none. More bytes do not change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HelloError {
    /// It is not whole within [`HELLO_BYTES_MAX`].
    #[error("the hello is longer than {HELLO_BYTES_MAX} bytes")]
    TooLong,
    /// A record without content, or with more than 2^14 bytes of it.
    #[error("a record of the hello has a bad length")]
    RecordLength,
    /// Within the hello, a record that is not one of a handshake.
    #[error("the hello is interrupted by a record of another kind")]
    Interrupted,
    /// A version other than 3.x.
    #[error("the hello has an unknown version")]
    Version,
    /// A part that reaches beyond what holds it, or does not fill it, or is longer or shorter than its kind may be.
    #[error("the lengths within the hello do not agree")]
    Length,
    /// More than [`EXTENSIONS_MAX`] extensions.
    #[error("the hello has more than {EXTENSIONS_MAX} extensions")]
    TooManyExtensions,
    /// An extension that stands there twice.
    #[error("an extension of the hello is repeated")]
    RepeatedExtension,
    /// Not exactly one name, or one of an unknown kind.
    #[error("the hello does not name exactly one host")]
    ServerNames,
    /// A name that is none of DNS: a byte other than a letter, a digit, `-`, `_` or `.`, an empty or long label, more
    /// than 253 bytes.
    #[error("the hello names a host that is no DNS name")]
    ServerName,
}

/// Why reading stopped before there was a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Incomplete,
    Absent(Absent),
    Malformed(HelloError),
}

impl From<HelloError> for Stop {
    fn from(error: HelloError) -> Self {
        Self::Malformed(error)
    }
}

/// Reads the hello at the start of `bytes`, all that came so far; needs [`HELLO_BYTES_MAX`] of them at most.
///
/// The hello borrows `bytes`, and `joined` is left alone, unless it is spread over several records. The cost is linear
/// in the hello's bytes and begins anew with each call.
///
/// # Errors
///
/// [`HelloError`], as soon as it is certain.
pub fn parse<'a>(bytes: &'a [u8], joined: &'a mut Vec<u8>) -> Result<Parsed<'a>, HelloError> {
    match record::first(bytes) {
        Ok(()) => {}
        Err(Stop::Incomplete) => return Ok(Parsed::Incomplete),
        Err(Stop::Absent(absent)) => return Ok(Parsed::Absent(absent)),
        Err(Stop::Malformed(error)) => return Err(error),
    }
    let (message, end) = record::join(bytes, joined);
    match (hello::read(message), end) {
        (Ok(hello), _) => Ok(Parsed::Hello(hello)),
        (Err(Stop::Absent(absent)), _) => Ok(Parsed::Absent(absent)),
        (Err(Stop::Malformed(error)), _) | (Err(Stop::Incomplete), End::Broken(error)) => Err(error),
        (Err(Stop::Incomplete), End::Open) => Ok(Parsed::Incomplete),
    }
}

#[cfg(test)]
mod tests;
