//! The server side of a connection, from accept to close.

mod h1;

pub use h1::serve;
