mod backups;
mod ejection;
mod links;
mod names;
mod panic;
mod reloads;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_base::Percent;

use crate::balancer::contract::{Bench, plan};
use crate::*;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn checked(plan: &mut UpstreamPlan) {
    plan.health.active = Some(ActivePlan::new(CheckPlan::Tcp));
}

fn check(bench: &Bench, index: usize, good: bool) -> Option<HealthChange> {
    let result = CheckResult {
        at: std::time::SystemTime::UNIX_EPOCH,
        took: secs(0),
        status: None,
        fault: (!good).then(|| "refused".to_owned()),
    };
    bench.upstream.checked(&bench.upstream.endpoints()[index], result, bench.now)
}

/// Compiles and adopts another plan, as a reload does.
fn reload(bench: &mut Bench, edit: impl FnOnce(&mut UpstreamPlan)) {
    let mut plan = bench.upstream.plan().clone();
    edit(&mut plan);
    bench.upstream = Upstream::compile(plan, Some(&bench.upstream), bench.now);
    bench.upstream.adopt(bench.now);
}

fn states(bench: &Bench) -> Vec<EndpointState> {
    bench.upstream.endpoints().iter().map(|endpoint| endpoint.state()).collect()
}

#[test]
fn a_long_list_is_not_put_together_anew_for_every_change() {
    let mut bench = Bench::new(BalancePlan::RoundRobin, &[1; 2_000]);
    let built = |bench: &Bench| Arc::as_ptr(&bench.upstream.view(bench.now));
    let first = built(&bench);
    for index in 0..100 {
        bench.set_admin(index, AdminState::Drain);
    }
    assert_eq!(built(&bench), first);
    bench.now += Duration::from_millis(2);
    assert_ne!(built(&bench), first);
    assert_eq!(bench.upstream.status(bench.now).available, 1_900);
}

#[test]
fn an_instant_before_the_last_one_does_no_harm() {
    let bench = Bench::new(BalancePlan::LeastTime, &[1, 1]);
    bench.fail(0).unwrap();
    let before = bench.now - Duration::from_millis(1);
    let late: Instant = bench.now + secs(40);
    assert_eq!(bench.upstream.tick(late).len(), 1);
    assert_eq!(bench.upstream.tick(before), []);
    bench.upstream.record(&bench.upstream.endpoints()[1], Outcome::Success { head_after: secs(1) }, before);
    assert!(bench.try_pick(|request| request.now = before).is_ok());
}
