use super::*;

fn bench() -> Bench {
    let mut plan = plan(BalancePlan::RoundRobin, &[1, 1, 1]);
    plan.endpoints[2].backup = true;
    checked(&mut plan);
    Bench::of(plan)
}

#[test]
fn a_backup_that_is_well_is_better_than_primaries_that_are_not() {
    let bench = bench();
    check(&bench, 0, false);
    assert_eq!(bench.counts(4), [0, 4, 0]);
    check(&bench, 1, false);
    assert_eq!(bench.counts(4), [0, 0, 4]);
    assert!(!bench.pick().is_panic());
    check(&bench, 2, false);
    assert!(bench.pick().is_panic());
    assert_eq!(bench.counts(4), [2, 2, 0], "then the primaries are the better guess");
}

#[test]
fn a_retry_goes_to_the_backup_when_every_primary_was_tried() {
    let bench = bench();
    let (request, mut tried) = (bench.request(), Tried::new());
    let mut order = Vec::new();
    while let Ok(lease) = bench.upstream.pick(&request, &tried) {
        tried.insert(lease.endpoint().id());
        order.push(lease.endpoint().is_backup());
    }
    assert_eq!(order, [false, false, true]);
}

#[test]
fn a_primary_at_its_cap_is_waited_for() {
    let mut plan = plan(BalancePlan::RoundRobin, &[1, 1]);
    plan.endpoints[0].max_connections = Some(1);
    plan.endpoints[1].backup = true;
    let bench = Bench::of(plan);
    let _held = bench.pick();
    assert_eq!(bench.try_pick(|_| ()).unwrap_err(), PickError::Busy);
}
