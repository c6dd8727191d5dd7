//! The admin address: health, metrics, status, reload, and the operator's word on endpoints.
//!
//! What it shows and does is behind [`Gateway`]; here is who may ask and how. It reads HTTP with the same strict
//! parser as the listeners, so that a malformed request gets a registered error here too. Refused before anything
//! is looked at: a `Host` that is not one of its names (a page that rebinds its name to loopback), an `Origin` that
//! is not its own, a missing token. Only POST changes anything. Every answer says that it is not to be sniffed,
//! framed, run or stored.
//!
//! Limits: [`CONNECTIONS_MAX`] connections (later ones wait in the kernel's queue), [`HEAD_BYTES_MAX`] a head within
//! [`HEAD_TIMEOUT`], [`BODY_BYTES_MAX`] a body within [`BODY_TIMEOUT`], [`HANDLE_TIMEOUT`] for the work,
//! [`WRITE_TIMEOUT`] for a reader that is slow. A panic in the gateway's part is a 500 and nothing else.

mod answer;
mod connection;
mod gateway;
mod guard;
mod handle;
mod resource;
mod server;

pub use connection::{BODY_BYTES_MAX, BODY_TIMEOUT, HEAD_BYTES_MAX, HEAD_TIMEOUT, WRITE_TIMEOUT};
pub use gateway::{EndpointOrder, Gateway, Readiness, ReloadAnswer, ReloadRejected, UnknownEndpoint};
pub use guard::Guard;
pub use handle::{HANDLE_TIMEOUT, READY_TIMEOUT};
pub use server::{CONNECTIONS_MAX, Server, StartError};

#[cfg(test)]
mod tests;
