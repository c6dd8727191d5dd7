use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The two ends of a connection; on a unix socket neither has an address.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ends {
    pub(crate) peer: Option<IpAddr>,
    pub(crate) local: Option<IpAddr>,
}

impl Ends {
    pub(crate) fn new(peer: IpAddr, local: IpAddr) -> Self {
        // An IPv4 peer on an IPv6 socket is the same peer.
        Self { peer: Some(peer.to_canonical()), local: Some(local.to_canonical()) }
    }

    /// Whom limits count this connection for.
    pub(crate) fn source(&self) -> Source {
        match self.peer {
            None => Source::Unix,
            Some(IpAddr::V4(address)) => Source::V4(address),
            Some(IpAddr::V6(address)) => Source::V6(u128::from(address) >> 64),
        }
    }

    /// Whether the peer is on this machine: a unix socket, loopback, or an address that is at both ends.
    pub(crate) fn is_within_the_machine(&self) -> bool {
        self.peer.is_none_or(|peer| peer.is_loopback() || self.local == Some(peer))
    }
}

/// Whom limits count together: one IPv4 address, one /64 of IPv6, of which a single host may have every address, or
/// everybody who may open the unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    V4(Ipv4Addr),
    /// The upper half of the address.
    V6(u128),
    Unix,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(network) => write!(f, "{}/64", Ipv6Addr::from(network << 64)),
            Self::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(peer: &str, local: &str) -> Ends {
        Ends::new(peer.parse().unwrap(), local.parse().unwrap())
    }

    #[test]
    fn a_source_is_an_ipv4_address_a_64_of_ipv6_or_the_unix_socket() {
        let text = |peer: &str| ends(peer, "::1").source().to_string();
        assert_eq!(text("192.0.2.1"), "192.0.2.1");
        assert_eq!(text("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(text("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(text("2001:db8:1:2::"), text("2001:db8:1:2:ffff::1"));
        assert_eq!(Ends::default().source().to_string(), "unix");
    }

    #[test]
    fn the_machine_itself_is_told_from_others() {
        for (peer, local) in
            [("127.0.0.1", "127.0.0.1"), ("127.9.9.9", "127.0.0.1"), ("::1", "::1"), ("10.0.0.5", "10.0.0.5")]
        {
            assert!(ends(peer, local).is_within_the_machine(), "{peer}");
        }
        assert!(Ends::default().is_within_the_machine());
        assert!(!ends("10.0.0.6", "10.0.0.5").is_within_the_machine());
    }
}
