use std::sync::Arc;

use weir_net::WorkerShared;
use weir_telemetry::{Level, Log, Value};

use crate::HealthChange;

/// What [`Upkeep`](crate::Upkeep) tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An endpoint was brought up or taken out.
    Endpoint(HealthChange),
    /// Look-ups of a name began to fail, or succeed again.
    Name(NameChange),
}

/// Look-ups of a name began to fail, or succeed again; told once for each change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameChange {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// `HOST:PORT`, as endpoints are written.
    pub name: String,
    /// Why look-ups fail; `None` where they succeed again.
    pub fault: Option<String>,
}

impl Change {
    /// Tells the operator, and the connections that care.
    pub fn tell(&self, shared: &WorkerShared) {
        match self {
            Self::Endpoint(change) => change.tell(shared),
            Self::Name(change) => change.log(&shared.log),
        }
    }
}

impl NameChange {
    fn log(&self, log: &Log) {
        let (upstream, name) = (("upstream", Value::Str(&self.upstream)), ("name", Value::Str(&self.name)));
        match &self.fault {
            Some(fault) => {
                log.event(Level::Warn, "lookup_failed", &[upstream, name, ("error", Value::Str(fault))]);
            }
            None => log.event(Level::Info, "lookup_recovered", &[upstream, name]),
        }
    }
}
