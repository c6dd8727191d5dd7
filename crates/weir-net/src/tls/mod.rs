//! TLS on both sides: certificates by name and who may connect, what is said to servers and whom of them is believed,
//! handshakes, and the byte stream that they make of a socket.
//!
//! rustls is driven through its unbuffered interface: what comes is decrypted where it was read, and a connection that
//! waits holds no buffer, only the bytes of a record that has not come whole. Refused are hellos that are not whole within
//! 16 KiB, handshakes that take longer than their time, and more of them at once than `limits.tls_handshakes`.

mod accept;
pub mod certificates;
mod client;
mod client_auth;
mod connect;
mod digest;
mod facts;
mod failure;
mod handshake;
mod handshakes;
mod name;
mod provider;
mod served;
mod server;
mod session;
mod spec;
mod stats;
mod stream;
#[cfg(test)]
mod tests;
mod version;

pub use accept::{Incoming, accept};
pub use client::{
    Authorities, AuthoritiesError, ClientCertificate, ClientCertificateError, ClientStream, ClientTls,
    ClientTlsPlan, NoRoots, TlsFault, TlsFaultReason, Trust, system_roots,
};
pub use client_auth::{ClientAuthMode, ClientIdentity};
pub use connect::connect;
pub use digest::Digest;
pub use facts::{Alpn, TlsFacts};
pub use failure::{FailureReason, Refused, TlsFailure};
pub use handshakes::{HANDSHAKES_MAX_DEFAULT, Handshakes};
pub(crate) use provider::provider;
pub use server::{CertificateTally, Refresh, ServerTls, ServerTlsPlan};
pub use spec::{ServerTlsContext, TLS};
pub use stats::TlsStats;
pub use stream::TlsStream;
pub use version::TlsVersions;
