//! The stream plane: TCP connections and UDP sessions, relayed to endpoints without looking inside.
//!
//! A connection passes `tcp::serve` → `opening` (PROXY header, ClientHello) → `connect` (an endpoint, the next one
//! where it cannot be reached) → `relay`. Everything it needs of the configuration is in one immutable [`StreamPlane`],
//! which it lets go of once it is relayed. What is read ahead is at most one buffer; what is relayed at most one
//! buffer or pipe a direction.
//!
//! UDP sessions of a listener and worker are one task, `udp::serve`: a bounded table of them, each with a connected socket,
//! and datagrams that pass through one batch of the worker. What waits for an endpoint is bounded by session (16 datagrams,
//! 64 KiB) and by listener and worker (4 MiB).

mod end;
mod plan;
mod plane;
mod spec;
mod stats;
pub mod tcp;
pub mod udp;
mod worker;

pub use plan::*;
pub use plane::{StreamListenerPlan, StreamPlane, StreamPlanePlan, Takes};
pub use spec::{Decoded, TCP, TCP_ROUTE, UDP, UpstreamRef};
pub use worker::StreamWorker;
