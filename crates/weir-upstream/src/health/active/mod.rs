//! Asking endpoints from time to time whether they are well.

use std::time::{Duration, SystemTime};

/// How one active check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// The status that was answered, for a check by HTTP.
    pub status: Option<u16>,
    /// Why it failed; `None` is good.
    pub fault: Option<String>,
}
