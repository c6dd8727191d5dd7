//! TLS: handshakes on either side, and the byte stream that they make of a socket.
//!
//! rustls is driven through its unbuffered interface: what comes is decrypted where it was read, and a connection that
//! waits holds no buffer, only the bytes of a record that has not come whole. Refused are hellos that are not whole within 16 KiB,
//! handshakes that take longer than their time, and more of them at once than `limits.tls_handshakes`.

mod accept;
mod client;
mod connect;
mod facts;
mod failure;
mod handshake;
mod handshakes;
mod provider;
mod served;
mod server;
mod session;
mod stats;
mod stream;
#[cfg(test)]
mod tests;

pub use accept::{Incoming, accept};
pub use client::{
    Authorities, AuthoritiesError, ClientCertificate, ClientCertificateError, ClientTls, ClientTlsPlan,
    ClientVersions, NoRoots, TlsFault, TlsFaultReason, Trust, system_roots,
};
pub use connect::connect;
pub use facts::{Alpn, ClientIdentity, TlsFacts};
pub use failure::{FailureReason, TlsFailure};
pub use handshakes::{HANDSHAKES_MAX_DEFAULT, Handshakes};
pub(crate) use provider::provider;
pub use served::serve_certificate;
pub use server::{HANDSHAKE_TIMEOUT_DEFAULT, ServerTls};
pub use stats::TlsStats;
pub use stream::TlsStream;
