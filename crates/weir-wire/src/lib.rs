//! Protocol state machines without sockets: bytes come in and go out as slices, time is never read.
//!
//! Every parser here is strict, bounded and total: any input gives a value or a typed error, never a
//! panic, and never more memory than its limits name. HTTP/1.1 (RFC 9110, RFC 9112) is in [`http1`],
//! the PROXY protocol in [`proxy_protocol`], the first message of TLS in [`client_hello`], a meter of HTTP/2's frames in
//! [`h2_meter`], the framing of gRPC-Web in [`grpc_web`], gRPC's question after health in [`grpc_health`]; what a tunnel speaks is in [`websocket`] and
//! [`yamux`].

pub mod client_hello;
pub mod grpc_health;
pub mod grpc_web;
pub mod h2_meter;
pub mod http1;
pub mod proxy_protocol;
pub mod websocket;
pub mod yamux;
