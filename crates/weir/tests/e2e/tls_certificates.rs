//! Certificates while the gateway runs: chosen by name, renewed under load, refused when they are broken.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use weir_testkit::{Authority, Certificate, CertificateRequest, Gateway, Origin, behaviour, curl, wait};

use crate::Config;
use crate::tls::{TlsClient, settings, tls, tls_with};

/// The certificate that a client is shown who asks for this name.
fn shown(gateway: &Gateway, name: &str) -> CertificateDer<'static> {
    let client = TlsClient::connect(gateway.addr("web"), name);
    let peer = client.session.peer_certificates().expect("a server shows its certificate");
    peer[0].clone().into_owned()
}

fn own(certificate: &Certificate) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(certificate.pem().as_bytes()).expect("the kit makes certificates")
}

/// Waits until clients are shown this certificate.
fn until_shown(gateway: &Gateway, name: &str, certificate: &Certificate) {
    wait::until("the certificate is served", || (shown(gateway, name) == own(certificate)).then_some(()));
}

fn folder_of(pairs: &[(&str, &Certificate)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder for the pairs");
    pairs.iter().for_each(|(name, certificate)| certificate.write(folder.path(), name));
    folder
}

fn tls_folder(folder: &Path, keys: &str) -> String {
    format!("tls: {{ certificates: [{{ directory: {} }}]{keys} }}", folder.display())
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_is_asked_for_and_shown_to_operators() {
    let first = Certificate::for_names(&["first.test"]);
    let (many, one) = (Certificate::for_names(&["*.many.test"]), Certificate::for_names(&["one.many.test"]));
    let soon = CertificateRequest::new(&["soon.test"]).days(-10, 5).self_signed();
    let folder = folder_of(&[("many", &many), ("one", &one), ("soon", &soon)]);
    let line = format!(
        "tls: {{ certificates: [{{ cert: {}, key: {} }}, {{ directory: {} }}] }}",
        first.file().display(),
        first.key().display(),
        folder.path().display()
    );
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway = Config::to([origin.addr()]).listener(&line).start();
    for (name, certificate) in [
        ("one.many.test", &one),
        ("two.many.test", &many),
        ("a.two.many.test", &first),
        ("else.test", &first),
    ] {
        assert!(shown(&gateway, name) == own(certificate), "{name}");
    }
    let listed = gateway.admin_get("/api/v1/certificates").json();
    let listener = &listed["listeners"][0];
    assert_eq!((&listener["listener"], &listener["count"]), (&"web".into(), &4.into()));
    let ends_first = &listener["certificates"][0];
    assert_eq!(
        (&ends_first["certificate"], &ends_first["state"]),
        (&"soon.test".into(), &"expires_soon".into())
    );
    assert_eq!(ends_first["fingerprint"], soon.fingerprint());
    let deep = gateway.admin_get("/healthz?deep=true").json();
    assert_eq!(deep["listeners"][0]["tls"]["first_to_end"]["certificate"], "soon.test");
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("weir_certificates", &["listener=\"web\""]) as u64, 4);
    assert!(metrics.sum("weir_certificate_expiry_timestamp_seconds", &["certificate=\"soon.test\""]) > 1e9);
    let told = wait::until("an event", || gateway.events("certificate_out_of_date").into_iter().next());
    assert_eq!((&told["certificate"], &told["state"]), (&"soon.test".into(), &"expires_soon".into()));
}

/// Goal: who renews a certificate restarts nothing and cuts nobody. Method: a connection that was open before goes on.
#[test]
fn a_renewed_pair_is_served_at_once_without_a_new_revision() {
    let (old, new) = (Certificate::for_names(&["shop.test"]), Certificate::for_names(&["shop.test"]));
    let folder = folder_of(&[("shop", &old)]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway = Config::to([origin.addr()]).listener(&tls_folder(folder.path(), "")).start();
    let mut open = TlsClient::connect(gateway.addr("web"), "shop.test");
    assert!(open.get("shop.test", "/").ends_with("hello"));
    new.write(folder.path(), "shop");
    until_shown(&gateway, "shop.test", &new);
    assert!(open.get("shop.test", "/").ends_with("hello"));
    assert_eq!(gateway.events("reloaded").len(), 0);
    let told = wait::until("an event", || gateway.events("certificates_renewed").into_iter().next());
    assert_eq!((&told["certificate"], &told["count"]), (&"shop.test".into(), &1.into()));
    // A pair that comes, and one that goes.
    let more = Certificate::for_names(&["more.test"]);
    more.write(folder.path(), "more");
    until_shown(&gateway, "more.test", &more);
    fs::remove_file(folder.path().join("more.pem")).unwrap();
    until_shown(&gateway, "more.test", &new);
    assert_eq!(gateway.metrics().sum("weir_certificates_renewed_total", &[]) as u64, 2);
}

#[test]
fn a_broken_pair_is_refused_with_its_reason_and_the_old_one_served() {
    let (old, other) = (Certificate::for_names(&["shop.test"]), Certificate::for_names(&["shop.test"]));
    let folder = folder_of(&[("shop", &old)]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway = Config::to([origin.addr()]).listener(&tls_folder(folder.path(), "")).start();
    fs::write(folder.path().join("shop.pem"), other.pem()).unwrap();
    let told = wait::until("an event", || gateway.events("certificate_refused").into_iter().next());
    let (error, served) = (told["error"].as_str().unwrap(), told["served"].as_str().unwrap());
    assert!(error.contains("shop.key` does not match the certificate in"), "{error}");
    assert_eq!(served, "the former one");
    assert!(shown(&gateway, "shop.test") == own(&old));
    // Who asks is told the next fault at once; the one that was told is not told again.
    fs::write(folder.path().join("shop.pem"), "half").unwrap();
    assert_eq!(gateway.admin_request("POST", "/api/v1/reload", "").status, 200);
    let told = wait::until("two events", || gateway.events("certificate_refused").into_iter().nth(1));
    assert!(told["error"].as_str().unwrap().contains("shop.pem` holds no certificate"), "{told}");
    assert!(shown(&gateway, "shop.test") == own(&old));
    assert_eq!(gateway.metrics().sum("weir_certificates_refused_total", &[]) as u64, 2);
    // An emptied folder locks nobody out.
    fs::remove_file(folder.path().join("shop.pem")).unwrap();
    let told = wait::until("three events", || gateway.events("certificate_refused").into_iter().nth(2));
    assert!(told["error"].as_str().unwrap().contains("no certificate is left"), "{told}");
    assert!(shown(&gateway, "shop.test") == own(&old));
    other.write(folder.path(), "shop");
    until_shown(&gateway, "shop.test", &other);
}

#[test]
fn a_certificate_that_comes_before_its_key_is_waited_for_quietly() {
    let (old, new) = (Certificate::for_names(&["shop.test"]), Certificate::for_names(&["shop.test"]));
    let folder = folder_of(&[("shop", &old)]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway = Config::to([origin.addr()]).listener(&tls_folder(folder.path(), "")).start();
    fs::write(folder.path().join("shop.pem"), new.pem()).unwrap();
    assert!(shown(&gateway, "shop.test") == own(&old));
    fs::write(folder.path().join("shop.key"), new.key_pem()).unwrap();
    until_shown(&gateway, "shop.test", &new);
    assert_eq!(gateway.events("certificate_refused").len(), 0);
}

/// Goal: no client ever meets half a swap. Method: clients shake hands without a pause while one folder's pair is
/// replaced every 100 ms; each must succeed and see one of the certificates.
#[test]
fn certificates_swapped_all_the_time_fail_no_handshake() {
    const SWAPS: usize = 30;
    let pairs: Vec<_> = (0..4).map(|_| Certificate::for_names(&["shop.test"])).collect();
    let folder = folder_of(&[("shop", &pairs[0])]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway = Config::to([origin.addr()]).listener(&tls_folder(folder.path(), "")).start();
    let known: Vec<_> = pairs.iter().map(own).collect();
    let (done, shaken) = (AtomicBool::new(false), AtomicUsize::new(0));
    let addr = gateway.addr("web");
    std::thread::scope(|scope| {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let (done, shaken, known) = (&done, &shaken, &known);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    // A session of its own each time: none is resumed.
                    let socket = TcpStream::connect(addr).unwrap();
                    let mut client = TlsClient::try_connect(socket, "shop.test", &settings(version)).unwrap();
                    let peer = client.session.peer_certificates().unwrap()[0].clone().into_owned();
                    assert!(known.contains(&peer));
                    assert!(client.get("shop.test", "/").ends_with("hello"));
                    shaken.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for swap in 1..=SWAPS {
            pairs[swap % pairs.len()].write(folder.path(), "shop");
            // The pace is what is tested, and it is an upper bound only.
            std::thread::sleep(Duration::from_millis(100));
        }
        done.store(true, Ordering::Relaxed);
    });
    until_shown(&gateway, "shop.test", &pairs[SWAPS % pairs.len()]);
    assert!(shaken.into_inner() > SWAPS);
    assert_eq!(gateway.events("certificate_refused").len(), 0);
    assert_eq!(gateway.metrics().sum("weir_tls_handshake_failures_total", &[]) as u64, 0);
}

#[test]
fn a_mounted_secret_whose_link_is_swapped_is_read_again() {
    let (old, new) = (Certificate::for_names(&["shop.test"]), Certificate::for_names(&["shop.test"]));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, certificate) in [("v1", &old), ("v2", &new)] {
        fs::create_dir(at(version)).unwrap();
        certificate.write(&at(version), "tls");
    }
    symlink("v1", at("..data")).unwrap();
    symlink("..data/tls.pem", at("tls.crt")).unwrap();
    symlink("..data/tls.key", at("tls.key")).unwrap();
    let line = format!(
        "tls: {{ certificates: [{{ cert: {}, key: {} }}] }}",
        at("tls.crt").display(),
        at("tls.key").display()
    );
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway = Config::to([origin.addr()]).listener(&line).start();
    assert!(shown(&gateway, "shop.test") == own(&old));
    symlink("v2", at("..tmp")).unwrap();
    fs::rename(at("..tmp"), at("..data")).unwrap();
    until_shown(&gateway, "shop.test", &new);
    assert_eq!(gateway.events("certificate_refused").len(), 0);
}

#[test]
fn without_watching_certificates_are_read_when_somebody_asks() {
    let pairs: Vec<_> = (0..3).map(|_| Certificate::for_names(&["shop.test"])).collect();
    let folder = folder_of(&[("shop", &pairs[0])]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway =
        Config::to([origin.addr()]).listener(&tls_folder(folder.path(), "")).top("watch: off").start();
    pairs[1].write(folder.path(), "shop");
    assert!(shown(&gateway, "shop.test") == own(&pairs[0]));
    gateway.hang_up();
    until_shown(&gateway, "shop.test", &pairs[1]);
    pairs[2].write(folder.path(), "shop");
    assert!(shown(&gateway, "shop.test") == own(&pairs[1]));
    assert_eq!(gateway.admin_request("POST", "/api/v1/reload", "").status, 200);
    assert!(shown(&gateway, "shop.test") == own(&pairs[2]), "served when the answer is there");
}

/// Goal: a change of the authorities holds at once, and what was proved before it is worth nothing after it. Method: two
/// authorities that take turns, and a client that offers its tickets.
#[test]
fn other_authorities_hold_from_the_next_handshake_on_resumed_or_not() {
    let (first, second) = (Authority::new("First"), Authority::new("Second"));
    let client = CertificateRequest::new(&["client.test"]).client().issued_by(&first);
    let server = Certificate::for_names(&["shop.test"]);
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let install = |authority: &Authority| {
        let beside = folder.path().join("new");
        fs::copy(authority.file(), &beside).unwrap();
        fs::rename(&beside, &ca).unwrap();
    };
    install(&first);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let keys = format!(", client_auth: {{ mode: required, ca: {} }}", ca.display());
    let gateway = Config::to([origin.addr()]).listener(&tls_with(&server, &keys)).start();
    let settings = with_certificate(&client, &server);
    let get = || -> std::io::Result<bool> {
        let socket = TcpStream::connect(gateway.addr("web"))?;
        let mut connection = TlsClient::try_connect(socket, "shop.test", &settings)?;
        connection.send("GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n");
        // With TLS 1.3 the refusal comes behind the client's side of the handshake.
        let answer = connection.rest()?;
        Ok(answer.ends_with(b"hello"))
    };
    assert!(get().unwrap() && get().unwrap());
    install(&second);
    wait::until("an event", || gateway.events("client_authorities_renewed").into_iter().next());
    assert!(get().is_err());
    fs::write(&ca, "nothing").unwrap();
    wait::until("an event", || gateway.events("certificate_refused").into_iter().next());
    assert!(get().is_err());
    install(&first);
    wait::until("an event", || gateway.events("client_authorities_renewed").into_iter().nth(1));
    assert!(get().unwrap());
}

fn with_certificate(client: &Certificate, server: &Certificate) -> Arc<rustls::ClientConfig> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(client.pem().as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(client.key_pem().as_bytes()).expect("the kit makes certificates");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(own(server)).expect("the kit makes certificates");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder
        .expect("the kit makes certificates")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain.expect("the kit makes certificates"), key);
    Arc::new(config.expect("the kit makes certificates"))
}

#[test]
fn a_listener_without_tls_sends_to_https_which_tells_browsers_to_stay() {
    let certificate = Certificate::for_names(&["shop.test"]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway = Config::to([origin.addr()])
        .http("hsts: on")
        .listener(&tls(&certificate))
        .listener("\n  plain:\n    bind: \"127.0.0.1:0\"\n    http: { redirect_https: { port: 8443 } }")
        .top("trusted_proxies: 127.0.0.1")
        .start();
    let ask = |request: &str| {
        let mut client = weir_testkit::RawClient::connect(gateway.addr("plain"));
        client.send(request);
        client.read_response(request.split(' ').next().unwrap()).unwrap()
    };
    for (request, location) in [
        (
            "GET /a%2Fb//c/../d?x=%20&y HTTP/1.1\r\nHost: Shop.test:80\r\n\r\n",
            "https://shop.test:8443/a%2Fb//c/../d?x=%20&y",
        ),
        ("HEAD / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "https://[::1]:8443/"),
        (
            "POST http://shop.test/p? HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 2\r\n\r\nab",
            "https://shop.test:8443/p?",
        ),
        ("GET //evil.test/ HTTP/1.1\r\nHost: shop.test\r\n\r\n", "https://shop.test:8443//evil.test/"),
    ] {
        let answer = ask(request);
        assert_eq!((answer.status, answer.field("location")), (308, Some(location)));
        assert_eq!(answer.field("strict-transport-security"), None);
    }
    for bad in ["GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"] {
        let answer = ask(bad);
        assert_eq!((answer.status, answer.field("weir-error")), (400, Some("bad-host")), "{bad}");
    }
    assert_eq!(origin.request_count(), 0);
    let by_proxy = ask("GET / HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-Proto: https\r\n\r\n");
    assert_eq!(by_proxy.status, 200, "a trusted proxy has taken it over HTTPS");
    let (port, file) = (gateway.addr("web").port(), certificate.file());
    for path in ["/", "/%zz"] {
        let url = format!("https://shop.test:{port}{path}");
        let resolve = format!("shop.test:{port}:127.0.0.1");
        let answer = curl(&["--resolve", &resolve, "--cacert", file.to_str().unwrap(), "-i", &url]);
        let says = answer.stdout.to_ascii_lowercase();
        assert_eq!(says.matches("strict-transport-security: max-age=31536000\r\n").count(), 1, "{says}");
    }
}

#[test]
fn the_explanation_names_the_certificate_of_the_host() {
    let (one, many) = (Certificate::for_names(&["one.test"]), Certificate::for_names(&["*.many.test"]));
    let folder = folder_of(&[("1one", &one), ("2many", &many)]);
    let origin = Origin::start(behaviour::fixed(200, "hello"));
    let gateway = Config::to([origin.addr()]).listener(&tls_folder(folder.path(), "")).start();
    let admin = gateway.admin().to_string();
    let explain = |url: &str| {
        let asked = std::process::Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["explain", "GET", url, "--admin", &admin])
            .output()
            .unwrap();
        String::from_utf8(asked.stdout).unwrap()
    };
    assert!(explain("https://a.many.test/").contains("certificate *.many.test"));
    let other = explain("https://other.test/");
    assert!(other.contains("certificate one.test") && other.contains("none is for this name"), "{other}");
}
