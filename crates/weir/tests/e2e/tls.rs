//! What the modules about TLS share: a listener with a certificate, and a client that sees each byte and alert.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion,
};
use weir_testkit::Certificate;

/// The `tls` line of a listener with this certificate, and more keys in flow style.
pub(crate) fn tls_with(certificate: &Certificate, keys: &str) -> String {
    let (file, key) = (certificate.file(), certificate.key());
    format!("tls: {{ certificates: [{{ cert: {}, key: {} }}]{keys} }}", file.display(), key.display())
}

/// The same with nothing but its certificate.
pub(crate) fn tls(certificate: &Certificate) -> String {
    tls_with(certificate, "")
}

/// Takes any certificate: whose it is, other tests ask.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client's settings; sessions are remembered by those that share them.
pub(crate) fn settings(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .expect("the provider has suites for it")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    Arc::new(config)
}

/// A client whose handshake is done.
pub(crate) struct TlsClient {
    pub(crate) session: ClientConnection,
    pub(crate) socket: TcpStream,
}

impl TlsClient {
    /// Connects with TLS 1.3.
    pub(crate) fn connect(addr: SocketAddr, name: &str) -> Self {
        let socket = TcpStream::connect(addr).expect("the listener accepts");
        Self::try_connect(socket, name, &settings(&rustls::version::TLS13)).expect("a handshake")
    }

    /// Shakes hands on this socket.
    pub(crate) fn try_connect(
        mut socket: TcpStream,
        name: &str,
        settings: &Arc<ClientConfig>,
    ) -> io::Result<Self> {
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        let name = ServerName::try_from(name.to_owned()).expect("a host name");
        let mut session = ClientConnection::new(Arc::clone(settings), name).expect("whole settings");
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self { session, socket })
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        rustls::Stream::new(&mut self.session, &mut self.socket)
            .write_all(bytes.as_ref())
            .expect("the gateway reads");
    }

    /// Says that nothing more will come, and leaves the other direction open.
    pub(crate) fn half_close(&mut self) {
        self.session.send_close_notify();
        while self.session.wants_write() {
            self.session.write_tls(&mut self.socket).expect("the gateway reads");
        }
    }

    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        rustls::Stream::new(&mut self.session, &mut self.socket)
            .read_exact(&mut bytes)
            .expect("the gateway answers");
        bytes
    }

    /// Everything until the end; an error where that came without a word.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        rustls::Stream::new(&mut self.session, &mut self.socket).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Asks for a path, and reads what comes until an empty line and `length` more bytes.
    pub(crate) fn get(&mut self, host: &str, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.response()
    }

    pub(crate) fn response(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.exactly(1));
        }
        let mut text = String::from_utf8(head).expect("a head is text");
        let length = text.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")
                .map(|length| length.parse().expect("a length is a number"))
        });
        text.push_str(&String::from_utf8(self.exactly(length.unwrap_or(0))).expect("a body of text"));
        text
    }
}
