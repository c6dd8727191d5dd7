use super::*;

#[test]
fn load_counters_and_health_go_on() {
    let mut bench = Bench::new(BalancePlan::RoundRobin, &[1, 1, 1]);
    bench.fail(1).unwrap();
    bench.set_admin(2, AdminState::Drain);
    let held = bench.pick();
    let ids: Vec<_> = (0..3).map(|index| bench.id(index)).collect();
    reload(&mut bench, |plan| {
        plan.endpoints[0].weight = 7;
        plan.balance = BalancePlan::LeastConn;
        plan.retry.attempts = 1;
    });
    assert_eq!((0..3).map(|index| bench.id(index)).collect::<Vec<_>>(), ids);
    assert_eq!(states(&bench), [EndpointState::Up, EndpointState::Ejected, EndpointState::Drained]);
    let endpoints = bench.upstream.endpoints();
    assert_eq!((endpoints[0].in_flight(), endpoints[0].requests()), (1, 1));
    assert_eq!((endpoints[1].failures(FailureKind::Connect), endpoints[1].ejections()), (5, 1));
    drop(held);
    assert_eq!(bench.upstream.in_flight(), 0, "a lease of the old generation counts in the new one");
}

#[test]
fn old_and_new_generations_judge_together() {
    let mut bench = Bench::new(BalancePlan::RoundRobin, &[1, 1]);
    let before = Arc::clone(&bench.upstream);
    reload(&mut bench, |_| ());
    let stale = &before.endpoints()[0];
    for _ in 0..5 {
        before.record(stale, Outcome::ClosedEarly, bench.now);
    }
    assert_eq!(bench.counts(4), [0, 4]);
}

#[test]
fn changed_checks_begin_anew_and_pauses_stay() {
    let mut plan = plan(BalancePlan::RoundRobin, &[1, 1, 1]);
    checked(&mut plan);
    let mut bench = Bench::of(plan);
    check(&bench, 0, false);
    bench.fail(1).unwrap();
    reload(&mut bench, |plan| plan.health.active.as_mut().unwrap().interval = secs(1));
    assert_eq!(states(&bench), [EndpointState::Up, EndpointState::Ejected, EndpointState::Up]);
}

#[test]
fn the_turn_goes_on() {
    let mut bench = Bench::new(BalancePlan::RoundRobin, &[1, 1, 1, 1]);
    let mut served = vec![0; 4];
    for _ in 0..40 {
        let id = bench.pick().endpoint().id();
        served[(0..4).find(|&index| bench.id(index) == id).unwrap()] += 1;
        reload(&mut bench, |_| ());
    }
    assert_eq!(served, [10, 10, 10, 10], "a reload for every request does not favour the first endpoint");
}

#[test]
fn a_compiled_generation_that_is_given_up_has_changed_nothing() {
    let bench = Bench::new(BalancePlan::RoundRobin, &[1, 1]);
    let mut other = plan(BalancePlan::RoundRobin, &[0]);
    other.health.passive = None;
    drop(Upstream::compile(other, Some(&bench.upstream), bench.now));
    assert_eq!(bench.counts(4), [2, 2]);
    assert!(bench.fail(0).is_some());
}

#[test]
fn an_added_endpoint_begins_slowly_and_the_first_ones_do_not() {
    let mut plan = plan(BalancePlan::RoundRobin, &[1]);
    plan.slow_start = Some(secs(10));
    let mut bench = Bench::of(plan);
    let added = EndpointPlan::new(Target::Address("10.0.0.9:9".parse::<SocketAddr>().unwrap().into()));
    reload(&mut bench, |plan| plan.endpoints.push(added));
    assert_eq!(bench.counts(110), [100, 10]);
    bench.now += secs(10);
    assert_eq!(bench.counts(110), [55, 55]);
}

#[test]
fn a_hash_table_is_made_anew_only_for_other_endpoints_or_weights() {
    let table = |bench: &Bench| {
        let roster = lock(&bench.upstream.roster);
        Arc::as_ptr(roster.carry[0].table.as_ref().unwrap())
    };
    let mut bench = Bench::new(BalancePlan::IpHash, &[1, 2]);
    let first = table(&bench);
    reload(&mut bench, |plan| plan.retry.attempts = 1);
    bench.set_admin(0, AdminState::Drain);
    assert_eq!(table(&bench), first);
    let _kept = Arc::clone(&bench.upstream);
    reload(&mut bench, |plan| plan.endpoints[1].weight = 3);
    assert_ne!(table(&bench), first);
    reload(&mut bench, |plan| plan.balance = BalancePlan::RoundRobin);
    assert!(lock(&bench.upstream.roster).carry[0].table.is_none());
}
