//! Actions: what a route does with a request in the end. Forwarding has a house of its own, `forward`.

mod forward;
mod redirect;
mod respond;

use std::sync::Arc;

pub use forward::{SHARE, Share, decode_forward};
pub use redirect::{REDIRECT, RedirectPlan};
pub use respond::{RESPOND, RespondPlan};
use weir_upstream::Upstream;

/// A route's action as checked.
pub enum ActionPlan {
    /// To an upstream, or to several by weight.
    Forward(SplitPlan),
    /// To another place.
    Redirect(RedirectPlan),
    /// An answer of the gateway's own.
    Respond(RespondPlan),
}

/// Upstreams by weight.
pub struct SplitPlan {
    /// At least one; weights sum to at least one.
    pub shares: Vec<(Arc<Upstream>, u32)>,
}

/// A route's action as it runs.
pub enum Action {
    /// To an upstream.
    Forward(Split),
    /// To another place.
    Redirect(RedirectPlan),
    /// An answer of the gateway's own.
    Respond(RespondPlan),
}

/// Upstreams by weight, as it runs.
pub struct Split {
    shares: Box<[(Arc<Upstream>, u32)]>,
    total: u32,
}

impl ActionPlan {
    pub(crate) fn compile(self) -> Action {
        match self {
            Self::Forward(plan) => {
                let total = plan.shares.iter().map(|(_, weight)| weight).sum();
                Action::Forward(Split { shares: plan.shares.into(), total })
            }
            Self::Redirect(plan) => Action::Redirect(plan),
            Self::Respond(plan) => Action::Respond(plan),
        }
    }
}

impl Action {
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = (&Arc<Upstream>, u32)> {
        let shares = match self {
            Self::Forward(split) => &split.shares[..],
            Self::Redirect(_) | Self::Respond(_) => &[],
        };
        shares.iter().map(|(upstream, weight)| (upstream, *weight))
    }
}

impl Split {
    /// The upstream for this draw of a random number.
    #[inline]
    pub(crate) fn draw(&self, random: u64) -> &Arc<Upstream> {
        if self.shares.len() > 1 && self.total > 0 {
            let mut at = (random % u64::from(self.total)) as u32;
            for (upstream, weight) in &self.shares {
                if at < *weight {
                    return upstream;
                }
                at -= weight;
            }
        }
        &self.shares[0].0
    }
}
