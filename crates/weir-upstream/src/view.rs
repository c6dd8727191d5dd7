use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_base::Percent;

use crate::balancer::{Balancer, Candidates, Carry, Kind, Member};
use crate::health::Standing;
use crate::{Endpoint, EndpointState, Lease, PickError, PickRequest, Tried};

/// How long the view of a long list is good enough although something changed, for each of its endpoints: building it
/// takes about a tenth of that, and when thousands change one after the other nobody is to build it thousands of times.
const REST: Duration = Duration::from_micros(1);

/// Shorter lists are built anew at every change.
const SHORT: usize = 512;

/// The endpoints with the weights that hold now, ready to be picked from; replaced when something changes.
pub(crate) struct View {
    pub(crate) endpoints: Arc<[Arc<Endpoint>]>,
    /// The state of the health of all when this was built.
    pub(crate) version: u64,
    /// When it changes by itself: a pause ends, a ramp rises.
    pub(crate) holds_until: Option<Instant>,
    /// Until when changes may wait.
    rests_until: Option<Instant>,
    primaries: Group,
    backups: Group,
    pub(crate) is_panic: bool,
    /// Endpoints that take requests by their own health, not by panic.
    pub(crate) available: u16,
    /// Names of the endpoints whose pause was found to be over when this was built.
    pub(crate) returned: Vec<Arc<str>>,
}

/// What a view is built from besides the endpoints.
pub(crate) struct Rules<'a> {
    pub(crate) kind: &'static Kind,
    pub(crate) slow_start: Option<Duration>,
    pub(crate) panic_threshold: Percent,
    pub(crate) carry: &'a [Carry; 2],
}

impl View {
    pub(crate) fn new(
        endpoints: &Arc<[Arc<Endpoint>]>,
        rules: &Rules<'_>,
        version: u64,
        now: Instant,
    ) -> Self {
        let mut returned = Vec::new();
        let settle = |endpoint: &Arc<Endpoint>| {
            let (standing, change) = endpoint.vitals.settle(now, rules.slow_start);
            if matches!(change, Some((_, EndpointState::Up))) {
                returned.push(Arc::clone(endpoint.label()));
            }
            standing
        };
        let standings: Vec<Standing> = endpoints.iter().map(settle).collect();
        let all = || endpoints.iter().zip(&standings);
        let primaries = Share::of(all().filter(|(endpoint, _)| !endpoint.is_backup()));
        let backups = Share::of(all().filter(|(endpoint, _)| endpoint.is_backup()));
        // Backups that are well are better than primaries that are not.
        let is_panic =
            primaries.is_below(rules.panic_threshold) && (primaries.available > 0 || backups.available == 0);
        let group = |backup: bool| {
            let members = all()
                .filter(|(endpoint, _)| endpoint.is_backup() == backup)
                .map(|(endpoint, standing)| member(endpoint, standing, is_panic));
            Group::new(members.collect(), rules.kind, &rules.carry[usize::from(backup)])
        };
        Self {
            endpoints: Arc::clone(endpoints),
            version,
            holds_until: standings.iter().filter_map(|standing| standing.holds_until).min(),
            rests_until: (endpoints.len() > SHORT).then(|| now + REST * endpoints.len() as u32),
            primaries: group(false),
            backups: group(true),
            is_panic,
            available: primaries.available + backups.available,
            returned,
        }
    }

    /// Whether it still says how things are, or well enough.
    pub(crate) fn holds(&self, version: u64, now: Instant) -> bool {
        (self.version == version && self.holds_until.is_none_or(|until| now < until))
            || self.rests_until.is_some_and(|until| now < until)
    }

    /// Chooses an endpoint and takes a slot of it: among the primaries, or among the backups if every available primary
    /// has been tried or none is available.
    pub(crate) fn pick(&self, request: &PickRequest, tried: &Tried) -> Result<Lease, PickError> {
        match self.primaries.pick(request, tried, self.is_panic) {
            Some(lease) => Ok(lease),
            None => self.pick_backup(request, tried),
        }
    }

    #[cold]
    fn pick_backup(&self, request: &PickRequest, tried: &Tried) -> Result<Lease, PickError> {
        let primaries = self.primaries.miss(tried);
        if matches!(primaries, Miss::Busy) {
            return Err(PickError::Busy);
        }
        if let Some(lease) = self.backups.pick(request, tried, self.is_panic) {
            return Ok(lease);
        }
        Err(match (primaries, self.backups.miss(tried)) {
            (_, Miss::Busy) => PickError::Busy,
            (Miss::NoneAvailable, Miss::NoneAvailable) => self.no_endpoint(),
            _ => PickError::AllTried,
        })
    }

    fn no_endpoint(&self) -> PickError {
        let total = u16::try_from(self.endpoints.len()).unwrap_or(u16::MAX);
        PickError::NoEndpoint { blocked: total.saturating_sub(self.available), total }
    }

    /// By endpoint id, the weight in hundredths that it has now; 0 takes no requests.
    pub(crate) fn weights(&self) -> HashMap<u32, u32> {
        let members = self.primaries.members.iter().chain(&self.backups.members);
        members.map(|member| (member.endpoint.id(), member.weight)).collect()
    }
}

fn member(endpoint: &Arc<Endpoint>, standing: &Standing, is_panic: bool) -> Member {
    let takes_requests = match standing.state {
        EndpointState::Up => true,
        EndpointState::CheckFailed | EndpointState::Ejected => is_panic,
        EndpointState::Drained | EndpointState::SwitchedOff => false,
    };
    let weight = if takes_requests { u32::from(endpoint.weight()) * standing.share } else { 0 };
    Member { endpoint: Arc::clone(endpoint), weight }
}

/// How many of a group are available. Endpoints that an operator or weight 0 keeps out count neither way.
struct Share {
    available: u16,
    total: u16,
}

impl Share {
    fn of<'a>(group: impl Iterator<Item = (&'a Arc<Endpoint>, &'a Standing)>) -> Self {
        let mut share = Self { available: 0, total: 0 };
        for (endpoint, standing) in group {
            if endpoint.weight() > 0 && !standing.state.is_by_operator() {
                share.total += 1;
                share.available += u16::from(standing.state == EndpointState::Up);
            }
        }
        share
    }

    fn is_below(&self, threshold: Percent) -> bool {
        u32::from(self.available) * 10_000 < u32::from(threshold.basis_points()) * u32::from(self.total)
    }
}

/// Why a group has nobody to give.
enum Miss {
    NoneAvailable,
    AllTried,
    Busy,
}

/// The primaries or the backups.
struct Group {
    members: Box<[Member]>,
    balancer: Box<dyn Balancer>,
}

impl Group {
    fn new(members: Box<[Member]>, kind: &'static Kind, carry: &Carry) -> Self {
        let balancer = kind.build(&members, carry);
        Self { members, balancer }
    }

    #[inline]
    fn pick(&self, request: &PickRequest, tried: &Tried, panic: bool) -> Option<Lease> {
        let candidates = Candidates { members: &self.members, tried };
        // Another worker may take the last slot between the choice and the taking: choose again, boundedly.
        for _ in 0..=self.members.len() {
            let index = self.balancer.pick(&candidates, request)?;
            if let Some(lease) = Lease::take(&self.members[index].endpoint, panic) {
                return Some(lease);
            }
        }
        None
    }

    fn miss(&self, tried: &Tried) -> Miss {
        let mut available = self.members.iter().filter(|member| member.weight > 0).peekable();
        if available.peek().is_none() {
            Miss::NoneAvailable
        } else if available.all(|member| tried.contains(member.endpoint.id())) {
            Miss::AllTried
        } else {
            Miss::Busy
        }
    }
}
