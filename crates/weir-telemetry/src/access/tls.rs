use super::Field;
use super::field::{Fields, write_fields};
use crate::line::Line;

/// What a line says of a client connection within TLS; a connection without it has none of these fields. Empty texts are
/// written as `null`, in text as `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsRecord<'a> {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'a str,
    /// The cipher suite.
    pub cipher: &'a str,
    /// The name that the client asked for.
    pub sni: &'a str,
    /// What the certificate that was served is called.
    pub certificate: &'a str,
    /// The subject of the client's certificate.
    pub client_subject: &'a str,
    /// The SHA-256 of the client's certificate, in hexadecimal.
    pub client_fingerprint: &'a str,
}

impl TlsRecord<'_> {
    /// Writes the fields but for the name, which connections without TLS may have too.
    #[inline(always)]
    pub(super) fn write<'p>(&self, wanted: Fields, mut line: Line<'p>) -> Option<Line<'p>> {
        write_fields! { line, wanted;
            TlsVersion => line.name(self.version.as_bytes()),
            TlsCipher => line.name(self.cipher.as_bytes()),
            TlsCertificate => line.text(self.certificate.as_bytes()),
            ClientCertSubject => line.text(self.client_subject.as_bytes()),
            ClientCertFingerprint => line.text(self.client_fingerprint.as_bytes()),
        }
        Some(line)
    }
}
