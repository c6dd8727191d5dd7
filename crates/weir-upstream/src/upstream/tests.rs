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

mod ejection {
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
}

mod panic {
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
}

mod backups {
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
}

mod reloads {
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
}

mod names {
    use super::*;

    fn named(edit: impl FnOnce(&mut UpstreamPlan)) -> Bench {
        let mut plan = UpstreamPlan::new("named");
        plan.endpoints.push(EndpointPlan {
            weight: 2,
            ..EndpointPlan::new(Target::Name { host: "app.internal".to_owned(), port: 80 })
        });
        edit(&mut plan);
        Bench::of(plan)
    }

    fn resolve(bench: &Bench, last: &[u8]) -> bool {
        let found = last.iter().map(|&last| SocketAddr::from(([10, 0, 0, last], 80))).collect();
        bench.upstream.resolved(&("app.internal".to_owned(), 80), Ok(found), bench.now)
    }

    fn labels(bench: &Bench) -> Vec<String> {
        bench.upstream.endpoints().iter().map(|endpoint| endpoint.label().to_string()).collect()
    }

    #[test]
    fn a_name_stands_for_all_its_addresses_with_its_settings() {
        let bench = named(|_| ());
        let nobody = PickError::NoEndpoint { blocked: 0, total: 0 };
        assert_eq!(bench.try_pick(|_| ()).unwrap_err(), nobody);
        assert!(resolve(&bench, &[2, 1]));
        assert!(!resolve(&bench, &[1, 2]), "another order is no change");
        assert_eq!(labels(&bench), ["10.0.0.1:80", "10.0.0.2:80"]);
        let endpoints = bench.upstream.endpoints();
        assert!(endpoints.iter().all(|e| e.weight() == 2 && &**e.host() == "app.internal:80"));
        assert_eq!(bench.counts(10), [5, 5]);
    }

    #[test]
    fn the_first_answer_serves_fully_and_later_addresses_begin_slowly() {
        let mut bench = named(|plan| plan.slow_start = Some(secs(10)));
        resolve(&bench, &[1]);
        bench.now += secs(100);
        resolve(&bench, &[1, 2]);
        assert_eq!(bench.counts(110), [100, 10]);
    }

    #[test]
    fn an_address_that_is_gone_gets_no_requests_and_finishes_what_it_has() {
        let bench = named(|_| ());
        resolve(&bench, &[1, 2]);
        let held = [bench.pick(), bench.pick()];
        resolve(&bench, &[2]);
        assert_eq!(bench.counts(4), [4]);
        assert_eq!(held.iter().map(|lease| lease.endpoint().in_flight()).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn an_address_that_returns_soon_is_still_the_same() {
        let mut bench = named(|_| ());
        resolve(&bench, &[1, 2]);
        let (id, held) = (bench.id(0), bench.pick());
        bench.set_admin(0, AdminState::Drain);
        resolve(&bench, &[2]);
        bench.now += secs(300);
        reload(&mut bench, |plan| plan.health.passive = None);
        resolve(&bench, &[1, 2]);
        assert_eq!(bench.id(0), id);
        assert_eq!(bench.upstream.endpoints()[0].state(), EndpointState::Drained);
        assert_eq!(bench.upstream.in_flight(), 1);
        drop(held);
        assert_eq!(bench.upstream.in_flight(), 0);
        resolve(&bench, &[2]);
        bench.now += secs(600);
        resolve(&bench, &[2, 3]);
        resolve(&bench, &[1, 2]);
        assert_ne!(bench.id(0), id, "after ten minutes it is forgotten");
    }

    #[test]
    fn an_address_that_returns_begins_slowly() {
        let bench = named(|plan| plan.slow_start = Some(secs(10)));
        resolve(&bench, &[1, 2]);
        resolve(&bench, &[1]);
        resolve(&bench, &[1, 2]);
        assert_eq!(bench.counts(110), [100, 10]);
    }

    #[test]
    fn a_failed_look_up_keeps_the_last_good_answer_and_is_shown() {
        let mut bench = named(|_| ());
        resolve(&bench, &[1]);
        bench.now += secs(7);
        let name = ("app.internal".to_owned(), 80);
        assert!(!bench.upstream.resolved(&name, Err("no answer within 5 s".to_owned()), bench.now));
        assert_eq!(labels(&bench), ["10.0.0.1:80"]);
        let shown = &bench.upstream.status(bench.now).names[0];
        assert_eq!((shown.name.as_str(), shown.addresses, shown.failures), ("app.internal:80", 1, 1));
        assert_eq!((shown.age, shown.fault.as_deref()), (Some(secs(7)), Some("no answer within 5 s")));
    }

    #[test]
    fn an_answer_survives_a_reload_even_if_it_came_while_compiling() {
        let mut bench = named(|_| ());
        resolve(&bench, &[1]);
        let next = Upstream::compile(bench.upstream.plan().clone(), Some(&bench.upstream), bench.now);
        resolve(&bench, &[1, 2]);
        next.adopt(bench.now);
        bench.upstream = next;
        assert_eq!(labels(&bench), ["10.0.0.1:80", "10.0.0.2:80"]);
    }

    #[test]
    fn an_address_that_is_written_and_found_is_one_endpoint() {
        let bench = named(|plan| {
            let written = Address::Tcp("10.0.0.1:80".parse().unwrap());
            plan.endpoints.insert(0, EndpointPlan::new(Target::Address(written)));
        });
        resolve(&bench, &[1, 2]);
        assert_eq!(bench.counts(30), [10, 20], "the first line counts");
    }
}

mod status {
    use super::*;

    #[test]
    fn the_status_shows_what_is_known_of_each_endpoint() {
        let mut plan = plan(BalancePlan::LeastTime, &[1, 3]);
        checked(&mut plan);
        plan.endpoints[0].max_connections = Some(9);
        let mut bench = Bench::of(plan.clone());
        bench.fail(0).unwrap();
        check(&bench, 1, true);
        bench.record(1, Outcome::Success { head_after: secs(2) });
        let _held = bench.pick();
        bench.now += secs(10);
        let status = bench.upstream.status(bench.now);
        assert_eq!((&*status.name, status.balance, status.available), ("bench", "least_time", 1));
        assert_eq!(status.health, plan.health);
        let [first, second] = &status.endpoints[..] else { panic!("two endpoints") };
        assert_eq!((first.state, first.ejected_for), (EndpointState::Ejected, Some(secs(20))));
        assert_eq!((first.failures_in_a_row, first.ejections, first.weight_now), (5, 1, 0));
        assert_eq!(first.failures[0], (FailureKind::Connect, 5));
        assert_eq!((first.max_connections, first.last_check.as_ref()), (Some(9), None));
        assert_eq!((second.state, second.weight, second.weight_now), (EndpointState::Up, 3, 300));
        assert_eq!((second.in_flight, second.requests), (1, 1));
        assert_eq!(second.last_check.as_ref().unwrap().fault, None);
        assert!(second.latency.unwrap() < secs(1), "silence fades it: {:?}", second.latency);
    }

    #[test]
    fn an_endpoint_is_found_by_its_shown_name_only() {
        let bench = Bench::new(BalancePlan::RoundRobin, &[1]);
        let answer = bench.upstream.set_admin_state("10.0.0.1", AdminState::Down, bench.now);
        assert_eq!(answer, Err(UnknownEndpoint));
        let change = bench.upstream.set_admin_state("10.0.0.1:1", AdminState::Down, bench.now).unwrap();
        assert_eq!(change.unwrap().to, EndpointState::SwitchedOff);
        assert!(!bench.upstream.is_available(bench.now));
    }
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
