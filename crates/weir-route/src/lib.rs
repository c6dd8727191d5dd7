//! Host and path matching: built once, looked up without allocating.
//!
//! Requests are matched in one normal form, which is also what is forwarded ([`normalize_path`], [`normalize_host`]).
//! What has no safe normal form is refused with a typed error. Patterns are parsed into values that cannot be wrong.

mod accept;
mod explain;
mod hash;
mod host;
mod path;
mod pattern;
mod problem;
mod request;
mod rule;
mod table;
mod trie;

pub use accept::{ACCEPT_ITEMS_MAX, read_weight};
pub use explain::{Advantage, Explanation, NEAR_MISSES_MAX, NearMiss, PathKind, Rank, Reason, Winner};
pub use host::{HOST_BYTES_MAX, Host, HostError, normalize_host};
pub use path::{EncodedSlashes, PathError, PathRules, normalize_path};
pub use pattern::{
    EXPRESSION_BYTES_MAX, Expression, HostPattern, MediaRange, Method, PARAMS_MAX, PathPattern, PatternError,
    PatternErrorKind, SEGMENTS_MAX, Segment,
};
pub use problem::RuleProblem;
pub use request::{FieldLookup, Params, RequestView};
pub use rule::{Rule, ValueTest};
pub use table::{Refusal, RouteTable};
