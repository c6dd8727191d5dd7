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
