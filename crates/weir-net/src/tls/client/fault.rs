use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error};
use weir_base::format_duration;

/// Why a server and we do not speak TLS with each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct TlsFault {
    reason: TlsFaultReason,
    text: String,
}

/// What kind of fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFaultReason {
    /// The certificate's time is over.
    Expired,
    /// The certificate's time has not begun.
    NotYetValid,
    /// Nobody who is trusted vouches for the certificate.
    UnknownIssuer,
    /// The certificate is for other names.
    WrongName,
    /// The certificate cannot be used for another reason.
    BadCertificate,
    /// The server does not take our certificate, or wants one and we have none.
    CertificateRefused,
    /// The server refused for another reason that it told.
    Refused,
    /// There is no version, suite or application protocol that both speak.
    Protocol,
    /// What came is no TLS.
    NotTls,
    /// The server closed the connection or broke it off.
    Closed,
}

impl TlsFaultReason {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Expired,
        Self::NotYetValid,
        Self::UnknownIssuer,
        Self::WrongName,
        Self::BadCertificate,
        Self::CertificateRefused,
        Self::Refused,
        Self::Protocol,
        Self::NotTls,
        Self::Closed,
    ];

    /// A sentence that tells a client no more than it may know.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Expired => "The upstream's certificate has expired",
            Self::NotYetValid => "The upstream's certificate is not valid yet",
            Self::UnknownIssuer => "The upstream's certificate comes from an unknown issuer",
            Self::WrongName => "The upstream's certificate is for another name",
            Self::BadCertificate => "The upstream's certificate cannot be used",
            Self::CertificateRefused => "The upstream does not take the gateway's certificate",
            Self::Refused => "The upstream refused the TLS connection",
            Self::Protocol => "The upstream and the gateway have no TLS protocol in common",
            Self::NotTls => "The upstream does not answer in TLS",
            Self::Closed => "The upstream closed the connection within the TLS handshake",
        }
    }

    /// The word used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownIssuer => "unknown_issuer",
            Self::WrongName => "wrong_name",
            Self::BadCertificate => "bad_certificate",
            Self::CertificateRefused => "certificate_refused",
            Self::Refused => "refused",
            Self::Protocol => "protocol",
            Self::NotTls => "not_tls",
            Self::Closed => "closed",
        }
    }
}

impl TlsFault {
    /// What kind of fault it is.
    pub const fn reason(&self) -> TlsFaultReason {
        self.reason
    }

    /// The fault of TLS that an error of reading or writing holds; `None` where the connection itself failed.
    pub fn within(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Error>().map(Self::from)
    }

    /// The server closed the connection before the handshake was over.
    pub fn closed() -> Self {
        Self::new(TlsFaultReason::Closed, "the server closed the connection within the handshake")
    }

    /// The server has agreed on no protocol, or on one that was not offered.
    pub fn no_protocol() -> Self {
        Self::new(TlsFaultReason::Protocol, "the server speaks none of the offered protocols")
    }

    /// What came is no handshake.
    pub fn not_tls() -> Self {
        Self::new(TlsFaultReason::NotTls, "the server's answer is no TLS")
    }

    fn new(reason: TlsFaultReason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }
}

impl From<&io::Error> for TlsFault {
    /// Of an error that ended a handshake.
    fn from(error: &io::Error) -> Self {
        Self::within(error).unwrap_or_else(|| match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::closed(),
            _ => {
                let text = format!("the connection broke within the handshake: {error}");
                Self::new(TlsFaultReason::Closed, text)
            }
        })
    }
}

impl From<&Error> for TlsFault {
    fn from(error: &Error) -> Self {
        use TlsFaultReason as Reason;
        match error {
            Error::InvalidCertificate(error) => certificate(error),
            Error::AlertReceived(alert) => refused(*alert),
            Error::PeerIncompatible(why) => {
                Self::new(Reason::Protocol, format!("the server speaks TLS that we do not: {why:?}"))
            }
            Error::NoApplicationProtocol => Self::no_protocol(),
            Error::NoCertificatesPresented => {
                Self::new(Reason::BadCertificate, "the server showed no certificate")
            }
            Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => Self::not_tls(),
            error => Self::new(Reason::Protocol, format!("the server broke the protocol: {error}")),
        }
    }
}

fn certificate(error: &CertificateError) -> TlsFault {
    use TlsFaultReason as Reason;
    let distance = |from: u64, to: u64| format_duration(Duration::from_secs(to.saturating_sub(from)));
    match error {
        CertificateError::ExpiredContext { time, not_after } => {
            let since = distance(not_after.as_secs(), time.as_secs());
            TlsFault::new(Reason::Expired, format!("the server's certificate expired {since} ago"))
        }
        CertificateError::Expired => {
            TlsFault::new(Reason::Expired, "the server's certificate, or an authority's, has expired")
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let until = distance(time.as_secs(), not_before.as_secs());
            let text = format!("the server's certificate is not valid before {until} from now");
            TlsFault::new(Reason::NotYetValid, text)
        }
        CertificateError::NotValidYet => {
            TlsFault::new(Reason::NotYetValid, "the server's certificate is not valid yet")
        }
        CertificateError::UnknownIssuer => TlsFault::new(
            Reason::UnknownIssuer,
            "no trusted authority vouches for the server's certificate (unknown issuer)",
        ),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = names(presented);
            let text = format!("the server's certificate is for {names}, not for `{}`", expected.to_str());
            TlsFault::new(Reason::WrongName, text)
        }
        CertificateError::NotValidForName => {
            TlsFault::new(Reason::WrongName, "the server's certificate is for another name")
        }
        error => {
            TlsFault::new(Reason::BadCertificate, format!("the server's certificate cannot be used: {error}"))
        }
    }
}

/// Names of a certificate that are told; more are counted.
const NAMES_TOLD_MAX: usize = 4;

fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "no name at all".to_owned();
    }
    // rustls writes `DnsName("a.example")` and `IpAddress(…)`.
    let name = |name: &String| match name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')) {
        Some(inner) => format!("`{}`", inner.trim_matches('"')),
        None => format!("`{name}`"),
    };
    let told: Vec<String> = presented.iter().take(NAMES_TOLD_MAX).map(name).collect();
    match presented.len().saturating_sub(NAMES_TOLD_MAX) {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}

fn refused(alert: AlertDescription) -> TlsFault {
    use AlertDescription as Alert;
    use TlsFaultReason as Reason;
    match alert {
        Alert::CertificateRequired => {
            TlsFault::new(Reason::CertificateRefused, "the server wants a client certificate")
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => TlsFault::new(
            Reason::CertificateRefused,
            format!("the server does not take our certificate: {alert:?}"),
        ),
        Alert::ProtocolVersion | Alert::InsufficientSecurity | Alert::NoApplicationProtocol => {
            TlsFault::new(Reason::Protocol, format!("the server refuses what we offer: {alert:?}"))
        }
        Alert::UnrecognisedName => TlsFault::new(Reason::Refused, "the server does not know the name"),
        alert => TlsFault::new(Reason::Refused, format!("the server refuses: {alert:?}")),
    }
}
