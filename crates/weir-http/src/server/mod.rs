//! The server side of a connection, from accept to close.

mod h1;
mod proxy_header;

pub use h1::serve;
