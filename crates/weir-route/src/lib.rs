//! Host and path matching: built once, looked up without allocating.
//!
//! Requests are matched in one normal form, which is also what is forwarded ([`normalize`], [`normalize_host`]).
//! What has no safe normal form is refused with a typed error. Patterns are parsed into values that cannot be wrong.

mod host;
mod path;
mod pattern;

pub use host::{HOST_BYTES_MAX, Host, HostError, normalize_host};
pub use path::{PathError, normalize};
pub use pattern::{
    EXPRESSION_BYTES_MAX, Expression, HostPattern, Method, PARAMS_MAX, PathPattern, PatternError,
    PatternErrorKind, SEGMENTS_MAX, Segment,
};
