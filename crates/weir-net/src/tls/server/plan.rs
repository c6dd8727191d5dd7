use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::tls::TlsVersions;
use crate::tls::certificates::{CertificateSource, Fault, Refused, Table};
use crate::tls::client_auth::{ClientAuthMode, ClientAuthPlan, ClientRoots};

/// A listener's `tls` as checked, with what its files held.
#[derive(Debug, Clone)]
pub struct ServerTlsPlan {
    pub(in crate::tls) settings: Settings,
    pub(in crate::tls) table: Arc<Table>,
    pub(in crate::tls) roots: Option<ClientRoots>,
}

/// What is written about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tls) struct Settings {
    pub(in crate::tls) sources: Vec<CertificateSource>,
    pub(in crate::tls) versions: TlsVersions,
    pub(in crate::tls) client_auth: Option<ClientAuthPlan>,
    pub(in crate::tls) handshake_timeout: Duration,
    /// Whether clients may resume sessions.
    pub(in crate::tls) tickets: bool,
    /// Most preferred first; empty for none.
    pub(in crate::tls) alpn: Vec<String>,
}

/// By what is written: the same settings with other certificates are the same.
impl PartialEq for ServerTlsPlan {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

impl ServerTlsPlan {
    /// The certificates as they were read.
    pub fn certificates(&self) -> &Arc<Table> {
        &self.table
    }

    /// Where the certificates come from.
    pub fn sources(&self) -> &[CertificateSource] {
        &self.settings.sources
    }

    /// The versions that are served.
    pub fn versions(&self) -> TlsVersions {
        self.settings.versions
    }

    /// Whether clients show certificates, and the file of those who vouch for them.
    pub fn client_auth(&self) -> Option<(ClientAuthMode, &Path)> {
        self.settings.client_auth.as_ref().map(|auth| (auth.mode, &*auth.ca))
    }

    /// How long a handshake may take.
    pub fn handshake_timeout(&self) -> Duration {
        self.settings.handshake_timeout
    }

    /// Whether clients may resume sessions.
    pub fn has_tickets(&self) -> bool {
        self.settings.tickets
    }

    /// The application protocols, most preferred first.
    pub fn alpn(&self) -> &[String] {
        &self.settings.alpn
    }

    /// The files and folders that it is made of, for watching.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for source in &self.settings.sources {
            match source {
                CertificateSource::Pair(pair) => {
                    files.extend([&pair.cert, &pair.key].into_iter().chain(&pair.ocsp).cloned());
                }
                CertificateSource::Folder(folder) => files.push(folder.join("*")),
            }
        }
        files.extend(self.settings.client_auth.iter().map(|auth| auth.ca.clone()));
        files
    }
}

impl Settings {
    /// What is told where the sources give nothing at all any more.
    pub(super) fn none_left(&self) -> Option<Refused> {
        self.sources.iter().enumerate().find_map(|(source, from)| match from {
            CertificateSource::Pair(_) => None,
            CertificateSource::Folder(folder) => {
                let fault = Fault::NoneLeft { folder: folder.clone() };
                Some(Refused { source, fault, files: None, is_kept: true })
            }
        })
    }
}
