use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::balancer::Carry;
use crate::balancer::hash::Maglev;
use crate::endpoint::{Lasting, Load};
use crate::health::Vitals;
use crate::link::{Link, Links};
use crate::names::Names;
use crate::queue::Queue;
use crate::{Address, BalancePlan, Endpoint, EndpointPlan, HealthPlan, Target, UpstreamPlan, lock};

/// How long an address that is gone is remembered. DNS answers often leave one out for a while; when it returns it has
/// its id, its connections, its requests in flight and its counters again.
const DEPARTED_KEPT: Duration = Duration::from_secs(600);

/// Most addresses remembered, about 128 KiB; the latest ones stay.
const DEPARTED_MAX: usize = 256;

/// The endpoints of an upstream as they are known, whatever their health.
pub(crate) struct Roster {
    pub(crate) endpoints: Arc<[Arc<Endpoint>]>,
    /// For the primaries and for the backups.
    pub(crate) carry: [Carry; 2],
    departed: Vec<Departed>,
    /// [`Names::changes`] when the names were replaced by their addresses.
    pub(crate) names_at: u64,
}

/// What is remembered of an address that is gone.
struct Departed {
    address: Address,
    link: Arc<Link>,
    load: Arc<Load>,
    vitals: Arc<Vitals>,
    since: Instant,
}

/// Where a roster's endpoints come from and what they share.
pub(crate) struct Sources<'a> {
    pub(crate) plan: &'a UpstreamPlan,
    pub(crate) names: &'a Mutex<Names>,
    pub(crate) queue: &'a Arc<Queue>,
    pub(crate) links: &'a Links,
}

impl Roster {
    /// The plan's endpoints with every name replaced by its addresses. What `past` knows under the same address goes on;
    /// `past` itself is not changed. What it does not know begins its ramp at `ramp_from`, and so does what returns.
    pub(crate) fn assemble(
        sources: &Sources<'_>,
        past: Option<(&Self, &HealthPlan)>,
        ramp_from: Option<Instant>,
        now: Instant,
    ) -> Self {
        // Read first: a change that comes meanwhile is then seen as one.
        let names_at = lock(sources.names).changes;
        let mut known = past.map(|(past, judged_by)| past.known(judged_by, &sources.plan.health));
        let mut known = known.take().unwrap_or_default();
        let mut seen = HashSet::new();
        let mut endpoints = Vec::new();
        for line in &sources.plan.endpoints {
            let name = sources.plan.server_name(&line.target);
            for (address, host) in addresses(line, sources.names) {
                if !seen.insert(address.clone()) {
                    continue;
                }
                let link = |before| sources.links.link(name.clone(), before);
                let (link, load, vitals) = match known.remove(&address) {
                    Some(past) => past.resume(link, ramp_from),
                    None => (link(None), Arc::new(Load::new(now)), Arc::new(Vitals::new(ramp_from))),
                };
                let lasting = Lasting { link, load, vitals, queue: Arc::clone(sources.queue) };
                endpoints.push(Arc::new(Endpoint::new(address, host, line, lasting)));
            }
        }
        // Balancers keep indexes in 16 bits; a name has at most 256 addresses and no file has 65,535 lines of endpoints.
        endpoints.truncate(usize::from(u16::MAX) - 1);
        let before = past.map(|(past, _)| past.carry.clone()).unwrap_or_default();
        let carry = carry(&sources.plan.balance, &endpoints, before);
        Self { endpoints: endpoints.into(), carry, departed: departed(known, now), names_at }
    }

    /// All that is known by address, judged by the settings `to` from now on.
    fn known(&self, from: &HealthPlan, to: &HealthPlan) -> HashMap<Address, Past> {
        let gone = self.departed.iter().map(|gone| {
            let vitals = gone.vitals.carried_over(from, to);
            let (link, load) = (Arc::clone(&gone.link), Arc::clone(&gone.load));
            (gone.address.clone(), Past { link, load, vitals, gone_since: Some(gone.since) })
        });
        let here = self.endpoints.iter().map(|endpoint| {
            let vitals = endpoint.vitals.carried_over(from, to);
            let (link, load) = (Arc::clone(&endpoint.link), Arc::clone(&endpoint.load));
            (endpoint.address().clone(), Past { link, load, vitals, gone_since: None })
        });
        gone.chain(here).collect()
    }
}

/// What an address was before.
struct Past {
    link: Arc<Link>,
    load: Arc<Load>,
    vitals: Arc<Vitals>,
    gone_since: Option<Instant>,
}

impl Past {
    fn resume(
        self,
        link: impl FnOnce(Option<Arc<Link>>) -> Arc<Link>,
        ramp_from: Option<Instant>,
    ) -> (Arc<Link>, Arc<Load>, Arc<Vitals>) {
        let link_now = link(Some(Arc::clone(&self.link)));
        let vitals = match Arc::ptr_eq(&link_now, &self.link) {
            true => self.vitals,
            // What it failed over may be what was changed.
            false => self.vitals.unpaused(),
        };
        if let (Some(_), Some(start)) = (self.gone_since, ramp_from) {
            vitals.ramp_from(start);
        }
        (link_now, self.load, vitals)
    }
}

fn departed(rest: HashMap<Address, Past>, now: Instant) -> Vec<Departed> {
    let mut departed: Vec<Departed> = rest
        .into_iter()
        .map(|(address, Past { link, load, vitals, gone_since })| Departed {
            address,
            link,
            load,
            vitals,
            since: gone_since.unwrap_or(now),
        })
        .filter(|gone| now.saturating_duration_since(gone.since) < DEPARTED_KEPT)
        .collect();
    departed.sort_unstable_by_key(|gone| std::cmp::Reverse(gone.since));
    departed.truncate(DEPARTED_MAX);
    departed
}

fn addresses(line: &EndpointPlan, names: &Mutex<Names>) -> Vec<(Address, Arc<str>)> {
    match &line.target {
        Target::Address(address @ Address::Tcp(tcp)) => vec![(address.clone(), tcp.to_string().into())],
        Target::Address(address @ (Address::Unix(_) | Address::Tunnel(_))) => {
            vec![(address.clone(), "localhost".into())]
        }
        Target::Name { host, port } => {
            let shown: Arc<str> = format!("{host}:{port}").into();
            let names = lock(names);
            let found = names.answer(&(host.clone(), *port)).map(|answer| answer.addresses.as_slice());
            found.unwrap_or(&[]).iter().map(|&a| (Address::Tcp(a), Arc::clone(&shown))).collect()
        }
    }
}

/// The turns go on; a hash table is made from the configured weights, and kept as long as these are the same.
fn carry(balance: &BalancePlan, endpoints: &[Arc<Endpoint>], before: [Carry; 2]) -> [Carry; 2] {
    let needs_table = matches!(balance, BalancePlan::IpHash | BalancePlan::Hash(_));
    let mut carries = before;
    for (carry, backup) in carries.iter_mut().zip([false, true]) {
        let group = endpoints.iter().filter(|endpoint| endpoint.is_backup() == backup);
        let members: Vec<(&str, u16)> = group.map(|e| (&**e.label(), e.weight())).collect();
        let kept = carry.table.take().filter(|table| table.is_for(&members));
        carry.table = needs_table.then(|| kept.unwrap_or_else(|| Arc::new(Maglev::new(&members))));
    }
    carries
}
