use super::alpn::{self, Protocols};
use super::reader::Reader;
use super::{Absent, HelloError, Stop, server_name};

/// Most extensions of a hello. About seventy are registered; clients send twenty.
pub const EXTENSIONS_MAX: usize = 128;

/// Handshake type of a ClientHello.
const CLIENT_HELLO: usize = 1;

/// Extension types (RFC 6066, RFC 7301).
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// What a client asks for, as it sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientHello<'a> {
    /// The server's DNS name, in the client's case, without trailing dot, at most 253 bytes: letters, digits, `-`, `_`
    /// and `.`. None where the client names no server, or an IP address, which is no name (RFC 6066, section 3).
    pub server_name: Option<&'a str>,
    /// The application protocols it offers, in its order of preference; none where it offers none.
    pub alpn: Protocols<'a>,
}

/// Reads a ClientHello from the beginning of the handshake's first message.
pub(super) fn read(message: &[u8]) -> Result<ClientHello<'_>, Stop> {
    let mut message = Reader::new(message);
    if message.number(1)? != CLIENT_HELLO {
        return Err(Stop::Absent(Absent::OtherMessage));
    }
    let mut body = message.part(3, 0..=usize::MAX)?;
    match body.take(2)? {
        [3, 0] => return Err(Stop::Absent(Absent::Ssl3)),
        // 3.3 since TLS 1.3, and a server is to bear with higher ones.
        [3, _] => {}
        _ => return Err(HelloError::Version.into()),
    }
    let _random = body.take(32)?;
    let _session = body.part(1, 0..=32)?.rest()?;
    let suites = body.part(2, 2..=0xfffe)?.rest()?;
    if suites.len() % 2 != 0 {
        return Err(HelloError::Length.into());
    }
    let _compressions = body.part(1, 1..=0xff)?.rest()?;
    // Up to TLS 1.2 a hello may end here.
    if body.is_done() {
        return Ok(ClientHello::default());
    }
    let extensions = body.part(2, 0..=0xffff)?;
    body.end()?;
    read_extensions(extensions)
}

fn read_extensions(mut extensions: Reader<'_>) -> Result<ClientHello<'_>, Stop> {
    let mut hello = ClientHello::default();
    let (mut seen, mut count) = ([0; EXTENSIONS_MAX], 0);
    while !extensions.is_done() {
        let kind = extensions.number(2)? as u16;
        if seen[..count].contains(&kind) {
            return Err(HelloError::RepeatedExtension.into());
        }
        *seen.get_mut(count).ok_or(HelloError::TooManyExtensions)? = kind;
        count += 1;
        let mut extension = extensions.part(2, 0..=0xffff)?;
        match kind {
            SERVER_NAME => hello.server_name = server_name::read(extension)?,
            ALPN => hello.alpn = alpn::read(extension)?,
            _ => drop(extension.rest()?),
        }
    }
    Ok(hello)
}
