//! Handshakes in memory with a server of rustls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::*;

/// An authority, and what it vouches for.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("authority {}", MADE.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| ())
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Issued { chain: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }

    fn trust(&self) -> Trust {
        Trust::Listed(Authorities::read(self.0.pem().as_bytes()).unwrap())
    }
}

/// A certificate and its key, in PEM.
struct Issued {
    chain: String,
    key: String,
}

impl Issued {
    /// One that vouches for itself, as an authority may too: what `openssl req -x509` makes.
    fn self_signed(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    fn client(&self) -> ClientCertificate {
        ClientCertificate::read(self.chain.as_bytes(), self.key.as_bytes()).unwrap()
    }

    fn server(&self) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        self.on(builder)
    }

    /// A server that wants a certificate of this authority.
    fn server_for(&self, clients: &Authority) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(clients.0.der().clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider())).build();
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        self.on(builder.with_client_cert_verifier(verifier.unwrap()))
    }

    fn on(
        &self,
        builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
    ) -> ServerConfig {
        use rustls_pki_types::pem::PemObject;
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(self.chain.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        builder.with_single_cert(chain, key).unwrap()
    }
}

fn plan(trust: Trust) -> ClientTlsPlan {
    ClientTlsPlan { trust, certificate: None, versions: TlsVersions::Both }
}

/// One handshake and a byte each way; what the client has then, or why it has nothing.
fn handshake(
    client: &ClientTls,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<ClientConnection, rustls::Error> {
    use std::io::{Read, Write};
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(&client.config), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let mut wire = Vec::new();
    for round in 0..10 {
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut read = &wire[..];
        while !read.is_empty() {
            server.read_tls(&mut read).unwrap();
            // What it has to say of a fault it writes.
            let _told = server.process_new_packets();
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut read = &wire[..];
        while !read.is_empty() {
            client.read_tls(&mut read).unwrap();
            client.process_new_packets()?;
        }
        wire.clear();
        if !client.is_handshaking() && round > 3 {
            break;
        }
        if !server.is_handshaking() {
            server.writer().write_all(b"!").unwrap();
        }
    }
    let mut byte = [0];
    client.reader().read_exact(&mut byte).expect("the server has said something");
    Ok(client)
}

/// Why the handshake failed.
fn fault(trust: Trust, server: &Issued, name: &str) -> TlsFault {
    let client = ClientTls::new(&plan(trust), &[]);
    let error = handshake(&client, &Arc::new(server.server()), name).expect_err("a handshake that fails");
    TlsFault::from(&error)
}

#[test]
fn a_certificate_of_a_listed_authority_is_taken_for_its_names_and_addresses() {
    let authority = Authority::new();
    let server = Arc::new(authority.issue(&["app.example", "*.w.example", "127.0.0.1", "::1"]).server());
    let client = ClientTls::new(&plan(authority.trust()), &[]);
    for name in ["app.example", "a.w.example", "127.0.0.1", "::1"] {
        assert!(handshake(&client, &server, name).is_ok(), "{name}");
    }
    for name in ["other.example", "w.example", "a.b.w.example", "127.0.0.2"] {
        let error = handshake(&client, &server, name).expect_err(name);
        assert_eq!(TlsFault::from(&error).reason(), TlsFaultReason::WrongName, "{name}");
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_told() {
    let authority = Authority::new();
    let good = authority.issue(&["app.example"]);
    let fault_of = |trust, server: &Issued, name| {
        let fault = fault(trust, server, name);
        (fault.reason(), fault.to_string())
    };
    let (reason, text) = fault_of(authority.trust(), &good, "api.example");
    assert_eq!(reason, TlsFaultReason::WrongName);
    assert_eq!(text, "the server's certificate is for `app.example`, not for `api.example`");
    let (reason, text) = fault_of(Authority::new().trust(), &good, "app.example");
    assert_eq!(reason, TlsFaultReason::UnknownIssuer);
    assert!(text.ends_with("(unknown issuer)"), "{text}");
    let old = authority.issue_with(&["app.example"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let (reason, text) = fault_of(authority.trust(), &old, "app.example");
    assert_eq!(reason, TlsFaultReason::Expired);
    assert!(text.starts_with("the server's certificate expired ") && text.ends_with(" ago"), "{text}");
    let young = authority.issue_with(&["app.example"], |params| {
        params.not_before = rcgen::date_time_ymd(2200, 1, 1);
        params.not_after = rcgen::date_time_ymd(2201, 1, 1);
    });
    assert_eq!(fault_of(authority.trust(), &young, "app.example").0, TlsFaultReason::NotYetValid);
    let for_clients = authority.issue_with(&["app.example"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    assert_eq!(fault_of(authority.trust(), &for_clients, "app.example").0, TlsFaultReason::BadCertificate);
}

#[test]
fn a_listed_certificate_that_vouches_for_itself_is_taken_as_it_is() {
    let server = Issued::self_signed(&["app.example"]);
    let listed = || Trust::Listed(Authorities::read(server.chain.as_bytes()).unwrap());
    let client = ClientTls::new(&plan(listed()), &[]);
    assert!(handshake(&client, &Arc::new(server.server()), "app.example").is_ok());
    assert_eq!(fault(listed(), &server, "api.example").reason(), TlsFaultReason::WrongName);
    let other = Issued::self_signed(&["app.example"]);
    assert_eq!(fault(listed(), &other, "app.example").reason(), TlsFaultReason::UnknownIssuer);
}

#[test]
fn who_trusts_anybody_takes_any_certificate_for_any_name() {
    let server = Arc::new(Issued::self_signed(&["other.example"]).server());
    assert!(handshake(&ClientTls::new(&plan(Trust::Anybody), &[]), &server, "app.example").is_ok());
}

#[test]
fn a_server_that_wants_to_know_us_is_shown_our_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = Arc::new(authority.issue(&["app.example"]).server_for(&clients));
    let with = |certificate| {
        let plan = ClientTlsPlan { certificate, ..plan(authority.trust()) };
        handshake(&ClientTls::new(&plan, &[]), &server, "app.example")
    };
    assert!(with(Some(clients.issue(&["me.example"]).client())).is_ok());
    let faults = [None, Some(Authority::new().issue(&["me.example"]).client())].map(|certificate| {
        TlsFault::from(&with(certificate).expect_err("a certificate that is not taken")).reason()
    });
    assert_eq!(faults, [TlsFaultReason::CertificateRefused; 2]);
}

#[test]
fn sessions_are_taken_up_again_by_whom_they_belong_to_alone() {
    let authority = Authority::new();
    let server = Arc::new(authority.issue(&["app.example", "api.example"]).server());
    let client = ClientTls::new(&plan(authority.trust()), &[]);
    let kind = |client: &ClientTls, name| handshake(client, &server, name).unwrap().handshake_kind().unwrap();
    assert_eq!(kind(&client, "app.example"), HandshakeKind::Full);
    assert_eq!(kind(&client, "app.example"), HandshakeKind::Resumed);
    assert_eq!(kind(&client, "api.example"), HandshakeKind::Full, "another name is verified by itself");
    assert_eq!(kind(&client.offering(&[b"h2"]), "api.example"), HandshakeKind::Resumed);
    assert_eq!(kind(&client.for_another(), "api.example"), HandshakeKind::Full);
    assert_eq!(kind(&client.forgetful(), "api.example"), HandshakeKind::Full);
}

#[test]
fn only_the_configured_versions_are_offered() {
    let authority = Authority::new();
    let issued = authority.issue(&["app.example"]);
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider()));
    let old = builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap().with_no_client_auth();
    let old = Arc::new(issued.on(old));
    let speaks = |versions| {
        let plan = ClientTlsPlan { versions, ..plan(authority.trust()) };
        handshake(&ClientTls::new(&plan, &[]), &old, "app.example")
    };
    assert!(speaks(TlsVersions::Both).is_ok() && speaks(TlsVersions::Tls12).is_ok());
    let error = speaks(TlsVersions::Tls13).expect_err("a server of TLS 1.2");
    assert_eq!(TlsFault::from(&error).reason(), TlsFaultReason::Protocol);
}

#[test]
fn files_that_hold_something_else_are_refused_with_the_reason() {
    let authority = Authority::new();
    let (a, b) = (authority.issue(&["a.example"]), authority.issue(&["b.example"]));
    let read = |chain: &str, key: &str| ClientCertificate::read(chain.as_bytes(), key.as_bytes());
    assert!(read(&a.chain, &a.key).is_ok());
    assert_eq!(read(&a.chain, &b.key), Err(ClientCertificateError::Mismatch));
    assert_eq!(read(&a.key, &a.key), Err(ClientCertificateError::NoCertificate));
    assert_eq!(read(&a.chain, &a.chain), Err(ClientCertificateError::NoKey));
    assert_eq!(read("", ""), Err(ClientCertificateError::NoCertificate));
    let cut = a.chain.replace("-----END CERTIFICATE-----", "");
    assert!(matches!(read(&cut, &a.key), Err(ClientCertificateError::Damaged(_))));
    let nothing = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(Authorities::read(nothing.as_bytes()), Err(AuthoritiesError::Bad { place: 1, .. })));
}

#[test]
fn the_same_files_are_the_same_plan() {
    let authority = Authority::new();
    let (a, b) = (authority.issue(&["a.example"]), authority.issue(&["a.example"]));
    let plan =
        |issued: &Issued| ClientTlsPlan { certificate: Some(issued.client()), ..plan(authority.trust()) };
    assert_eq!(plan(&a), plan(&a));
    assert_ne!(plan(&a), plan(&b));
    assert!(!format!("{:?}", plan(&a)).contains("key"), "a key is never shown");
}
