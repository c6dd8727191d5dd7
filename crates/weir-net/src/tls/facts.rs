use std::sync::Arc;

use rustls::{CipherSuite, CommonState, HandshakeKind, ProtocolVersion};

use weir_telemetry::TlsRecord;

use super::ClientIdentity;

/// What a handshake has settled.
#[derive(Debug, Clone)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, by its name in the registry of IANA.
    pub cipher: &'static str,
    /// The group of the key exchange; empty where there was none, as when a session of TLS 1.2 was resumed.
    pub group: &'static str,
    /// The name that the client asked for, in lower case; none where it named none.
    pub sni: Option<Box<str>>,
    /// The protocol that both sides have agreed on.
    pub alpn: Option<Alpn>,
    /// The same, by its name in ALPN.
    pub alpn_name: Option<Box<[u8]>>,
    /// What the certificate that was served is called; none on the client's side.
    pub certificate: Option<Arc<str>>,
    /// Whether the server asks its clients for certificates.
    pub asks_for_client: bool,
    /// Who the client has proved to be; none where it was not asked, or has shown no certificate.
    pub client: Option<Arc<ClientIdentity>>,
    /// Whether an earlier session went on.
    pub resumed: bool,
}

/// A protocol that is spoken over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// `http/1.1`, or `http/1.0`.
    Http11,
    /// `h2`.
    H2,
    /// Another one.
    Other,
}

impl Alpn {
    /// The protocol of that name.
    pub fn from_bytes(name: &[u8]) -> Self {
        match name {
            b"http/1.1" | b"http/1.0" => Self::Http11,
            b"h2" => Self::H2,
            _ => Self::Other,
        }
    }
}

impl TlsFacts {
    /// What an access line says of it.
    pub fn record(&self) -> TlsRecord<'_> {
        let client = self.client.as_deref();
        TlsRecord {
            version: self.version,
            cipher: self.cipher,
            sni: self.sni.as_deref().unwrap_or_default(),
            certificate: self.certificate.as_deref().unwrap_or_default(),
            client_subject: client.map_or("", |client| &client.subject),
            client_fingerprint: client.map_or("", |client| &client.fingerprint),
        }
    }

    /// What a finished handshake has settled, but for what only its side knows.
    pub(super) fn of(state: &CommonState) -> Self {
        Self {
            version: match state.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: state.negotiated_cipher_suite().map_or("", |suite| cipher_name(suite.suite())),
            group: state
                .negotiated_key_exchange_group()
                .and_then(|group| group.name().as_str())
                .unwrap_or_default(),
            sni: None,
            alpn: state.alpn_protocol().map(Alpn::from_bytes),
            alpn_name: state.alpn_protocol().map(Box::from),
            certificate: None,
            asks_for_client: false,
            client: None,
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

/// The name in the registry; rustls has its own for the suites of TLS 1.3.
fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        suite => suite.as_str().unwrap_or_default(),
    }
}
