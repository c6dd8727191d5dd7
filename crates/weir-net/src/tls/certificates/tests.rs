use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::SignatureScheme;
use weir_testkit::{Authority, Certificate as Made, CertificateRequest};

use super::*;

fn pair(made: &Made) -> CertificateSource {
    CertificateSource::Pair(PairFiles { cert: made.file(), key: made.key(), ocsp: None })
}

fn load(sources: &[CertificateSource]) -> Loaded {
    Shelf::default().load(sources, SystemTime::now())
}

fn table(made: &[&Made]) -> Table {
    let sources: Vec<_> = made.iter().map(|made| pair(made)).collect();
    let loaded = load(&sources);
    assert!(loaded.refused.is_empty(), "{:?}", loaded.refused);
    Table::new(loaded.certificates.into_iter().map(|(_, certificate)| certificate))
}

fn file(certificate: &Certificate) -> &Path {
    &certificate.files.cert
}

#[test]
fn exact_names_go_before_wildcards_of_one_label_before_the_first_listed() {
    let first = Made::for_names(&["first.test"]);
    let many = Made::for_names(&["*.many.test", "many.test"]);
    let one = Made::for_names(&["One.many.test"]);
    let table = table(&[&first, &many, &one]);
    for (name, chosen) in [
        (Some("one.many.test"), &one),
        (Some("two.many.test"), &many),
        (Some("many.test"), &many),
        (Some("a.two.many.test"), &first),
        (Some("first.test"), &first),
        (Some("else.test"), &first),
        (Some("test"), &first),
        (Some(""), &first),
        (None, &first),
    ] {
        assert_eq!(file(table.find(name).unwrap()), chosen.file(), "{name:?}");
    }
    assert!(table.covers("two.many.test") && !table.covers("else.test"));
    assert!(Table::default().find(Some("a")).is_none());
}

#[test]
fn a_name_with_two_kinds_of_key_is_served_by_what_the_client_can_verify() {
    let rsa = CertificateRequest::new(&["a.test"]).rsa().self_signed();
    let ecdsa = Made::for_names(&["a.test"]);
    let table = table(&[&rsa, &ecdsa]);
    assert!(table.shadows().is_empty());
    let of = |made: &Made| {
        let is_it = |certificate: &&Arc<Certificate>| file(certificate) == made.file();
        Arc::clone(table.certificates().iter().find(is_it).unwrap())
    };
    for name in [Some("a.test"), None] {
        let pick = |schemes: &[SignatureScheme]| table.pick(name, schemes).unwrap();
        let both = [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256];
        assert!(Arc::ptr_eq(pick(&both), &of(&ecdsa)), "the cheaper one");
        assert!(Arc::ptr_eq(pick(&both[..1]), &of(&rsa)));
    }
}

#[test]
fn of_two_for_one_name_the_first_listed_is_served_and_the_other_told() {
    let (first, second) =
        (Made::for_names(&["a.test", "b.test"]), Made::for_names(&["b.test", "a.test", "c.test"]));
    let table = table(&[&first, &second]);
    assert_eq!(file(table.find(Some("b.test")).unwrap()), first.file());
    assert_eq!(file(table.find(Some("c.test")).unwrap()), second.file());
    let [shadow] = table.shadows() else { panic!("{:?}", table.shadows()) };
    assert_eq!((&*shadow.name, shadow.more), ("b.test", 1));
    assert_eq!((file(&shadow.winner), file(&shadow.loser)), (&*first.file(), &*second.file()));
}

#[test]
fn only_what_changed_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let made = ["a", "b"].map(|name| Made::for_names(&[name]));
    made[0].write(folder.path(), "a");
    made[1].write(folder.path(), "b");
    let (shelf, sources) = (Shelf::default(), [CertificateSource::Folder(folder.path().to_owned())]);
    let first = shelf.load(&sources, SystemTime::now());
    assert_eq!(first.certificates.len(), 2);
    // Written anew with the same bytes: the same certificate.
    made[0].write(folder.path(), "a");
    let other = Made::for_names(&["b2"]);
    other.write(folder.path(), "b");
    let second = shelf.load(&sources, SystemTime::now());
    assert!(Arc::ptr_eq(&first.certificates[0].1, &second.certificates[0].1));
    assert_eq!(&*second.certificates[1].1.label, "b2");
    // One that nobody serves any more is forgotten.
    drop((first, second));
    assert!(shelf.load(&[], SystemTime::now()).certificates.is_empty());
    assert_eq!(format!("{shelf:?}").matches("PairFiles").count(), 0);
}

#[test]
fn what_was_good_is_kept_where_its_files_break_and_a_pair_that_is_gone_goes() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (Made::for_names(&["a"]), Made::for_names(&["b"]));
    a.write(folder.path(), "a");
    b.write(folder.path(), "b");
    let (shelf, sources) = (Shelf::default(), [CertificateSource::Folder(folder.path().to_owned())]);
    let good = shelf.load(&sources, SystemTime::now());
    let at = |name: &str| folder.path().join(name);
    for break_it in [
        &(|| fs::write(at("a.pem"), b.pem()).unwrap()) as &dyn Fn(),
        &|| fs::write(at("a.pem"), "").unwrap(),
        &|| fs::write(at("a.key"), "half").unwrap(),
        &|| fs::remove_file(at("a.key")).unwrap(),
    ] {
        break_it();
        let broken = shelf.load(&sources, SystemTime::now());
        assert!(Arc::ptr_eq(&broken.certificates[0].1, &good.certificates[0].1));
        assert!(Arc::ptr_eq(&broken.certificates[1].1, &good.certificates[1].1));
        assert!(broken.refused.len() == 1 && broken.refused[0].is_kept, "{:?}", broken.refused);
    }
    fs::remove_file(at("a.pem")).unwrap();
    let gone = shelf.load(&sources, SystemTime::now());
    assert!(gone.certificates.len() == 1 && gone.refused.is_empty());
}

#[test]
fn each_fault_names_its_file_and_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (Made::for_names(&["a"]), Made::for_names(&["b"]));
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file
    };
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let cut = &a.pem()[..200];
    let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let good = write("good.pem", a.pem());
    let key = write("good.key", a.key_pem());
    for (cert, key, wanted) in [
        (write("empty.pem", ""), key.clone(), "`empty.pem` holds no certificate"),
        (key.clone(), key.clone(), "`good.key` holds no certificate"),
        (write("cut.pem", cut), key.clone(), "`cut.pem` is not PEM: it ends within a section"),
        (write("noder.pem", no_der), key.clone(), "`noder.pem` holds a certificate that cannot be read"),
        (good.clone(), good.clone(), "`good.pem` holds no private key"),
        (good.clone(), write("enc.key", encrypted), "the private key in `enc.key` is encrypted"),
        (good.clone(), write("bad.key", no_key), "the private key in `bad.key` cannot be used"),
        (
            good.clone(),
            write("b.key", b.key_pem()),
            "the key in `b.key` does not match the certificate in `good.pem`",
        ),
        (good.clone(), folder.path().join("no.key"), "`good.pem` has no key: there is no `no.key`"),
        (folder.path().join("no.pem"), key.clone(), "`no.pem` cannot be read: No such file"),
        (folder.path().to_owned(), key.clone(), "cannot be read: it is not a regular file"),
    ] {
        let loaded = load(&[CertificateSource::Pair(PairFiles { cert, key, ocsp: None })]);
        assert!(loaded.certificates.is_empty() && !loaded.refused[0].is_kept);
        let told = loaded.refused[0].fault.to_string().replace(&format!("{}/", folder.path().display()), "");
        assert!(told.contains(wanted), "{told}");
    }
    let both = write("both.pem", &(a.pem().to_owned() + a.key_pem()));
    let one_file = PairFiles { cert: both.clone(), key: both, ocsp: None };
    assert!(load(&[CertificateSource::Pair(one_file)]).refused.is_empty());
}

#[test]
fn dates_and_chains_are_judged_and_the_certificate_served_all_the_same() {
    let root = Authority::new("Root of tests");
    let middle = root.intermediate("Middle of tests");
    let whole = middle.issue(&["whole.test"]);
    let request = CertificateRequest::new(&["a.test"]);
    let standing = |made: &Made| {
        let loaded = load(&[pair(made)]);
        loaded.certificates[0].1.standing(SystemTime::now())
    };
    assert_eq!(standing(&whole), Standing::Valid);
    assert_eq!(standing(&request.clone().days(-20, -1).self_signed()), Standing::Expired);
    assert_eq!(standing(&request.clone().days(1, 90).self_signed()), Standing::NotYetValid);
    assert_eq!(standing(&request.clone().days(-20, 13).self_signed()), Standing::ExpiresSoon);
    let flaws = |pem: &str| {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("a.pem"), folder.path().join("a.key"));
        fs::write(&cert, pem).unwrap();
        fs::write(&key, whole.key_pem()).unwrap();
        load(&[CertificateSource::Pair(PairFiles { cert, key, ocsp: None })]).certificates[0].1.flaws.clone()
    };
    let (own, middle_pem) =
        whole.pem().split_at(whole.pem().find("-----END CERTIFICATE-----\n").unwrap() + 26);
    let root_pem = fs::read_to_string(root.file()).unwrap();
    assert_eq!(flaws(&format!("{own}{middle_pem}{root_pem}")), []);
    assert_eq!(flaws(&format!("{own}{root_pem}{middle_pem}")), [Flaw::ChainOrder { place: 1 }]);
    let has_roots = crate::tls::system_roots().is_ok();
    let incomplete = |issuer: &str| Flaw::ChainIncomplete { issuer: format!("CN={issuer}") };
    if has_roots {
        assert_eq!(flaws(own), [incomplete("Middle of tests")]);
        assert_eq!(flaws(&format!("{own}{middle_pem}")), [incomplete("Root of tests")]);
    }
}

#[test]
fn a_thousand_pairs_are_read_by_several_threads_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let made = Made::for_names(&["same.test"]);
    for index in 0..1_000 {
        fs::write(folder.path().join(format!("{index:04}.pem")), made.pem()).unwrap();
        fs::write(folder.path().join(format!("{index:04}.key")), made.key_pem()).unwrap();
    }
    let loaded = load(&[CertificateSource::Folder(folder.path().to_owned())]);
    let names: Vec<_> = loaded.certificates.iter().map(|(_, one)| file(one).file_stem().unwrap()).collect();
    assert!(names.len() == 1_000 && names.is_sorted());
}

mod staples {
    use super::*;

    /// A DER value: its tag and what it holds.
    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let inner = parts.concat();
        let mut out = vec![tag];
        match inner.len() {
            length @ 0..0x80 => out.push(length as u8),
            length => out.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        out.extend(inner);
        out
    }

    fn answer(status: u8, certificate: u8, this: &str, next: Option<&str>) -> Vec<u8> {
        let time = |text: &str| der(0x18, &[text.as_bytes()]);
        let next = next.map(|next| der(0xa0, &[&time(next)])).unwrap_or_default();
        let single = der(0x30, &[&der(0x30, &[&[5, 0]]), &der(certificate, &[]), &time(this), &next]);
        let responder = der(0xa2, &[&der(4, &[b"key"])]);
        let data = der(0x30, &[&responder, &time(this), &der(0x30, &[&single])]);
        let basic = der(0x30, &[&data, &der(0x30, &[&[5, 0]]), &der(3, &[b"\0sig"])]);
        let bytes = der(0x30, &[&der(6, &[&[43, 6, 1, 5, 5, 7, 48, 1, 1]]), &der(4, &[&basic])]);
        der(0x30, &[&der(10, &[&[status]]), &der(0xa0, &[&bytes])])
    }

    const GOOD: u8 = 0x80;
    const REVOKED: u8 = 0xa1;

    #[test]
    fn an_answer_is_stapled_while_it_says_that_the_certificate_is_good() {
        let made = Made::for_names(&["a"]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.ocsp");
        let files = PairFiles { cert: made.file(), key: made.key(), ocsp: Some(file.clone()) };
        let sources = [CertificateSource::Pair(files)];
        let (past, future) = ("20200101000000Z", "20990101000000Z");
        for (bytes, wanted) in [
            (answer(0, GOOD, past, Some(future)), None),
            (answer(0, GOOD, past, None), None),
            (answer(0, GOOD, past, Some("20210101000000Z")), Some("has expired")),
            (answer(0, GOOD, future, None), Some("is not valid yet")),
            (answer(0, REVOKED, past, Some(future)), Some("says that the certificate is revoked")),
            (answer(6, GOOD, past, Some(future)), Some("is no OCSP answer")),
            (b"text".to_vec(), Some("is no OCSP answer")),
        ] {
            fs::write(&file, bytes).unwrap();
            let loaded = load(&sources);
            let certificate = &loaded.certificates[0].1;
            let told = certificate.flaws.iter().map(ToString::to_string).collect::<String>();
            match wanted {
                None => assert!(certificate.is_stapled() && told.is_empty(), "{told}"),
                Some(wanted) => assert!(!certificate.is_stapled() && told.contains(wanted), "{told}"),
            }
        }
    }

    #[test]
    fn a_staple_goes_when_its_time_is_over_and_comes_back_when_it_is_renewed() {
        let made = Made::for_names(&["a"]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.ocsp");
        let files = PairFiles { cert: made.file(), key: made.key(), ocsp: Some(file.clone()) };
        let (shelf, sources) = (Shelf::default(), [CertificateSource::Pair(files)]);
        let now = SystemTime::now();
        fs::write(&file, answer(0, GOOD, "20200101000000Z", Some("20990101000000Z"))).unwrap();
        let first = shelf.load(&sources, now);
        assert!(first.certificates[0].1.is_stapled());
        let later = now + Duration::from_secs(100 * 365 * 86_400);
        let second = shelf.load(&sources, later);
        assert!(!second.certificates[0].1.is_stapled());
        fs::write(&file, answer(0, GOOD, "20200101000000Z", None)).unwrap();
        assert!(shelf.load(&sources, later).certificates[0].1.is_stapled());
    }

    #[test]
    fn no_bytes_at_all_make_the_reader_fail() {
        let whole = answer(0, GOOD, "20200101000000Z", Some("20990101000000Z"));
        for end in 0..whole.len() {
            let _refused = ocsp::until(&whole[..end], SystemTime::now());
            let mut bent = whole.clone();
            bent[end] ^= 0xff;
            let _whatever = ocsp::until(&bent, SystemTime::now());
        }
    }
}
