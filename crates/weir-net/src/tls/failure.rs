use std::io;

use rustls::{AlertDescription, Error, PeerIncompatible};

use crate::Socket;

/// Why there is no TLS on a connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsFailure {
    /// The handshake took longer than it may.
    #[error("the handshake was not over in time")]
    TimedOut,
    /// The peer closed the connection within the handshake, or before it.
    #[error("the peer closed the connection within the handshake")]
    Closed,
    /// The connection failed.
    #[error(transparent)]
    Io(io::Error),
    /// The client began with a request of HTTP/1.
    #[error("the client speaks HTTP without TLS")]
    PlainHttp,
    /// The client speaks something else.
    #[error("the client does not speak TLS")]
    NotTls,
    /// The peer has sent more than a handshake needs.
    #[error("the handshake is longer than it may be")]
    TooLong,
    /// The peers do not agree, or one of them breaks the rules.
    #[error(transparent)]
    Protocol(Error),
    /// Too many handshakes were under way, and this was the oldest; or its descriptor was needed.
    #[error("it was given up for another one, as too many handshakes or connections were open")]
    GivenUp,
    /// The process stops; says nothing about the peer.
    #[error("the gateway stops before the handshake is over")]
    Stopping,
}

/// A connection whose handshake has failed: the client was told why, where there is an alert for it.
#[derive(Debug)]
pub struct Refused {
    /// Why it has failed.
    pub failure: TlsFailure,
    /// The connection, without TLS.
    pub socket: Socket,
}

/// Why handshakes fail: the words used in logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureReason {
    /// It took too long.
    Timeout,
    /// The peer closed or reset the connection.
    ClientGone,
    /// What came was HTTP without TLS.
    PlainHttp,
    /// What came was something else.
    NotTls,
    /// What came was longer than it may be.
    TooLong,
    /// There is no version that both sides speak.
    Version,
    /// There is no cipher suite, group or signature that both sides know.
    Cipher,
    /// There is no protocol that both sides speak.
    Alpn,
    /// There is no certificate for the client.
    NoCertificate,
    /// The client shows no certificate, where one is required.
    ClientCertificateMissing,
    /// The client's certificate is not to be trusted.
    ClientCertificateRefused,
    /// The client does not trust our certificate.
    OurCertificateRefused,
    /// The client gave up with another alert.
    Alert,
    /// The client broke the rules.
    Malformed,
    /// It was given up for another one.
    GivenUp,
    /// The process stops.
    Stopping,
    /// Something that should not happen.
    Internal,
}

impl FailureReason {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Timeout,
        Self::ClientGone,
        Self::PlainHttp,
        Self::NotTls,
        Self::TooLong,
        Self::Version,
        Self::Cipher,
        Self::Alpn,
        Self::NoCertificate,
        Self::ClientCertificateMissing,
        Self::ClientCertificateRefused,
        Self::OurCertificateRefused,
        Self::Alert,
        Self::Malformed,
        Self::GivenUp,
        Self::Stopping,
        Self::Internal,
    ];

    /// The word used in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::ClientGone => "client_gone",
            Self::PlainHttp => "plain_http",
            Self::NotTls => "not_tls",
            Self::TooLong => "too_long",
            Self::Version => "version",
            Self::Cipher => "cipher",
            Self::Alpn => "alpn",
            Self::NoCertificate => "no_certificate",
            Self::ClientCertificateMissing => "client_certificate_missing",
            Self::ClientCertificateRefused => "client_certificate_refused",
            Self::OurCertificateRefused => "our_certificate_refused",
            Self::Alert => "alert",
            Self::Malformed => "malformed",
            Self::GivenUp => "given_up",
            Self::Stopping => "stopping",
            Self::Internal => "internal",
        }
    }

    /// Whether somebody should look at it: what a client does not support, or we do not offer, may be a fault of the
    /// configuration. Who leaves, dawdles or speaks something else is the daily business of an open port.
    pub const fn matters(self) -> bool {
        matches!(
            self,
            Self::Version
                | Self::Cipher
                | Self::NoCertificate
                | Self::ClientCertificateRefused
                | Self::OurCertificateRefused
                | Self::GivenUp
                | Self::Internal
        )
    }
}

impl TlsFailure {
    /// What a server says about it.
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::TimedOut => FailureReason::Timeout,
            Self::Closed | Self::Io(_) => FailureReason::ClientGone,
            Self::PlainHttp => FailureReason::PlainHttp,
            Self::NotTls => FailureReason::NotTls,
            Self::TooLong => FailureReason::TooLong,
            Self::Protocol(error) => reason(error),
            Self::GivenUp => FailureReason::GivenUp,
            Self::Stopping => FailureReason::Stopping,
        }
    }
}

fn reason(error: &Error) -> FailureReason {
    match error {
        Error::PeerIncompatible(why) => match why {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // What every client says that knows TLS 1.2; it is looked for before the version.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired => FailureReason::Version,
            _ => FailureReason::Cipher,
        },
        Error::NoApplicationProtocol => FailureReason::Alpn,
        Error::NoCertificatesPresented => FailureReason::ClientCertificateMissing,
        Error::InvalidCertificate(_) => FailureReason::ClientCertificateRefused,
        // What rustls says where the resolver knows no certificate.
        Error::General(why) if why.contains("no server certificate chain") => FailureReason::NoCertificate,
        Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA,
        ) => FailureReason::OurCertificateRefused,
        Error::AlertReceived(_) => FailureReason::Alert,
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::InvalidMessage(_)
        | Error::DecryptError
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord => FailureReason::Malformed,
        _ => FailureReason::Internal,
    }
}
