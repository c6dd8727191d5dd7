//! The certificates that the contestants show, made anew for each run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use super::Case;

/// Certificates that are served beside the one that clients ask for.
const MANY: usize = 10_000;

/// The name that clients ask for.
pub(in crate::bench) const NAME: &str = "bench.example";

/// A folder of certificates that vouch for themselves; empty for cases without TLS.
///
/// It holds `cert.pem` and `key.pem`, `bundle.pem` with both, and the folder `many`.
pub(super) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes what the case needs.
    pub(super) fn make(folder: &Path, case: Case) -> anyhow::Result<Self> {
        let folder = folder.join("certificates");
        let many = folder.join("many");
        fs::create_dir_all(&many).with_context(|| format!("cannot make {}", many.display()))?;
        if case.plane() != super::Plane::Tls {
            return Ok(Self { folder });
        }
        let key = match case {
            Case::TlsRsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
            _ => KeyPair::generate()?,
        };
        let certificate = sign(&key, NAME)?;
        fs::write(folder.join("cert.pem"), &certificate)?;
        fs::write(folder.join("key.pem"), key.serialize_pem())?;
        fs::write(folder.join("bundle.pem"), certificate + &key.serialize_pem())?;
        if case == Case::TlsCertificates {
            for number in 0..MANY {
                let key = KeyPair::generate()?;
                let name = format!("name-{number}.example");
                fs::write(many.join(format!("{name}.pem")), sign(&key, &name)?)?;
                fs::write(many.join(format!("{name}.key")), key.serialize_pem())?;
            }
        }
        Ok(Self { folder })
    }

    /// What clients trust.
    pub(super) fn authority(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    /// The folder, as templates name it.
    pub(super) fn folder(&self) -> anyhow::Result<String> {
        Ok(self.folder.to_str().context("the temporary folder's path is not UTF-8")?.to_owned())
    }
}

fn sign(key: &KeyPair, name: &str) -> anyhow::Result<String> {
    // The address too: not every load names the server that it asks.
    Ok(CertificateParams::new([name.to_owned(), "127.0.0.1".to_owned()])?.self_signed(key)?.pem())
}
