use rustls::{SupportedProtocolVersion, version};
use weir_config::{Section, Shape};

/// The versions of TLS that are served, or offered to servers; never none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersions {
    /// TLS 1.2 alone.
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
    /// Both.
    #[default]
    Both,
}

impl TlsVersions {
    /// How they are written.
    pub const SHAPE: Shape = Shape::OneOrMany(&Shape::Enum(&["1.2", "1.3"]));

    /// Reads the key `versions`, both where it is not there.
    pub fn decode(section: &Section) -> Self {
        let lists = |version| section.texts("versions").any(|(text, _)| text == version);
        match (lists("1.2"), lists("1.3")) {
            (true, false) => Self::Tls12,
            (false, true) => Self::Tls13,
            (true, true) | (false, false) => Self::Both,
        }
    }

    /// As they are written in a configuration, the oldest first.
    pub const fn as_strs(self) -> &'static [&'static str] {
        match self {
            Self::Tls12 => &["1.2"],
            Self::Tls13 => &["1.3"],
            Self::Both => &["1.2", "1.3"],
        }
    }

    pub(super) fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        static OLD: [&SupportedProtocolVersion; 1] = [&version::TLS12];
        static NEW: [&SupportedProtocolVersion; 1] = [&version::TLS13];
        match self {
            Self::Tls12 => &OLD,
            Self::Tls13 => &NEW,
            Self::Both => rustls::ALL_VERSIONS,
        }
    }
}
