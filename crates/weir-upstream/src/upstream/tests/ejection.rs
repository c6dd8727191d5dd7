use super::*;
use EndpointState::{Ejected, Up};

#[test]
fn failures_in_a_row_pause_an_endpoint_and_say_why() {
    let bench = Bench::new(BalancePlan::RoundRobin, &[1, 1]);
    for _ in 0..4 {
        assert_eq!(bench.record(0, Outcome::ConnectFailed), None);
    }
    let change = bench.record(0, Outcome::ResponseTimeout).unwrap();
    assert_eq!((change.from, change.to), (Up, Ejected));
    assert_eq!(change.reason, "5 failures in a row, the last: response-timeout; paused for 30 s");
    assert_eq!(bench.counts(10), [0, 10]);
}

#[test]
fn a_good_answer_or_a_cancellation_between_failures_is_no_reason_to_pause() {
    let bench = Bench::new(BalancePlan::RoundRobin, &[1, 1]);
    for _ in 0..20 {
        for _ in 0..4 {
            assert_eq!(bench.record(0, Outcome::ConnectFailed), None);
            assert_eq!(bench.record(0, Outcome::Cancelled), None);
        }
        assert_eq!(bench.record(0, Outcome::Success { head_after: secs(0) }), None);
    }
}

#[test]
fn a_good_answer_restores_at_once() {
    let bench = Bench::new(BalancePlan::RoundRobin, &[1, 1]);
    bench.fail(0).unwrap();
    let change = bench.record(0, Outcome::Success { head_after: secs(0) }).unwrap();
    assert_eq!((change.from, change.to), (Ejected, Up));
    assert_eq!(bench.counts(10), [5, 5]);
}

#[test]
fn no_more_than_half_are_paused() {
    let bench = Bench::new(BalancePlan::RoundRobin, &[1; 5]);
    assert!(bench.fail(0).is_some() && bench.fail(1).is_some());
    assert_eq!(bench.fail(2), None, "half of five is two");
    assert_eq!(states(&bench), [Ejected, Ejected, Up, Up, Up]);
    bench.record(0, Outcome::Success { head_after: secs(0) });
    assert!(bench.record(2, Outcome::ConnectFailed).is_some(), "it has failed all the while");
}

#[test]
fn one_may_be_paused_however_small_the_share() {
    let mut plan = plan(BalancePlan::RoundRobin, &[1, 1, 1]);
    plan.health.passive.as_mut().unwrap().ejected_max = Percent::new(1);
    let bench = Bench::of(plan);
    assert!(bench.fail(0).is_some());
    assert_eq!(bench.fail(1), None);
}

#[test]
fn the_last_endpoint_is_never_paused() {
    let mut plan = plan(BalancePlan::RoundRobin, &[1, 1, 1, 0]);
    plan.health.passive.as_mut().unwrap().ejected_max = Percent::new(100);
    let bench = Bench::of(plan);
    bench.set_admin(1, AdminState::Drain);
    assert!(bench.fail(0).is_some());
    assert_eq!(bench.fail(2), None, "the others are paused, drained and of no weight");
    let alone = Bench::new(BalancePlan::RoundRobin, &[1]);
    assert_eq!(alone.fail(0), None);
    assert_eq!(alone.counts(3), [3]);
}

#[test]
fn two_threads_do_not_pause_the_last_two() {
    for _ in 0..200 {
        let mut plan = plan(BalancePlan::RoundRobin, &[1, 1]);
        plan.health.passive.as_mut().unwrap().ejected_max = Percent::new(100);
        let bench = Bench::of(plan);
        std::thread::scope(|scope| {
            for index in [0, 1] {
                let bench = &bench;
                scope.spawn(move || bench.fail(index));
            }
        });
        assert_eq!(states(&bench).iter().filter(|&&state| state == Up).count(), 1);
    }
}

#[test]
fn a_pause_that_is_over_is_told_once_whoever_notices() {
    let mut bench = Bench::new(BalancePlan::RoundRobin, &[1, 1]);
    bench.fail(0).unwrap();
    assert_eq!(bench.upstream.tick(bench.now + secs(29)), []);
    bench.now += secs(30);
    assert_eq!(bench.counts(10), [5, 5], "a pick notices first");
    let told = bench.upstream.tick(bench.now);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].from, told[0].to, &*told[0].endpoint), (Ejected, Up, "10.0.0.1:1"));
    assert_eq!(bench.upstream.tick(bench.now), []);
}

#[test]
fn passive_judgement_can_be_switched_off() {
    let mut plan = plan(BalancePlan::RoundRobin, &[1, 1]);
    plan.health.passive = None;
    let bench = Bench::of(plan);
    assert_eq!(bench.fail(0), None);
    assert_eq!(bench.upstream.endpoints()[0].failures(FailureKind::Connect), 5);
}
