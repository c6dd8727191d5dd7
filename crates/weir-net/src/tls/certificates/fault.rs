use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a pair, or a folder of pairs, is not used. Each names the file.
#[derive(Debug, Error)]
#[allow(missing_docs)] // Each variant is the sentence that it says.
pub enum Fault {
    #[error("`{}` cannot be read: {error}", file.display())]
    Unreadable { file: PathBuf, error: io::Error },
    #[error("`{}` holds no certificate", file.display())]
    NoCertificate { file: PathBuf },
    #[error("`{}` is not PEM: {reason}", file.display())]
    NotPem { file: PathBuf, reason: String },
    #[error("`{}` holds a certificate that cannot be read: {reason}", file.display())]
    BadCertificate { file: PathBuf, reason: String },
    #[error("`{}` holds no private key", file.display())]
    NoKey { file: PathBuf },
    #[error("the private key in `{}` is encrypted", file.display())]
    EncryptedKey { file: PathBuf },
    #[error("the private key in `{}` cannot be used: {reason}", file.display())]
    BadKey { file: PathBuf, reason: String },
    #[error("the key in `{}` does not match the certificate in `{}`", key.display(), cert.display())]
    KeyMismatch { cert: PathBuf, key: PathBuf },
    #[error("`{}` has no key: there is no `{}`", cert.display(), key.display())]
    KeyMissing { cert: PathBuf, key: PathBuf },
    #[error("`{}` holds more than {max} certificates", folder.display())]
    TooMany { folder: PathBuf, max: usize },
    #[error("no certificate is left in `{}`", folder.display())]
    NoneLeft { folder: PathBuf },
}

impl Fault {
    /// What to do, where that is not plain.
    pub const fn help(&self) -> Option<&'static str> {
        match self {
            Self::NoCertificate { .. } | Self::NotPem { .. } => {
                Some("the file must hold `-----BEGIN CERTIFICATE-----`, the server's own certificate first")
            }
            Self::NoKey { .. } => Some("the file must hold `-----BEGIN PRIVATE KEY-----` or the like"),
            Self::EncryptedKey { .. } => Some("decrypt it: `openssl pkey -in KEY -out PLAIN`"),
            Self::KeyMismatch { .. } => Some("the first certificate of the file must be the key's own"),
            _ => None,
        }
    }
}

/// What is wrong with a certificate that is served all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// Its chain does not lead to a root that this system knows.
    ChainIncomplete {
        /// Who issued the last certificate of the file.
        issuer: String,
    },
    /// A certificate of the file is not issued by the one behind it.
    ChainOrder {
        /// The place in the file, from 1.
        place: usize,
    },
    /// It names nothing that a client could ask for.
    NoNames,
    /// The OCSP answer is not stapled.
    Staple {
        /// The file and the reason.
        reason: String,
    },
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ChainIncomplete { issuer } => write!(
                f,
                "the chain is incomplete: its last certificate was issued by `{issuer}`, which is no root that this system knows"
            ),
            Self::ChainOrder { place } => {
                write!(
                    f,
                    "the chain is out of order: certificate {place} of the file was not issued by the next one"
                )
            }
            Self::NoNames => f.write_str("it names no host"),
            Self::Staple { reason } => write!(f, "its OCSP answer is not stapled: {reason}"),
        }
    }
}
