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
