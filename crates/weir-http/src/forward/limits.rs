use std::time::{Duration, Instant};

use weir_upstream::UpstreamPlan;
use weir_wire::http1::HeadLimits;

use super::ForwardError;
use crate::plane::Plane;

/// The clocks of an attempt.
pub(crate) struct Limits {
    pub(super) connect: Duration,
    pub(super) response: Duration,
    pub(super) body_idle: Duration,
    pub(super) upstream_idle: Duration,
    pub(super) stream_idle: Duration,
    pub(super) upgrade_idle: Duration,
    pub(super) total: Option<Instant>,
    pub(super) head: HeadLimits,
}

impl Limits {
    /// `is_stream` where pauses belong to the protocol, as in gRPC.
    pub(crate) fn new(plan: &UpstreamPlan, plane: &Plane, total: Option<Instant>, is_stream: bool) -> Self {
        let idle = |usual| if is_stream { plane.timeouts.stream_idle } else { usual };
        Self {
            connect: plan.connect_timeout,
            response: plan.response_timeout,
            body_idle: idle(plane.timeouts.body_idle),
            upstream_idle: idle(plan.idle_timeout),
            stream_idle: plane.timeouts.stream_idle,
            upgrade_idle: plane.timeouts.upgrade_idle,
            total,
            head: HeadLimits { bytes: plane.limits.header_bytes, fields: plane.limits.headers },
        }
    }

    /// How long the next step may take within the whole.
    pub(super) fn within(&self, limit: Duration, now: Instant) -> Duration {
        self.total.map_or(limit, |total| limit.min(total.saturating_duration_since(now)))
    }

    /// Which timeout it was: the step's own, or the whole request's.
    pub(super) fn expired(&self, step: ForwardError) -> ForwardError {
        if self.total.is_some_and(|total| Instant::now() >= total) {
            ForwardError::TotalTimeout
        } else {
            step
        }
    }
}
