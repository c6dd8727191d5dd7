use std::sync::Arc;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use super::ClientCertificateError;
use super::certificate::certificates;

/// Whom a server must be vouched for by.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The authorities that the system trusts ([`system_roots`](super::system_roots)).
    System(Arc<RootCertStore>),
    /// The certificates of a file, as authorities or as the server's own.
    Listed(Authorities),
    /// Nobody: any certificate for any name will do. What is sent is encrypted, and anybody on the way may read it.
    Anybody,
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            // Read once in a process.
            (Self::System(a), Self::System(b)) => Arc::ptr_eq(a, b),
            (Self::Listed(a), Self::Listed(b)) => a == b,
            (Self::Anybody, Self::Anybody) => true,
            _ => false,
        }
    }
}

impl Eq for Trust {}

/// Certificates that vouch for servers.
#[derive(Debug, Clone)]
pub struct Authorities {
    certificates: Arc<[CertificateDer<'static>]>,
    roots: Arc<RootCertStore>,
}

/// Why certificates cannot vouch for anybody.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AuthoritiesError {
    /// The text is no list of certificates.
    #[error(transparent)]
    Unreadable(#[from] ClientCertificateError),
    /// One of them is none.
    #[error("certificate {place} of it cannot be used: {reason}")]
    Bad {
        /// Counted from 1.
        place: usize,
        /// What is wrong.
        reason: String,
    },
}

impl Authorities {
    /// Reads certificates in PEM.
    ///
    /// # Errors
    ///
    /// [`AuthoritiesError`]: one bad certificate spoils the list, as leaving it out would be noticed too late.
    pub fn read(text: &[u8]) -> Result<Self, AuthoritiesError> {
        let certificates = certificates(text)?;
        let mut roots = RootCertStore::empty();
        for (certificate, place) in certificates.iter().zip(1..) {
            let added = roots.add(certificate.clone());
            added.map_err(|error| AuthoritiesError::Bad { place, reason: error.to_string() })?;
        }
        Ok(Self { certificates: certificates.into(), roots: Arc::new(roots) })
    }

    /// The certificates in the order of the file.
    pub fn certificates(&self) -> Arc<[CertificateDer<'static>]> {
        Arc::clone(&self.certificates)
    }

    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for Authorities {}
