//! Asking endpoints from time to time whether they are well.

mod connect;
mod grpc;
mod http;
mod http2;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::time::{Duration, Instant, SystemTime};

pub(crate) use connect::Asked;

use crate::{ActivePlan, CheckPlan};

/// What servers see in their logs, as other checkers announce themselves too.
const USER_AGENT: &str = concat!("Weir-HealthChecker/", env!("CARGO_PKG_VERSION"));

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

/// Why a check failed, and how far it came.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    status: Option<u16>,
    reason: String,
}

impl Fault {
    /// Before there was a status.
    fn early(reason: impl Into<String>) -> Self {
        Self { status: None, reason: reason.into() }
    }
}

/// Checks an endpoint once, within `plan.timeout` for all of it.
pub(crate) async fn check(endpoint: &Asked, plan: &ActivePlan) -> CheckResult {
    let began = Instant::now();
    let mut unexpected = 0;
    let asked = async {
        match &plan.check {
            CheckPlan::Tcp => tcp::ask(endpoint).await.map(|()| None),
            CheckPlan::Http(http) => http::ask(endpoint, http).await.map(Some),
            CheckPlan::Grpc(grpc) => grpc::ask(endpoint, grpc).await.map(|()| None),
            CheckPlan::Udp(udp) => udp::ask(&endpoint.address, udp, &mut unexpected).await.map(|()| None),
        }
    };
    let outcome = match tokio::time::timeout(plan.timeout, asked).await {
        Ok(outcome) => outcome,
        Err(_) if unexpected > 0 => {
            let text =
                format!("none of {unexpected} answers within {:?} holds what is expected", plan.timeout);
            Err(Fault::early(text))
        }
        Err(_) => Err(Fault::early(format!("no answer within {:?}", plan.timeout))),
    };
    let (status, fault) = match outcome {
        Ok(status) => (status, None),
        Err(fault) => (fault.status, Some(fault.reason)),
    };
    CheckResult { at: SystemTime::now(), took: began.elapsed(), status, fault }
}
