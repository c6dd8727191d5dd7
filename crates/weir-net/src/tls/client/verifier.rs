//! Who is believed to be the server, beside what rustls has.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::tls::provider;

/// Who is believed.
#[derive(Debug)]
pub(super) enum Verifier {
    /// Who is vouched for by a trusted authority, for the right name.
    Vouched(Vouchers),
    /// Anybody: any certificate for any name is taken, if only its key signed the handshake.
    Anybody,
}

/// Trusted authorities, and certificates that are listed themselves: servers often have one that vouches for itself alone.
#[derive(Debug)]
pub(super) struct Vouchers {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) listed: Arc<[CertificateDer<'static>]>,
}

impl Vouchers {
    fn verify_chain(
        &self,
        shown: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.listed.contains(shown) {
            return verify_time(shown, now);
        }
        let algorithms = provider().signature_verification_algorithms.all;
        let verified =
            verify_server_cert_signed_by_trust_anchor(parsed, &self.roots, between, now, algorithms);
        verified.map_err(|error| match error {
            // It vouches for itself, which counts only where it is listed.
            Error::InvalidCertificate(CertificateError::Other(_)) if is_authority(shown) => {
                CertificateError::UnknownIssuer.into()
            }
            error => error,
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Self::Vouched(vouchers) = self {
            let parsed = ParsedCertificate::try_from(shown)?;
            vouchers.verify_chain(shown, &parsed, between, now)?;
            verify_server_name(&parsed, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn is_authority(shown: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(shown).is_ok_and(|(_, parsed)| parsed.is_ca())
}

/// Whether a certificate is valid at this moment, which is all that is left to ask of a listed one.
fn verify_time(shown: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, parsed) = X509Certificate::from_der(shown).map_err(|_| CertificateError::BadEncoding)?;
    let time = |seconds: i64| {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    };
    let not_before = time(parsed.validity().not_before.timestamp());
    let not_after = time(parsed.validity().not_after.timestamp());
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    Ok(())
}
