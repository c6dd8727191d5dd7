//! The HTTP plane: connections, the pipeline of a request, forwarding, policies and actions.
//!
//! A request passes `server` → `pipeline` → `policy` → `action` or `forward` and back. Everything it needs of
//! the configuration is in one immutable [`Plane`]; everything that a worker owns is in its [`Worker`]. Bodies
//! stream with back-pressure through one buffer a direction; heads, fields, retries and replays are bounded by
//! the plane's limits.

mod action;
mod connection;
mod exchange;
mod filter;
mod former;
mod forward;
mod https;
mod pipeline;
mod plane;
mod policy;
mod reject;
mod server;
mod shared;
mod spec;
mod stats;
mod template;
mod trailers;
mod transfer;
mod trust;
mod vary;
mod wire;
mod worker;

pub use action::{
    Action, ActionPlan, REDIRECT, RESPOND, RedirectPlan, RespondPlan, SHARE, Share, SplitPlan, decode_forward,
};
pub use former::FormerPlanes;
pub use https::{HSTS_KEY, HttpsPlan, HttpsRedirect, REDIRECT_HTTPS_KEY};
pub use plane::{Http2, Limits, ListenerPlan, Plane, PlanePlan, Route, RoutePlan, Timeouts, Versions};
pub use policy::{
    BodyLimitPlan, Coding, CompressPlan, CorsPlan, FieldChanges, Flow, Granted, GrpcWebPlan, HeadersPlan,
    HostRewrite, IpRule, IpRulesPlan, Levels, MediaPattern, OriginPattern, Origins, PathRewrite, Policy,
    PolicyPlan, RewritePlan, SecurityHeadersPlan, SecurityPreset, StatusPlan, WebSocketOriginsPlan,
    policy_kinds,
};
pub use reject::Reject;
pub use server::serve;
pub use spec::{Scope, network};
pub use stats::{HttpStats, RouteStats};
pub use template::{Template, TemplateError, VARIABLES};
pub use trailers::{TrailerRule, Trailers};
pub use worker::{HttpShared, HttpWorker};
