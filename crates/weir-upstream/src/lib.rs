//! Endpoints: which one gets the next request, whether it is well, and what idle connections to it are kept.
//!
//! An [`Upstream`] is compiled from an [`UpstreamPlan`] and the upstream it replaces, whose health, counters,
//! requests in flight and queue it carries over by address. [`Upstream::pick`] chooses without waiting;
//! [`Upstream::acquire`] also waits, first come first served, while every endpoint is at its cap. What is chosen is
//! held as a [`Lease`], which counts as one request in flight until it is dropped.
//!
//! Health is judged by plain state machines that are told the time and the results. [`Upkeep`] runs the checks and the
//! name look-ups that feed them, beside the requests.
//!
//! Limits: 65,535 endpoints an upstream, 256 addresses a DNS name, [`CHECKS_MAX`] checks at a time; the queue, the pools
//! and the retries have theirs in the plan. A pick allocates nothing, except the first one after the set of available
//! endpoints changed.

mod address;
pub mod balancer;
mod dial;
mod endpoint;
mod health;
mod lease;
mod link;
mod names;
mod pick;
mod plan;
pub mod pool;
mod queue;
mod retry_budget;
mod roster;
mod spec;
pub mod status;
mod tls_tally;
mod upkeep;
mod upstream;
mod view;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use address::Address;
pub use balancer::hash_bytes;
pub use dial::{Dial, DialError, Speaks, dial};
pub use endpoint::{Endpoint, FailureKind};
pub use health::{AdminState, CheckResult, EndpointState, HealthChange};
pub use lease::Lease;
pub use link::LinkId;
pub use pick::{Outcome, PickError, PickRequest, Tried};
pub use plan::*;
pub use pool::Pool;
pub use retry_budget::RetryBudget;
pub use spec::{ENDPOINT, HEALTH, TLS, UPSTREAM};
pub use tls_tally::TlsStatus;
pub use upkeep::{CHECKS_MAX, Change, NameChange, Upkeep};
pub use upstream::{UnknownEndpoint, Upstream};

/// Locks; a panic elsewhere while holding the lock does not spread, as every guarded value is consistent between
/// its statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
