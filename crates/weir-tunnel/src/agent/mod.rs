//! The end that dials out: sessions to a relay, and its streams joined to a service nearby.

mod connect;
mod run;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use connect::{ConnectError, RelayUrl, RelayUrlError};
pub use run::run;

/// What an agent does.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// Where the relay is.
    pub relay: RelayUrl,
    /// Who the agent is.
    pub token: String,
    /// Where its streams go.
    pub to: Service,
}

/// A service nearby, that streams are joined to as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// At an address.
    Tcp(SocketAddr),
    /// At a name and a port, looked up for each stream.
    Name(String),
    /// At a unix socket.
    Unix(PathBuf),
}

/// The first pause between attempts; it doubles up to [`PAUSE_MAX`], each drawn anew from zero to there.
const PAUSE: Duration = Duration::from_millis(250);

/// The longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A session that lived so long was a good one: the next pause is the first again.
const HEALTHY: Duration = Duration::from_secs(30);
