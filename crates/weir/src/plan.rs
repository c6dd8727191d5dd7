//! What a configuration means: references resolved, defaults in, values that cannot be wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use weir_http::{Limits, PolicyPlan, RedirectPlan, RespondPlan, Timeouts, TrustedProxies};
use weir_net::BindAddress;
use weir_telemetry::{AccessSettings, Format, Level};
use weir_upstream::UpstreamPlan;

/// A whole configuration, checked.
#[derive(Debug)]
pub(crate) struct RootPlan {
    /// Worker threads; one per core unless given. A change needs a restart.
    pub workers: usize,
    /// Whose forwarding fields are believed.
    pub trusted_proxies: TrustedProxies,
    /// `timeouts`.
    pub timeouts: Timeouts,
    /// `limits`; `connections` is settled when the descriptor limit is known.
    pub limits: LimitsPlan,
    /// By name.
    pub listeners: BTreeMap<Arc<str>, ListenerPlan>,
    /// In the order of the files; the order means nothing.
    pub routes: Vec<RoutePlan>,
    /// By name.
    pub upstreams: BTreeMap<Arc<str>, UpstreamPlan>,
    /// None for `admin: off`.
    pub admin: Option<AdminPlan>,
    /// `log`.
    pub log: LogPlan,
    /// Whether a change of the files reloads them.
    pub watch: bool,
    /// Every file that was read, and the folders that `include` patterns look into, for watching.
    pub files: Vec<PathBuf>,
    /// What is allowed but should not stay so: development secrets and the like, one sentence each.
    pub warnings: Vec<String>,
}

/// `limits` as checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LimitsPlan {
    /// All but `connections`, which is the default there.
    pub base: Limits,
    /// Open client connections; what the descriptor limit allows unless given.
    pub connections: Option<u32>,
}

/// One listener as checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerPlan {
    /// At least one address.
    pub bind: Vec<BindAddress>,
    /// The mode of unix sockets.
    pub unix_mode: u32,
    /// Whether paths are normalised.
    pub normalize_path: bool,
}

/// One route as checked.
#[derive(Debug)]
pub(crate) struct RoutePlan {
    /// Given, or made of its place: `routes[3]`.
    pub name: Arc<str>,
    /// Where it was written: `file:line`.
    pub place: String,
    /// One rule for each combination of host and path patterns; ids are filled in when the table is compiled.
    pub rules: Vec<weir_route::Rule>,
    /// Names of the listeners it is restricted to; empty for all. Ids are filled in when they are known.
    pub listeners: Vec<Arc<str>>,
    /// In the order of the request phase.
    pub policies: Vec<PolicyPlan>,
    /// What is done in the end.
    pub action: ActionPlan,
    /// For the whole request, retries included.
    pub timeout: Option<Duration>,
}

/// A route's action as checked.
#[derive(Debug)]
pub(crate) enum ActionPlan {
    /// Names of upstreams that exist, with weights that sum to at least one.
    Forward(Vec<(Arc<str>, u32)>),
    /// To another place.
    Redirect(RedirectPlan),
    /// An answer of the gateway's own.
    Respond(RespondPlan),
}

/// `admin` as checked.
#[derive(Debug, Clone)]
pub(crate) struct AdminPlan {
    /// Loopback unless there is a token.
    pub bind: BindAddress,
    /// Host names that are answered beside loopback and the bind address.
    pub hosts: Vec<String>,
    /// The bearer token, if one is needed.
    pub token: Option<weir_config::Secret>,
    /// The mode of a unix socket.
    pub unix_mode: u32,
}

/// `log` as checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogPlan {
    /// The least level of events that are written.
    pub level: Level,
    /// How events and access lines are written.
    pub format: Format,
    /// What the lines call this service.
    pub service_name: String,
    /// The access log.
    pub access: AccessSettings,
}

impl Default for LogPlan {
    fn default() -> Self {
        Self {
            level: Level::Info,
            format: Format::Json,
            service_name: "weir".to_owned(),
            access: AccessSettings::default(),
        }
    }
}
