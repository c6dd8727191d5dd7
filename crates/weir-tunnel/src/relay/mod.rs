//! The end that agents dial: who they are, which sessions they have, and streams to them.

mod agent;
mod answer;
mod connect;
mod serve;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use weir_net::tls::Digest;
use weir_net::{ByteStream, TunnelRefusal, Tunnels};
use weir_wire::yamux::{Limits, Role, WindowBudget};

use crate::session::SessionEnd;
use agent::Agent;

pub use agent::{AgentPlan, OnDuplicate};
pub use connect::PROTOCOL;
pub use serve::{Place, serve};
pub use spec::TUNNEL;

/// The relay's settings, as checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayPlan {
    /// Who may connect.
    pub agents: Vec<AgentPlan>,
    /// How often an agent is asked for a sign of life; default 10 s.
    pub heartbeat: Duration,
    /// After how long without a byte an agent is offline; default 30 s, never where it is none.
    pub offline_after: Option<Duration>,
    /// After how long without progress in writing a session is given up; default 10 s.
    pub write_timeout: Duration,
    /// Which numbers we open streams with where the agent does not say; default the client's, odd ones.
    pub role: Role,
}

impl Default for RelayPlan {
    fn default() -> Self {
        Self {
            agents: Vec::new(),
            heartbeat: Duration::from_secs(10),
            offline_after: Some(Duration::from_secs(30)),
            write_timeout: Duration::from_secs(10),
            role: Role::Client,
        }
    }
}

/// How long a session that is no longer wanted may take to finish its streams.
const LEAVE: Duration = Duration::from_secs(10);

/// Streams of one session, and what its windows may take beyond 256 KiB each.
const LIMITS: Limits = Limits { streams_max: 4_096, accepted_max: 0, window_bytes_max: 16 << 20 };

/// What the windows of all sessions may take beyond 256 KiB a stream.
const WINDOWS_BYTES_MAX: u64 = 256 << 20;

/// The relay of a process, for all reloads.
#[derive(Debug)]
pub struct Relay {
    known: RwLock<Known>,
    budget: Arc<WindowBudget>,
    is_draining: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    plan: RelayPlan,
    by_name: BTreeMap<Arc<str>, Arc<Agent>>,
    by_token: HashMap<Digest, Arc<Agent>>,
}

/// What `/relay/status` and the admin API show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Agents that may connect.
    pub agents: usize,
    /// Those of them with a session.
    pub online: usize,
    /// Their sessions.
    pub sessions: usize,
    /// Streams of all sessions.
    pub streams: usize,
    /// Whether no more agents are taken.
    pub is_draining: bool,
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            known: RwLock::default(),
            budget: Arc::new(WindowBudget::new(WINDOWS_BYTES_MAX)),
            is_draining: AtomicBool::new(false),
        }
    }
}

impl Relay {
    /// A relay that knows no agent yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Takes new settings to heart: agents that are known under the same name and token keep their sessions, those of
    /// others end.
    pub fn configure(&self, plan: &RelayPlan) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut former = std::mem::take(&mut known.by_name);
        known.by_token.clear();
        for line in &plan.agents {
            let agent = match former.remove(&line.name) {
                Some(same) if same.plan().token == line.token => {
                    same.set_plan(line.clone());
                    same
                }
                other => {
                    if let Some(other) = other {
                        former.insert(Arc::clone(&line.name), other);
                    }
                    Arc::new(Agent::new(line.clone()))
                }
            };
            known.by_token.insert(line.token, Arc::clone(&agent));
            known.by_name.insert(Arc::clone(&line.name), agent);
        }
        known.plan = plan.clone();
        drop(known);
        for agent in former.values() {
            agent.end_all(|| SessionEnd::Revoked);
        }
    }

    /// Takes no more agents, and lets the sessions finish.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        let agents: Vec<_> = self.known().by_name.values().cloned().collect();
        for agent in agents {
            agent.end_all(|| SessionEnd::Draining);
        }
    }

    /// What it has at this moment.
    pub fn status(&self) -> Status {
        let known = self.known();
        let mut status = Status {
            agents: known.by_name.len(),
            online: 0,
            sessions: 0,
            streams: 0,
            is_draining: self.is_draining.load(Ordering::Relaxed),
        };
        for agent in known.by_name.values() {
            let (sessions, streams) = agent.load();
            status.online += usize::from(sessions > 0);
            status.sessions += sessions;
            status.streams += streams;
        }
        status
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tunnels for Relay {
    fn open(&self, agent: &str) -> Result<Box<dyn ByteStream>, TunnelRefusal> {
        let agent = self.known().by_name.get(agent).cloned().ok_or(TunnelRefusal::Unknown)?;
        agent.open().map(|stream| Box::new(stream) as Box<dyn ByteStream>)
    }
}
