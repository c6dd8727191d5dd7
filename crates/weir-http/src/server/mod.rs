//! The server side of a connection, from accept to close.

mod h1;
mod proxy_header;
mod tls;

pub use h1::serve;
