use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use weir_net::tls::{Alpn, ClientStream};

use super::Fault;
use crate::link::Link;
use crate::{Address, Endpoint};

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Whom a check asks, and how it is spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) address: Address,
    /// What the `Host` field says unless the check does.
    pub(crate) host: Arc<str>,
    pub(crate) link: Arc<Link>,
}

impl Asked {
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        Self {
            address: endpoint.address().clone(),
            host: Arc::clone(endpoint.host()),
            link: Arc::clone(&endpoint.link),
        }
    }

    /// Whether this is how the endpoint is asked.
    pub(crate) fn is(&self, endpoint: &Endpoint) -> bool {
        self.host == *endpoint.host() && Arc::ptr_eq(&self.link, &endpoint.link)
    }

    /// As it stands in the target of a request.
    pub(super) fn scheme(&self) -> &'static str {
        if self.link.secured().is_some() { "https" } else { "http" }
    }

    /// Connects, TLS included where the endpoint is spoken to by it, with these protocols offered; says which one was
    /// agreed on. A check never uses a pooled connection, nor a session of an earlier one: whether new ones are accepted
    /// is part of the question, and the certificate is looked at each time.
    pub(super) async fn connect(&self, alpn: &[&[u8]]) -> Result<(Box<dyn Stream>, Option<Alpn>), Fault> {
        let refused = |error: io::Error| Fault::early(format!("cannot connect: {error}"));
        let stream: Box<dyn Stream> = match &self.address {
            Address::Tcp(address) => Box::new(TcpStream::connect(address).await.map_err(refused)?),
            Address::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(refused)?),
            // `check` refuses active checks of agents.
            Address::Tunnel(_) => return Err(Fault::early("an agent is not checked")),
        };
        let Some(secured) = self.link.secured() else { return Ok((stream, None)) };
        let tls = secured.tls.forgetful().offering(alpn);
        let stream = ClientStream::connect(stream, &tls, secured.name.clone()).await;
        let stream = stream.map_err(|fault| Fault::early(format!("no TLS: {fault}")))?;
        let agreed = stream.alpn();
        Ok((Box::new(stream), agreed))
    }

    /// Connects to speak HTTP/2: by prior knowledge without TLS, agreed on by ALPN with it.
    pub(super) async fn connect_http2(&self) -> Result<Box<dyn Stream>, Fault> {
        let (stream, agreed) = self.connect(&[b"h2"]).await?;
        if self.link.secured().is_some() && agreed != Some(Alpn::H2) {
            return Err(Fault::early("no TLS: the server does not offer HTTP/2"));
        }
        Ok(stream)
    }
}
