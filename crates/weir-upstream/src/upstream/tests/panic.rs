use super::*;

#[test]
fn all_are_used_when_fewer_than_the_threshold_are_well() {
    let mut plan = plan(BalancePlan::RoundRobin, &[1, 1, 1, 1]);
    checked(&mut plan);
    let bench = Bench::of(plan);
    check(&bench, 0, false);
    check(&bench, 1, false);
    assert_eq!(bench.counts(8), [0, 0, 4, 4], "half of them is more than 30 %");
    check(&bench, 2, false);
    assert_eq!(bench.counts(8), [2, 2, 2, 2], "a quarter is less");
    assert!(bench.pick().is_panic());
    assert!(bench.upstream.status(bench.now).panic);
    check(&bench, 3, false);
    assert!(!bench.upstream.is_available(bench.now), "panic is no health");
    assert_eq!(bench.counts(8), [2, 2, 2, 2]);
    for index in 0..4 {
        check(&bench, index, true);
        check(&bench, index, true);
    }
    assert!(!bench.pick().is_panic());
}

#[test]
fn a_threshold_of_zero_never_panics() {
    let mut plan = plan(BalancePlan::RoundRobin, &[1, 1]);
    checked(&mut plan);
    plan.panic_threshold = Percent::new(0);
    let bench = Bench::of(plan);
    check(&bench, 0, false);
    check(&bench, 1, false);
    let nobody = PickError::NoEndpoint { blocked: 2, total: 2 };
    assert_eq!(bench.try_pick(|_| ()).unwrap_err(), nobody);
}

#[test]
fn what_an_operator_keeps_out_stays_out_and_counts_neither_way() {
    let mut plan = plan(BalancePlan::RoundRobin, &[1, 1, 1, 1]);
    checked(&mut plan);
    let bench = Bench::of(plan);
    for index in [0, 1, 2] {
        bench.set_admin(index, AdminState::Down);
    }
    assert!(!bench.pick().is_panic(), "one of one is well");
    check(&bench, 3, false);
    assert_eq!(bench.counts(4), [0, 0, 0, 4]);
}
