//! TLS: what is said to servers, and whom of them is believed.

mod client;
mod provider;

pub use client::{
    Authorities, AuthoritiesError, ClientCertificate, ClientCertificateError, ClientTls, ClientTlsPlan,
    ClientVersions, NoRoots, TlsFault, TlsFaultReason, Trust, system_roots,
};
pub(crate) use provider::provider;
