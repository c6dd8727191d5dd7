use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_net::TunnelRefusal;
use weir_net::tls::Digest;

use super::LEAVE;
use crate::session::{OpenRefusal, Session, SessionEnd, TunnelStream};

/// One agent, as checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPlan {
    /// What endpoints call it.
    pub name: Arc<str>,
    /// The hash of its token; the token itself is not kept.
    pub token: Digest,
    /// What becomes of a second session.
    pub on_duplicate: OnDuplicate,
}

/// What becomes of a session when the same agent connects once more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// The new one takes over: the old one takes no more streams and finishes those it has.
    #[default]
    Replace,
    /// The new one is refused.
    Reject,
    /// Both serve, in turn.
    Pool,
}

/// Sessions of one agent at a time, where they are pooled.
const POOL_MAX: usize = 64;

/// An agent with its sessions.
#[derive(Debug)]
pub(super) struct Agent(Mutex<State>);

#[derive(Debug)]
struct State {
    plan: AgentPlan,
    /// Goes up with each session, so that a late end of an old one takes nothing from a new one.
    generation: u64,
    sessions: Vec<(u64, Session)>,
    turn: usize,
}

/// Why a session is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It has one already, or as many as it may.
    Already,
}

impl Agent {
    pub(super) const fn new(plan: AgentPlan) -> Self {
        Self(Mutex::new(State { plan, generation: 0, sessions: Vec::new(), turn: 0 }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each critical section leaves whole data behind, whatever happens.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn plan(&self) -> AgentPlan {
        self.state().plan.clone()
    }

    pub(super) fn set_plan(&self, plan: AgentPlan) {
        self.state().plan = plan;
    }

    /// Whether another session would be taken at this moment, so that an agent is refused before the upgrade.
    pub(super) fn admits(&self) -> Result<(), Taken> {
        let mut state = self.state();
        state.sessions.retain(|(_, session)| session.is_open());
        match state.plan.on_duplicate {
            OnDuplicate::Replace => Ok(()),
            OnDuplicate::Reject if state.sessions.is_empty() => Ok(()),
            OnDuplicate::Pool if state.sessions.len() < POOL_MAX => Ok(()),
            OnDuplicate::Reject | OnDuplicate::Pool => Err(Taken::Already),
        }
    }

    /// Takes a session; new streams go to it from here on. Returns its generation.
    pub(super) fn enter(&self, session: Session) -> u64 {
        let mut state = self.state();
        state.generation += 1;
        let generation = state.generation;
        let former = match state.plan.on_duplicate {
            OnDuplicate::Pool => Vec::new(),
            OnDuplicate::Replace | OnDuplicate::Reject => std::mem::take(&mut state.sessions),
        };
        state.sessions.push((generation, session));
        drop(state);
        for (_, session) in former {
            session.leave(SessionEnd::Replaced, LEAVE);
        }
        generation
    }

    /// A session has ended.
    pub(super) fn exit(&self, generation: u64) {
        self.state().sessions.retain(|(other, _)| *other != generation);
    }

    pub(super) fn end_all(&self, end: impl Fn() -> SessionEnd) {
        let sessions = std::mem::take(&mut self.state().sessions);
        for (_, session) in sessions {
            session.leave(end(), LEAVE);
        }
    }

    /// Its sessions and their streams.
    pub(super) fn load(&self) -> (usize, usize) {
        let state = self.state();
        (state.sessions.len(), state.sessions.iter().map(|(_, session)| session.streams()).sum())
    }

    /// A stream over one of its sessions, in turn.
    pub(super) fn open(&self) -> Result<TunnelStream, TunnelRefusal> {
        let mut state = self.state();
        let count = state.sessions.len();
        let mut refusal = TunnelRefusal::Offline;
        for _ in 0..count {
            state.turn = (state.turn + 1) % count;
            match state.sessions[state.turn].1.open() {
                Ok(stream) => return Ok(stream),
                Err(OpenRefusal::Full) => refusal = TunnelRefusal::Full,
                Err(OpenRefusal::Ending) => {}
            }
        }
        Err(refusal)
    }
}
