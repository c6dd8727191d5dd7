//! Asking endpoints from time to time whether they are well.

mod http;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::io;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::{ActivePlan, Address, CheckPlan};

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

/// Checks an endpoint once, within `plan.timeout` for all of it. `host` is what the `Host` field says unless the plan
/// does.
pub(crate) async fn check(address: &Address, host: &str, plan: &ActivePlan) -> CheckResult {
    let began = Instant::now();
    let mut unexpected = 0;
    let asked = async {
        match &plan.check {
            CheckPlan::Tcp => tcp::ask(address).await.map(|()| None),
            CheckPlan::Http(http) => http::ask(address, host, http).await.map(Some),
            CheckPlan::Udp(udp) => udp::ask(address, udp, &mut unexpected).await.map(|()| None),
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

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects. A check never uses a pooled connection: whether new ones are accepted is part of the question.
async fn dial(address: &Address) -> Result<Box<dyn Stream>, Fault> {
    let refused = |error: io::Error| Fault::early(format!("cannot connect: {error}"));
    Ok(match address {
        Address::Tcp(address) => Box::new(TcpStream::connect(address).await.map_err(refused)?),
        Address::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(refused)?),
        Address::Tunnel(_) => return Err(Fault::early("an agent is not checked")),
    })
}
