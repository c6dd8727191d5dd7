use std::sync::Arc;
use std::time::Duration;

/// How a listener speaks TLS; immutable, shared by its connections.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// What rustls needs: certificates, versions, protocols, tickets.
    ///
    /// Sessions are resumed within one configuration alone, so no two listeners may share one whose clients prove
    /// themselves differently.
    pub config: Arc<rustls::ServerConfig>,
    /// Longest time from the first wait for a hello to the end of the handshake. 100 ms to 5 min; default 10 s.
    pub handshake_timeout: Duration,
    /// Whether clients are asked for certificates.
    pub asks_for_certificates: bool,
}

/// The default of [`ServerTls::handshake_timeout`].
pub const HANDSHAKE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
