//! TLS clients of the benches.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use clap::ValueEnum;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How keys are exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    X25519,
    X25519mlkem768,
}

/// A client that trusts this authority, takes TLS 1.3 alone and resumes nothing; offers `group` alone where there is one.
pub(crate) fn client(authority: &Path, group: Option<Group>) -> anyhow::Result<Arc<ClientConfig>> {
    let mut provider = default_provider();
    provider.kx_groups = match group {
        Some(Group::X25519) => vec![kx_group::X25519],
        Some(Group::X25519mlkem768) => vec![kx_group::X25519MLKEM768],
        None => provider.kx_groups,
    };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).context("cannot read the authority")?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(provider));
    let config = config.with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A connection over `stream`; the handshake happens with the first use.
pub(crate) fn connect(
    stream: TcpStream,
    config: Arc<ClientConfig>,
) -> anyhow::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from("bench.example")?;
    Ok(StreamOwned::new(ClientConnection::new(config, name)?, stream))
}

/// A connection with TLS or without.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(room),
            Self::Tls(stream) => stream.read(room),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
