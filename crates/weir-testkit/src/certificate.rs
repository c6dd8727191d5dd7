use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A certificate that vouches for itself, and its key, made by openssl.
pub struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// Makes one for these names; the first is its common name too.
    ///
    /// # Panics
    ///
    /// When openssl is not installed.
    pub fn for_names(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the certificate");
        let alternatives: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
        let certificate = Self { folder };
        let status = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", &format!("/CN={}", names.first().copied().unwrap_or("test"))])
            .args(["-addext", &format!("subjectAltName={}", alternatives.join(","))])
            .args([Path::new("-keyout"), &certificate.key(), Path::new("-out"), &certificate.file()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("openssl is installed by scripts/test");
        assert!(status.success(), "openssl makes a certificate");
        certificate
    }

    /// The certificate in PEM.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Its key in PEM.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// The lines of an nginx server that has this certificate.
    pub fn nginx(&self) -> String {
        format!("ssl_certificate {}; ssl_certificate_key {};", self.file().display(), self.key().display())
    }
}
