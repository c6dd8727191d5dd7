use std::path::Path;

use rustls_pki_types::pem::{Error, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::Fault;

/// The certificates of a file, in its order; at least one.
pub(in crate::tls) fn certificates(file: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(Fault::NoCertificate { file: file.to_owned() }),
        Ok(found) => Ok(found),
        Err(error) => Err(Fault::NotPem { file: file.to_owned(), reason: reason(&error) }),
    }
}

/// The first private key of a file.
pub(super) fn key(file: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    let file = || file.to_owned();
    match PrivateKeyDer::from_pem_slice(bytes) {
        Ok(key) => Ok(key),
        Err(Error::NoItemsFound) if is_encrypted(bytes) => Err(Fault::EncryptedKey { file: file() }),
        Err(Error::NoItemsFound) => Err(Fault::NoKey { file: file() }),
        // Keys in the old way say so in a header, which is no base64.
        Err(_) if is_encrypted(bytes) => Err(Fault::EncryptedKey { file: file() }),
        Err(error) => Err(Fault::NotPem { file: file(), reason: reason(&error) }),
    }
}

fn is_encrypted(bytes: &[u8]) -> bool {
    let holds = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED")
}

/// In words; what the library shows may hold pieces of the file.
fn reason(error: &Error) -> String {
    match error {
        Error::MissingSectionEnd { .. } => "it ends within a section".to_owned(),
        Error::IllegalSectionStart { .. } => "a section begins with a line that cannot be read".to_owned(),
        Error::Base64Decode(_) => "a section is not base64".to_owned(),
        _ => "it cannot be read".to_owned(),
    }
}

/// Most bytes of a file of authorities: several times what systems come with.
pub(in crate::tls) const BUNDLE_BYTES_MAX: u64 = 8 << 20;

/// Reads a file of authorities.
pub(in crate::tls) fn read_bundle(file: &Path) -> Result<Vec<u8>, Fault> {
    let read = super::file::read_up_to(file, BUNDLE_BYTES_MAX);
    read.map(|(bytes, _)| bytes).map_err(|error| Fault::Unreadable { file: file.to_owned(), error })
}
