//! The server side of a connection, from accept to close.

mod closing;
mod h1;
mod h2;
mod proxy_header;
mod tls;

pub use h1::serve;
pub(crate) use h2::Http2Stats;
