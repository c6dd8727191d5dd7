use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;

/// What a certificate is to be like.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    names: Vec<String>,
    common_name: String,
    is_rsa: bool,
    is_for_client: bool,
    validity: Validity,
}

#[derive(Debug, Clone, Copy)]
enum Validity {
    /// Days from now; negative ones are past.
    Days(i64, i64),
    /// The first days of these years.
    Years(i32, i32),
}

/// A certificate with its chain and its key, in files.
pub struct Certificate {
    folder: TempDir,
    pem: String,
    key_pem: String,
}

/// Vouches for certificates.
pub struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// What stands behind a certificate that it issues, in PEM: nothing for a root.
    chain: String,
}

impl CertificateRequest {
    /// For these names, `spiffe://` URIs and addresses too; the first is its common name. P-256, valid from yesterday on
    /// for sixty days, for servers.
    pub fn new(names: &[&str]) -> Self {
        Self {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            common_name: names.first().copied().unwrap_or("test").to_owned(),
            is_rsa: false,
            is_for_client: false,
            validity: Validity::Days(-1, 60),
        }
    }

    /// With another common name.
    #[must_use]
    pub fn common_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.common_name);
        self
    }

    /// With an RSA key of 2048 bits.
    #[must_use]
    pub fn rsa(mut self) -> Self {
        self.is_rsa = true;
        self
    }

    /// For a client.
    #[must_use]
    pub fn client(mut self) -> Self {
        self.is_for_client = true;
        self
    }

    /// Valid between these days from now; negative ones are past.
    #[must_use]
    pub fn days(mut self, from: i64, until: i64) -> Self {
        self.validity = Validity::Days(from, until);
        self
    }

    /// Valid from the first day of one year until that of another, whenever the test runs.
    #[must_use]
    pub fn years(mut self, from: i32, until: i32) -> Self {
        self.validity = Validity::Years(from, until);
        self
    }

    /// Vouched for by itself.
    pub fn self_signed(&self) -> Certificate {
        let (params, key) = self.params();
        let made = params.self_signed(&key).expect("rcgen signs");
        Certificate::new(&made, "", &key)
    }

    /// Vouched for by an authority.
    pub fn issued_by(&self, authority: &Authority) -> Certificate {
        let (params, key) = self.params();
        let made = params.signed_by(&key, &authority.issuer).expect("rcgen signs");
        Certificate::new(&made, &authority.chain, &key)
    }

    fn params(&self) -> (CertificateParams, KeyPair) {
        let (uris, plain): (Vec<_>, Vec<_>) =
            self.names.iter().cloned().partition(|name| name.contains("://"));
        let mut params = CertificateParams::new(plain).expect("names of a test are good");
        let uri = |uri: String| rcgen::SanType::URI(uri.try_into().expect("names of a test are good"));
        params.subject_alt_names.extend(uris.into_iter().map(uri));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Weir tests");
        params.distinguished_name.push(DnType::CommonName, self.common_name.as_str());
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        (params.not_before, params.not_after) = match self.validity {
            Validity::Days(from, until) => (epoch + since_epoch(from), epoch + since_epoch(until)),
            Validity::Years(from, until) => {
                (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(until, 1, 1))
            }
        };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match self.is_for_client {
            true => ExtendedKeyUsagePurpose::ClientAuth,
            false => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        let kind = if self.is_rsa { &rcgen::PKCS_RSA_SHA256 } else { &rcgen::PKCS_ECDSA_P256_SHA256 };
        (params, KeyPair::generate_for(kind).expect("the system gives random bytes"))
    }
}

/// The moment so many days from now.
fn since_epoch(days: i64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    let seconds = now.as_secs().saturating_add_signed(days * 86_400);
    Duration::from_secs(seconds)
}

impl Certificate {
    /// One for these names that vouches for itself.
    pub fn for_names(names: &[&str]) -> Self {
        CertificateRequest::new(names).self_signed()
    }

    fn new(made: &rcgen::Certificate, chain: &str, key: &KeyPair) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the certificate");
        let (pem, key_pem) = (made.pem() + chain, key.serialize_pem());
        let certificate = Self { folder, pem, key_pem };
        certificate.write(certificate.folder.path(), "cert");
        std::fs::rename(certificate.folder.path().join("cert.key"), certificate.key())
            .expect("the folder is ours");
        certificate
    }

    /// The certificate and what vouches for it, in PEM.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Its key in PEM.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// What [`file`](Self::file) holds.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// What [`key`](Self::key) holds.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The SHA-256 of the certificate, in lower-case hexadecimal, as openssl has it.
    ///
    /// # Panics
    ///
    /// When openssl is not installed.
    pub fn fingerprint(&self) -> String {
        let asked = Command::new("openssl")
            .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
            .arg(self.file())
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed by scripts/test");
        let text = String::from_utf8(asked.stdout).expect("openssl writes text");
        let (_, hex) = text.trim().split_once('=').expect("`sha256 Fingerprint=AA:BB`");
        hex.replace(':', "").to_ascii_lowercase()
    }

    /// Writes `NAME.key` and `NAME.pem` into a folder, each beside itself and renamed, the key first.
    pub fn write(&self, folder: &Path, name: &str) {
        for (kind, text) in [("key", &self.key_pem), ("pem", &self.pem)] {
            let file = folder.join(format!("{name}.{kind}"));
            let beside = folder.join(format!(".{name}.{kind}.new"));
            std::fs::write(&beside, text).expect("the test's own folder is writable");
            std::fs::rename(&beside, &file).expect("the test's own folder is writable");
        }
    }

    /// The lines of an nginx server that has this certificate.
    pub fn nginx(&self) -> String {
        format!("ssl_certificate {}; ssl_certificate_key {};", self.file().display(), self.key().display())
    }
}

impl Authority {
    /// A root of that name.
    pub fn new(name: &str) -> Self {
        let (params, key) = Self::params(name);
        let issuer = CertifiedIssuer::self_signed(params, key).expect("rcgen signs");
        Self::with(issuer, String::new())
    }

    /// One that this one vouches for; what it issues brings its certificate along.
    #[must_use]
    pub fn intermediate(&self, name: &str) -> Self {
        let (params, key) = Self::params(name);
        let issuer = CertifiedIssuer::signed_by(params, key, &self.issuer).expect("rcgen signs");
        let chain = issuer.pem() + &self.chain;
        Self::with(issuer, chain)
    }

    fn params(name: &str) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params, KeyPair::generate().expect("the system gives random bytes"))
    }

    fn with(issuer: CertifiedIssuer<'static, KeyPair>, chain: String) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the certificate");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("the folder is ours");
        Self { folder, issuer, chain }
    }

    /// Its own certificate in PEM.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What [`file`](Self::file) holds.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// One for these names, for a server.
    pub fn issue(&self, names: &[&str]) -> Certificate {
        CertificateRequest::new(names).issued_by(self)
    }
}
