use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::file::Stamp;
use super::{Fault, Flaw, chain, file, ocsp, pem};
use crate::tls::digest::Digest;
use crate::tls::name;
use crate::tls::provider;

/// The files that a certificate is read from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairFiles {
    /// The certificate and its chain, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM; may be the same file.
    pub key: PathBuf,
    /// An OCSP answer to staple, in DER.
    pub ocsp: Option<PathBuf>,
}

/// A certificate with its key, ready to be served.
#[derive(Debug)]
pub struct Certificate {
    /// What it was read from.
    pub files: PairFiles,
    /// The host names it is for, in lower case: `example.com`, `*.example.com`.
    pub names: Box<[Box<str>]>,
    /// Other things that it names, such as addresses, for people.
    pub other_names: Box<[Box<str>]>,
    /// What people know it by: its first name, else its subject.
    pub label: Arc<str>,
    /// Whose it is, as RFC 4514 writes it.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// The SHA-256 of its DER.
    pub fingerprint: Digest,
    /// When it begins to be valid.
    pub not_before: SystemTime,
    /// When it ends.
    pub not_after: SystemTime,
    /// What is wrong with it though it is served.
    pub flaws: Vec<Flaw>,
    /// The end of the stapled OCSP answer, where it has one.
    staple_until: Option<SystemTime>,
    key: Arc<CertifiedKey>,
    seen: Mutex<Seen>,
}

/// How a certificate stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Valid for longer than [`Certificate::EXPIRES_SOON`].
    Valid,
    /// Valid for less than that.
    ExpiresSoon,
    /// Over.
    Expired,
    /// Not begun.
    NotYetValid,
}

impl Standing {
    /// One word, for logs and the admin address.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::ExpiresSoon => "expires_soon",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
        }
    }
}

/// What its files held when it was read.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    cert: Stamp,
    key: Stamp,
    ocsp: Option<Stamp>,
    digest: Digest,
}

/// The bytes of a pair's files.
pub(super) struct Bytes {
    cert: Vec<u8>,
    key: Vec<u8>,
    ocsp: Option<Result<Vec<u8>, String>>,
    seen: Seen,
}

impl PairFiles {
    /// Reads the files.
    pub(super) fn read(&self) -> Result<Bytes, Fault> {
        let read = |path: &PathBuf| {
            file::read(path).map_err(|error| Fault::Unreadable { file: path.clone(), error })
        };
        let (cert, cert_stamp) = read(&self.cert)?;
        let (key, key_stamp) = match self.key == self.cert {
            true => (Vec::new(), cert_stamp),
            false => read(&self.key)?,
        };
        let (mut ocsp, mut ocsp_stamp) = (None, None);
        if let Some(path) = &self.ocsp {
            ocsp = Some(match file::read(path) {
                Ok((bytes, stamp)) => {
                    ocsp_stamp = Some(stamp);
                    Ok(bytes)
                }
                Err(error) => Err(format!("`{}` cannot be read: {error}", path.display())),
            });
        }
        let answer: &[u8] = ocsp.as_ref().and_then(|read| read.as_ref().ok()).map_or(&[], |bytes| bytes);
        let lengths = [cert.len() as u64, key.len() as u64].map(u64::to_be_bytes);
        let digest = Digest::of(&[&lengths[0], &lengths[1], &cert, &key, answer]);
        let seen = Seen { cert: cert_stamp, key: key_stamp, ocsp: ocsp_stamp, digest };
        Ok(Bytes { cert, key, ocsp, seen })
    }
}

impl Certificate {
    /// From so long before the end on a certificate is warned about.
    pub const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);

    /// Makes one of what its files held.
    pub(super) fn parse(files: PairFiles, bytes: Bytes, now: SystemTime) -> Result<Self, Fault> {
        let chain = pem::certificates(&files.cert, &bytes.cert)?;
        let key = match files.key == files.cert {
            true => pem::key(&files.cert, &bytes.cert)?,
            false => pem::key(&files.key, &bytes.key)?,
        };
        let bad = |reason: String| Fault::BadCertificate { file: files.cert.clone(), reason };
        let parsed: Vec<X509Certificate<'_>> = chain
            .iter()
            .map(|der| X509Certificate::from_der(der).map(|(_, parsed)| parsed))
            .collect::<Result<_, _>>()
            .map_err(|error| bad(error.to_string()))?;
        let own = parsed.first().expect("certificates() gives at least one");
        let (names, other_names) = names(own).map_err(bad)?;
        let mut flaws = chain::flaws(&parsed);
        if names.is_empty() {
            flaws.push(Flaw::NoNames);
        }
        let (staple, staple_flaw) = staple(&files, bytes.ocsp, now);
        flaws.extend(staple_flaw);
        let (subject, issuer) = (name::distinguished(own.subject()), name::distinguished(own.issuer()));
        let (not_before, not_after) = (time(own.validity().not_before), time(own.validity().not_after));
        let fingerprint = Digest::of(&[&chain[0]]);
        drop(parsed);
        let (staple, staple_until) = staple.unzip();
        let key = certified(&files, chain, key, staple)?;
        let label = names.first().or(other_names.first()).map_or(&*subject, |name| name).into();
        Ok(Self {
            files,
            label,
            names,
            other_names,
            subject,
            issuer,
            fingerprint,
            not_before,
            not_after,
            flaws,
            staple_until: staple_until.flatten(),
            key: Arc::new(key),
            seen: Mutex::new(bytes.seen),
        })
    }

    /// The chain and the key.
    pub(crate) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// How it stands at `now`.
    pub fn standing(&self, now: SystemTime) -> Standing {
        if now < self.not_before {
            Standing::NotYetValid
        } else if now > self.not_after {
            Standing::Expired
        } else if now + Self::EXPIRES_SOON > self.not_after {
            Standing::ExpiresSoon
        } else {
            Standing::Valid
        }
    }

    /// Whether an OCSP answer is stapled to it.
    pub fn is_stapled(&self) -> bool {
        self.key.ocsp.is_some()
    }

    /// Whether its files surely hold what they held, by their stamps alone, and nothing of it has run out.
    pub(super) fn is_untouched(&self, now: SystemTime) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let holds = |path: &PathBuf, stamp: &Stamp| Stamp::at(path).is_ok_and(|now| stamp.still_holds(&now));
        let ocsp = match (&self.files.ocsp, &seen.ocsp) {
            (Some(path), Some(stamp)) => holds(path, stamp),
            (Some(path), None) => Stamp::at(path).is_err(),
            (None, _) => true,
        };
        ocsp && !self.staple_is_over(now) && holds(&self.files.cert, &seen.cert) && {
            self.files.key == self.files.cert || holds(&self.files.key, &seen.key)
        }
    }

    /// Whether it was made of these bytes, and nothing of it has run out; their stamps are the ones to compare with from
    /// then on.
    pub(super) fn is_made_of(&self, bytes: &Bytes, now: SystemTime) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = seen.digest == bytes.seen.digest && !self.staple_is_over(now);
        if is_same {
            *seen = bytes.seen.clone();
        }
        is_same
    }

    fn staple_is_over(&self, now: SystemTime) -> bool {
        self.staple_until.is_some_and(|until| until <= now)
    }
}

fn certified(
    files: &PairFiles,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    staple: Option<Vec<u8>>,
) -> Result<CertifiedKey, Fault> {
    let key = provider().key_provider.load_private_key(key);
    let key = key.map_err(|_| Fault::BadKey {
        file: files.key.clone(),
        reason: "it is no RSA key of 2048 bits or more, no ECDSA key and no Ed25519 key".to_owned(),
    })?;
    let mut certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            let (cert, key) = (files.cert.clone(), files.key.clone());
            return Err(Fault::KeyMismatch { cert, key });
        }
        Err(error) => {
            return Err(Fault::BadCertificate { file: files.cert.clone(), reason: error.to_string() });
        }
    }
    certified.ocsp = staple;
    Ok(certified)
}

type Staple = (Vec<u8>, Option<SystemTime>);

fn staple(
    files: &PairFiles,
    read: Option<Result<Vec<u8>, String>>,
    now: SystemTime,
) -> (Option<Staple>, Option<Flaw>) {
    let Some((read, file)) = read.zip(files.ocsp.as_ref()) else { return (None, None) };
    let answer = read.and_then(|bytes| match ocsp::until(&bytes, now) {
        Ok(until) => Ok((bytes, until)),
        Err(reason) => Err(format!("`{}` {reason}", file.display())),
    });
    match answer {
        Ok(staple) => (Some(staple), None),
        Err(reason) => (None, Some(Flaw::Staple { reason })),
    }
}

type Names = Box<[Box<str>]>;

/// The host names of a certificate, and what else it names. The common name counts where there is no alternative name at
/// all, as long as certificates were made so.
fn names(own: &X509Certificate<'_>) -> Result<(Names, Names), String> {
    let alternatives = own.subject_alternative_name().map_err(|error| error.to_string())?;
    let (mut names, mut others) = (Vec::new(), Vec::new());
    match alternatives {
        Some(alternatives) => {
            for alternative in &alternatives.value.general_names {
                match alternative {
                    GeneralName::DNSName(text) => match host(text) {
                        Some(host) if !names.contains(&host) => names.push(host),
                        Some(_) => {}
                        None => others.extend(name::alternative(alternative).map(Into::into)),
                    },
                    GeneralName::IPAddress(bytes) => {
                        others.extend(name::address(bytes).map(|address| address.to_string().into()));
                    }
                    other => others.extend(name::alternative(other).map(Into::into)),
                }
            }
        }
        None => {
            let common = own.subject().iter_common_name().filter_map(|name| name.as_str().ok());
            names.extend(common.filter_map(host));
        }
    }
    Ok((names.into(), others.into()))
}

/// A name that a client may ask for, in lower case; wildcards stand for exactly the first label.
fn host(text: &str) -> Option<Box<str>> {
    let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let plain = text.strip_prefix("*.").unwrap_or(&text);
    let is_label = |label: &str| {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(is_good)
    };
    (text.len() <= 253 && plain.split('.').all(is_label)).then(|| text.into())
}

fn time(time: ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn host_names_are_read_in_lower_case_and_wildcards_have_one_star() {
        for (text, name) in [
            ("Example.COM.", Some("example.com")),
            ("*.example.com", Some("*.example.com")),
            ("localhost", Some("localhost")),
            ("a*.example.com", None),
            ("*", None),
            ("*.*.example.com", None),
            ("exa mple.com", None),
            ("", None),
        ] {
            assert_eq!(host(text).as_deref(), name, "{text}");
        }
    }
}
