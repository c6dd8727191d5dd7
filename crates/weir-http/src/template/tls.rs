use weir_net::tls::{ClientIdentity, TlsFacts};

/// A variable that stands for something of the TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsPiece {
    Version,
    Cipher,
    Certificate,
    Sni,
    Subject,
    Issuer,
    Names,
    Serial,
    Fingerprint,
}

impl TlsPiece {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Version, "tls_version"),
        (Self::Cipher, "tls_cipher"),
        (Self::Certificate, "tls_certificate"),
        (Self::Sni, "sni"),
        (Self::Subject, "client_cert_subject"),
        (Self::Issuer, "client_cert_issuer"),
        (Self::Names, "client_cert_names"),
        (Self::Serial, "client_cert_serial"),
        (Self::Fingerprint, "client_cert_fingerprint"),
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, other)| *other == name).map(|(piece, _)| *piece)
    }

    pub(super) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(piece, _)| *piece == self).map_or("", |(_, name)| name)
    }

    /// What it stands for; empty where the handshake has not told.
    pub(super) fn of(self, facts: &TlsFacts) -> &str {
        let of_client =
            |part: fn(&ClientIdentity) -> &str| facts.client.as_deref().map(part).unwrap_or_default();
        match self {
            Self::Version => facts.version,
            Self::Cipher => facts.cipher,
            Self::Certificate => facts.certificate.as_deref().unwrap_or_default(),
            Self::Sni => facts.sni.as_deref().unwrap_or_default(),
            Self::Subject => of_client(|client| &client.subject),
            Self::Issuer => of_client(|client| &client.issuer),
            Self::Names => of_client(|client| &client.alternative_names),
            Self::Serial => of_client(|client| &client.serial),
            Self::Fingerprint => of_client(|client| &client.fingerprint),
        }
    }
}
