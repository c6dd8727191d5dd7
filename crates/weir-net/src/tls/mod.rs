//! TLS on both sides: certificates by name and who may connect, what is said to servers and whom of them is believed.

pub mod certificates;
mod client;
mod client_auth;
mod digest;
mod name;
mod provider;
mod server;
mod spec;

pub use client::{
    Authorities, AuthoritiesError, ClientCertificate, ClientCertificateError, ClientTls, ClientTlsPlan,
    ClientVersions, NoRoots, TlsFault, TlsFaultReason, Trust, system_roots,
};
pub use client_auth::{ClientAuthMode, ClientIdentity};
pub use digest::Digest;
pub(crate) use provider::provider;
pub use server::{CertificateTally, Refresh, ServerTls, ServerTlsPlan, TlsVersion};
pub use spec::{ServerTlsContext, TLS};
