//! TLS as a client: whom a server must prove to be, and with what we prove who we are.

mod certificate;
mod fault;
mod roots;
mod stream;
#[cfg(test)]
mod tests;
mod trust;
mod verifier;

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

pub use certificate::{ClientCertificate, ClientCertificateError};
pub use fault::{TlsFault, TlsFaultReason};
pub use roots::{NoRoots, system_roots};
pub use stream::ClientStream;
pub use trust::{Authorities, AuthoritiesError, Trust};
use verifier::{Verifier, Vouchers};

use super::{TlsVersions, provider};

/// How a client speaks TLS, as checked: making a [`ClientTls`] of it cannot fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTlsPlan {
    /// Whom a server must be vouched for by.
    pub trust: Trust,
    /// What we show to a server that asks who we are; default nothing.
    pub certificate: Option<ClientCertificate>,
    /// The versions that are offered; default both.
    pub versions: TlsVersions,
}

/// How a client speaks TLS; running and immutable.
///
/// It remembers sessions, so one of it belongs to one server: a session that was taken up again is not verified again,
/// and another server's would be refused anyway.
#[derive(Debug, Clone)]
pub struct ClientTls {
    /// What rustls is told.
    pub config: Arc<ClientConfig>,
}

impl ClientTls {
    /// Makes it, with these protocols offered by ALPN, the preferred one first; none for no ALPN at all.
    pub fn new(plan: &ClientTlsPlan, alpn: &[&[u8]]) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(plan.versions.supported())
            .expect("aws-lc-rs has suites and groups for both versions");
        let verifier = match &plan.trust {
            Trust::System(roots) => {
                Verifier::Vouched(Vouchers { roots: Arc::clone(roots), listed: Arc::default() })
            }
            Trust::Listed(listed) => {
                Verifier::Vouched(Vouchers { roots: listed.roots(), listed: listed.certificates() })
            }
            Trust::Anybody => Verifier::Anybody,
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &plan.certificate {
            Some(certificate) => {
                let key: Arc<CertifiedKey> = certificate.key();
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Self { config: Arc::new(config) }
    }

    /// The same with other protocols offered; sessions are shared.
    pub fn offering(&self, alpn: &[&[u8]]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Self { config: Arc::new(config) }
    }

    /// The same for another server: with sessions of its own.
    pub fn for_another(&self) -> Self {
        self.with_resumption(Resumption::in_memory_sessions(SESSIONS_MAX))
    }

    /// The same without remembered sessions, so that every handshake verifies.
    pub fn forgetful(&self) -> Self {
        self.with_resumption(Resumption::disabled())
    }

    fn with_resumption(&self, resumption: Resumption) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = resumption;
        Self { config: Arc::new(config) }
    }
}

/// Sessions remembered of one server: what rustls keeps of TLS 1.3 tickets for one name, each used once.
const SESSIONS_MAX: usize = 8;
