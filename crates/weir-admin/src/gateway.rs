use std::future::Future;
use std::pin::Pin;

use serde_json::Value;

use crate::TokenRefused;

/// What the admin address shows and asks of the process around it.
///
/// All but [`reload`](Self::reload) and [`token_refused`](Self::token_refused) run on the blocking pool: they may take
/// locks and be slow, and a panic in one is answered with 500.
pub trait Gateway: Send + Sync + 'static {
    /// Whether traffic is wanted, and what that depends on.
    fn readiness(&self) -> Readiness;

    /// The listeners, upstreams and stores with their states, for `/healthz?deep=true`.
    fn health(&self) -> Value;

    /// An object with at least a numeric `revision`.
    fn status(&self) -> Value;

    /// The configuration that is served, secrets starred.
    fn config(&self) -> Value;

    /// The routes.
    fn routes(&self) -> Value;

    /// The upstreams with their endpoints.
    fn upstreams(&self) -> Value;

    /// The certificates of each listener, those that end first.
    fn certificates(&self) -> Value;

    /// All metrics in the Prometheus text format 0.0.4.
    fn metrics(&self) -> String;

    /// Reads the configuration again and answers with the new revision. Runs to its end even when the asker is gone.
    fn reload(&self) -> ReloadAnswer;

    /// Which route a request would take and why; nothing is sent.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with the question.
    fn explain(&self, question: &Value) -> Result<Value, String>;

    /// Puts the operator's word above the health checks.
    ///
    /// # Errors
    ///
    /// [`UnknownEndpoint`], also where the upstream is unknown.
    fn set_endpoint(
        &self,
        upstream: &str,
        address: &str,
        order: EndpointOrder,
    ) -> Result<(), UnknownEndpoint>;

    /// Logs that somebody presented a wrong token. Must not wait; called
    /// [`LOCKOUT_REPORTS_MAX`](crate::LOCKOUT_REPORTS_MAX) times a minute at most.
    fn token_refused(&self, refused: &TokenRefused);
}

/// The answer to [`Gateway::reload`], to be awaited.
pub type ReloadAnswer = Pin<Box<dyn Future<Output = Result<u64, ReloadRejected>> + Send>>;

/// Whether the gateway wants traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Started, not draining, a listener up, every required dependency up.
    pub up: bool,
    /// Names of what is required, and whether each is up.
    pub dependencies: Vec<(String, bool)>,
}

/// A configuration that was not taken; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadRejected {
    /// For people: every problem with its place.
    pub text: String,
    /// For programs: the same as a list.
    pub problems: Value,
}

/// What an operator asks of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointOrder {
    /// No new requests; what runs is finished.
    Drain,
    /// No new requests, as if a check had failed.
    Down,
    /// The checks decide again.
    Up,
}

impl EndpointOrder {
    /// `drain`, `down` or `up`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Down => "down",
            Self::Up => "up",
        }
    }

    pub(crate) fn of(word: &str) -> Option<Self> {
        [Self::Drain, Self::Down, Self::Up].into_iter().find(|order| order.as_str() == word)
    }
}

/// No upstream of that name has an endpoint at that address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such upstream or endpoint")]
pub struct UnknownEndpoint;
