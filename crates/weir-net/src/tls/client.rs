use std::sync::Arc;

/// How TLS is spoken to an upstream; immutable, shared by its connections.
#[derive(Debug, Clone)]
pub struct ClientTls {
    /// What rustls needs: roots, versions, protocols, a certificate of our own, sessions to resume.
    pub config: Arc<rustls::ClientConfig>,
}
