//! Copies of the folders of configurations with the certificates and keys that those name, made for each run: the
//! tree holds none. Their dates are fixed, since problems tell them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use weir_testkit::{Authority, Certificate, CertificateRequest};

/// A copy that is removed when it is dropped.
pub(crate) struct Copied(TempDir);

impl Copied {
    fn of(folder: &Path) -> Self {
        let copy = tempfile::tempdir().expect("a folder for the copy");
        copy_all(folder, copy.path());
        Self(copy)
    }

    /// Of `tests/config`, with `certs` and `parts` filled.
    pub(crate) fn configurations() -> Self {
        let copied = Self::of(&crate::folder("tests/config"));
        copied.fill_certs();
        copied.fill_parts();
        copied
    }

    /// Of `examples`, with the pair of the shop.
    pub(crate) fn examples() -> Self {
        let copied = Self::of(&crate::folder("../../examples"));
        let shop = CertificateRequest::new(&["shop.example", "*.shop.example"]).self_signed();
        shop.write(&copied.subfolder("certificates"), "shop");
        copied
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn subfolder(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(&path).expect("the copy is ours");
        path
    }

    fn fill_certs(&self) {
        let certs = self.subfolder("certs");
        self.subfolder("certs/empty");
        let write = |name: &str, text: &str| fs::write(certs.join(name), text).expect("the copy is ours");
        let pair = |names: &[&str], from: i32, until: i32| {
            CertificateRequest::new(names).years(from, until).self_signed()
        };
        let a = pair(&["a.example", "*.a.example"], 2020, 2090);
        a.write(&certs, "a");
        write("a-encrypted.key", &encrypted(&a));
        pair(&["b.example", "a.example"], 2020, 2090).write(&certs, "b");
        pair(&["old.example"], 2020, 2021).write(&certs, "expired");
        pair(&["early.example"], 2089, 2090).write(&certs, "early");
        CertificateRequest::new(&[])
            .common_name("No Host")
            .years(2020, 2090)
            .self_signed()
            .write(&certs, "nameless");
        write("text.pem", "this is no certificate\n");

        let root = Authority::new("Example Root");
        write("ca.pem", &root.pem());
        let middle = root.intermediate("Example Middle");
        let ordered = CertificateRequest::new(&["order.example"]).years(2020, 2090).issued_by(&middle);
        let leaf = ordered.pem().strip_suffix(&middle.pem()).expect("the chain follows the leaf");
        ordered.write(&certs, "order");
        write("order.pem", &[leaf, &root.pem(), &middle.pem()].concat());

        let folder = self.subfolder("certs/folder");
        pair(&["one.example"], 2020, 2090).write(&folder, "one");
        fs::write(folder.join("two.pem"), pair(&["two.example"], 2020, 2090).pem())
            .expect("the copy is ours");
    }

    fn fill_parts(&self) {
        let parts = self.subfolder("parts");
        let authority = Authority::new("Weir test authority");
        let gateway = CertificateRequest::new(&[]).common_name("gateway.test").client().issued_by(&authority);
        gateway.write(&parts, "gateway");
        let other = Certificate::for_names(&["other.test"]);
        for (name, text) in [("ca.pem", authority.pem().as_str()), ("other.key", other.key_pem())] {
            fs::write(parts.join(name), text).expect("the copy is ours");
        }
    }
}

/// The key of this certificate under a password, as openssl writes it.
fn encrypted(certificate: &Certificate) -> String {
    let run = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-passout", "pass:secret", "-in"])
        .arg(certificate.key())
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed by scripts/test");
    String::from_utf8(run.stdout).expect("openssl writes text")
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("the folder can be listed");
        let beside = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&beside).expect("the copy is ours");
            copy_all(&entry.path(), &beside);
        } else {
            fs::copy(entry.path(), &beside).expect("the copy is ours");
        }
    }
}
