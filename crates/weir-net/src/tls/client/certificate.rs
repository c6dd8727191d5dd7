use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::tls::provider;

/// A certificate chain and its key, which belong together.
#[derive(Clone)]
pub struct ClientCertificate {
    key_der: Arc<PrivateKeyDer<'static>>,
    key: Arc<CertifiedKey>,
}

/// Why a certificate and a key cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ClientCertificateError {
    /// The text holds no certificate.
    #[error("it holds no certificate in PEM")]
    NoCertificate,
    /// The text holds no private key.
    #[error("it holds no private key in PEM, or an encrypted one")]
    NoKey,
    /// It is damaged.
    #[error("it is no PEM: {0}")]
    Damaged(String),
    /// The key is damaged.
    #[error("it is no PEM: {0}")]
    DamagedKey(String),
    /// The key is of a kind that cannot be used.
    #[error("the key cannot be used: {0}")]
    Unusable(String),
    /// The key is not that of the first certificate.
    #[error("the key does not belong to the first certificate")]
    Mismatch,
}

impl ClientCertificate {
    /// Reads a chain, the own certificate first, and its key, both in PEM.
    ///
    /// # Errors
    ///
    /// [`ClientCertificateError`]
    pub fn read(chain: &[u8], key: &[u8]) -> Result<Self, ClientCertificateError> {
        let chain = certificates(chain)?;
        let key_der = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => ClientCertificateError::NoKey,
            error => ClientCertificateError::DamagedKey(error.to_string()),
        })?;
        let key = provider()
            .key_provider
            .load_private_key(key_der.clone_key())
            .map_err(|error| ClientCertificateError::Unusable(error.to_string()))?;
        // Not by rustls, which reads no certificates of version 1: as clients' they are common, and servers judge them.
        let (_, own) =
            X509Certificate::from_der(&chain[0]).map_err(|_| ClientCertificateError::NoCertificate)?;
        if key.public_key().is_some_and(|public| *public != *own.public_key().raw) {
            return Err(ClientCertificateError::Mismatch);
        }
        let certified = CertifiedKey::new(chain, key);
        Ok(Self { key_der: Arc::new(key_der), key: Arc::new(certified) })
    }

    /// The chain, the own certificate first; never empty.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }
}

/// All certificates of a PEM text; at least one.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, ClientCertificateError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let read = read.map_err(|error| ClientCertificateError::Damaged(error.to_string()))?;
    if read.is_empty() { Err(ClientCertificateError::NoCertificate) } else { Ok(read) }
}

impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert && self.key_der == other.key_der
    }
}

impl Eq for ClientCertificate {}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCertificate").field("chain", &self.key.cert.len()).finish_non_exhaustive()
    }
}
