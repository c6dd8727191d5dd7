use std::net::IpAddr;

use ipnet::IpNet;

/// The networks whose word on the client's address is believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// These networks; none means that nobody is believed.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// The networks.
    pub fn networks(&self) -> &[IpNet] {
        &self.0
    }

    /// Whether this peer is believed.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        // An IPv4 peer on an IPv6 socket is the same peer.
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Whether connections begin with a PROXY header; it is read from trusted peers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyProtocol {
    /// Never read; a header is data like any other.
    #[default]
    Off,
    /// Read where a trusted peer sends one.
    Accepted,
    /// Only trusted peers may connect, and each connection must begin with one.
    Required,
}

/// A listener takes connections from trusted proxies alone, and this peer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAProxy;

impl ProxyProtocol {
    /// What to expect of a connection from `peer`: [`Self::Off`] where its word would not be believed.
    ///
    /// # Errors
    ///
    /// [`NotAProxy`] where only trusted peers may connect.
    pub fn expected(self, peer: Option<IpAddr>, trusted: &TrustedProxies) -> Result<Self, NotAProxy> {
        match self {
            Self::Off => Ok(Self::Off),
            expected if peer.is_some_and(|peer| trusted.contains(peer)) => Ok(expected),
            Self::Accepted => Ok(Self::Off),
            Self::Required => Err(NotAProxy),
        }
    }
}
