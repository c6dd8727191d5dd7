//! The admin address: health, metrics, status, reload, and the operator's word on endpoints.
//!
//! What it shows and does is behind [`Gateway`]; here is who may ask and how. It reads HTTP with the same strict
//! parser as the listeners, so that a malformed request gets a registered error here too. Refused before anything
//! is looked at: a `Host` that is not one of its names (a page that rebinds its name to loopback), an `Origin` that
//! is not its own, a missing token. Only POST changes anything. Every answer says that it is not to be sniffed,
//! framed, run or stored.
//!
//! Limits: [`CONNECTIONS_MAX`] connections, [`CONNECTIONS_PER_SOURCE_MAX`] of one source (one more takes the place of who
//! has waited the longest, of the source that holds the most), [`HEAD_BYTES_MAX`] a head within [`HEAD_TIMEOUT`],
//! [`BODY_BYTES_MAX`] a body within [`BODY_TIMEOUT`], [`WORKS_MAX`] pieces of work at a time within [`HANDLE_TIMEOUT`]
//! each, [`WRITE_TIMEOUT`] for a reader that is slow, [`ANSWER_BYTES_MAX`] of answers that wait to be read,
//! [`TOKEN_FAILURES_MAX`] wrong tokens of one source in [`LOCKOUT_WINDOW`]. A panic in the gateway's part is a 500 and
//! nothing else.

mod answer;
mod connection;
mod gateway;
mod guard;
mod handle;
mod lockout;
mod places;
mod resource;
mod server;
mod source;
mod stats;

pub use connection::{BODY_BYTES_MAX, BODY_TIMEOUT, HEAD_BYTES_MAX, HEAD_TIMEOUT, WRITE_TIMEOUT};
pub use gateway::{EndpointOrder, Gateway, Readiness, ReloadAnswer, ReloadRejected, UnknownEndpoint};
pub use guard::Guard;
pub use handle::{HANDLE_TIMEOUT, READY_TIMEOUT, WORKS_MAX};
pub use lockout::{
    LOCKOUT_REPORTS_MAX, LOCKOUT_SOURCES_MAX, LOCKOUT_WINDOW, TOKEN_FAILURES_MAX, TokenRefused,
};
pub use places::{ANSWER_BYTES_MAX, CONNECTIONS_MAX, CONNECTIONS_PER_SOURCE_MAX};
pub use server::{Server, StartError};
pub use stats::Stats;

#[cfg(test)]
mod tests;
