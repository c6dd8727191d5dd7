use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::certificates::Fault;
use super::digest::Digest;
use super::name;
use super::provider;
use crate::tls::certificates;

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthMode {
    /// They are not asked.
    None,
    /// They are asked; one that shows none is served too, one whose certificate does not hold is not.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

/// `client_auth` as checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientAuthPlan {
    pub(super) mode: ClientAuthMode,
    /// The authorities that vouch for clients.
    pub(super) ca: PathBuf,
}

/// The authorities that vouch for clients, as read.
#[derive(Debug, Clone)]
pub(super) struct ClientRoots {
    digest: Digest,
    roots: Arc<RootCertStore>,
}

/// Who a client is, by the certificate that it has shown and that was verified.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// Whose the certificate is, as RFC 4514 writes it; no control characters.
    pub subject: String,
    /// The first common name in it; empty where there is none.
    pub common_name: String,
    /// Who issued it.
    pub issuer: String,
    /// The alternative names with their kinds, `DNS:a.example, URI:spiffe://b`.
    pub alternative_names: String,
    /// The serial number in lower-case hexadecimal.
    pub serial: String,
    /// The SHA-256 of the certificate, in lower-case hexadecimal.
    pub fingerprint: String,
}

impl ClientRoots {
    /// Reads a file of authorities; every one of them must be usable.
    pub(super) fn read(file: &Path) -> Result<Self, Fault> {
        let bytes = certificates::read_bundle(file)?;
        let mut roots = RootCertStore::empty();
        for authority in certificates::bundle(file, &bytes)? {
            roots.add(authority).map_err(|error| {
                let (file, reason) = (file.to_owned(), error.to_string());
                Fault::BadCertificate { file, reason }
            })?;
        }
        Ok(Self { digest: Digest::of(&[&bytes]), roots: Arc::new(roots) })
    }

    /// What asks clients and verifies what they show.
    pub(super) fn verifier(&self, mode: ClientAuthMode) -> Arc<dyn ClientCertVerifier> {
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(provider()));
        let builder = match mode {
            ClientAuthMode::Required => builder,
            ClientAuthMode::None | ClientAuthMode::Optional => builder.allow_unauthenticated(),
        };
        builder.build().expect("read() gives at least one authority, and there are no revocation lists")
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl ClientIdentity {
    /// Of the first certificate that a client has shown; none where it cannot be read, which a verified one can.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let alternatives = parsed.subject_alternative_name().ok().flatten();
        let alternatives = alternatives.iter().flat_map(|names| &names.value.general_names);
        Some(Self {
            subject: name::distinguished(parsed.subject()),
            common_name: parsed
                .subject()
                .iter_common_name()
                .find_map(|name| name.as_str().ok())
                .filter(|name| !name.contains(char::is_control))
                .unwrap_or_default()
                .to_owned(),
            issuer: name::distinguished(parsed.issuer()),
            alternative_names: alternatives.filter_map(name::alternative).collect::<Vec<_>>().join(", "),
            serial: parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            fingerprint: Digest::of(&[certificate]).to_string(),
        })
    }
}
