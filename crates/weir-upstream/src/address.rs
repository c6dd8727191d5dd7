use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Where an endpoint listens.
///
/// Written `10.0.0.1:8080`, `[::1]:8080`, `unix:/run/app.sock` or `tunnel:NAME`; the written form is also the endpoint's name in
/// logs, metrics and the admin API.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a unix stream socket.
    Unix(PathBuf),
    /// The name of an agent that has dialled in.
    Tunnel(Arc<str>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tunnel(agent) => write!(f, "tunnel:{agent}"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_as_they_are_written() {
        let tcp: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(Address::from(tcp).to_string(), "[::1]:80");
        assert_eq!(Address::Unix("/run/app.sock".into()).to_string(), "unix:/run/app.sock");
    }
}
