use weir_net::tls::{ClientTlsPlan, TlsVersions, Trust};

use super::*;
use crate::plan::server_name;

fn tls(versions: TlsVersions) -> Arc<TlsPlan> {
    Arc::new(TlsPlan {
        client: ClientTlsPlan { trust: Trust::Anybody, certificate: None, versions },
        server_name: None,
        ca: None,
        certificate: None,
    })
}

/// The links of all endpoints.
fn links(bench: &Bench) -> Vec<LinkId> {
    bench.upstream.endpoints().iter().map(|endpoint| endpoint.link_id()).collect()
}

fn secured() -> Bench {
    let mut plan = plan(BalancePlan::RoundRobin, &[1, 1, 1]);
    plan.tls = Some(tls(TlsVersions::Both));
    Bench::of(plan)
}

#[test]
fn connections_stay_wanted_while_they_are_made_in_the_same_way() {
    let mut bench = secured();
    let before = links(&bench);
    reload(&mut bench, |plan| {
        plan.retry.attempts = 1;
        plan.host = HostPlan::Endpoint;
        plan.tls = Some(tls(TlsVersions::Both));
    });
    assert_eq!(links(&bench), before);
}

#[test]
fn another_way_of_making_connections_gives_up_the_old_ones_and_keeps_what_is_known() {
    type Edit = fn(&mut UpstreamPlan);
    let edits: [Edit; 5] = [
        |plan| plan.tls = None,
        |plan| plan.tls = Some(tls(TlsVersions::Tls13)),
        |plan| plan.http = HttpVersions::Http2,
        |plan| plan.host = HostPlan::Name("app.test:443".to_owned()),
        |plan| {
            let mut named = TlsPlan::clone(plan.tls.as_ref().unwrap());
            named.server_name = server_name("app.test");
            plan.tls = Some(Arc::new(named));
        },
    ];
    for edit in edits {
        let mut bench = secured();
        let held = bench.pick();
        let (before, ids): (_, Vec<u32>) = (links(&bench), (0..3).map(|index| bench.id(index)).collect());
        bench.set_admin(2, AdminState::Drain);
        reload(&mut bench, edit);
        assert!(links(&bench).iter().all(|link| !before.contains(link)));
        assert_eq!((0..3).map(|index| bench.id(index)).collect::<Vec<_>>(), ids);
        assert_eq!(bench.upstream.in_flight(), 1);
        assert_eq!(states(&bench)[2], EndpointState::Drained);
        drop(held);
    }
}

#[test]
fn a_pause_over_the_old_way_of_making_connections_ends_and_the_word_of_checks_stays() {
    let mut plan = plan(BalancePlan::RoundRobin, &[1, 1, 1]);
    plan.tls = Some(tls(TlsVersions::Both));
    checked(&mut plan);
    let mut bench = Bench::of(plan);
    bench.fail(1).unwrap();
    check(&bench, 2, false);
    assert_eq!(states(&bench), [EndpointState::Up, EndpointState::Ejected, EndpointState::CheckFailed]);
    reload(&mut bench, |plan| plan.tls = Some(tls(TlsVersions::Tls13)));
    assert_eq!(states(&bench), [EndpointState::Up, EndpointState::Up, EndpointState::CheckFailed]);
}

#[test]
fn an_endpoint_must_prove_what_the_configuration_calls_it() {
    let name = |host: HostPlan, server: Option<&str>, target: Target| {
        let mut plan = UpstreamPlan { host, ..UpstreamPlan::new("app") };
        let server_name = server.and_then(server_name);
        plan.tls = Some(Arc::new(TlsPlan { server_name, ..TlsPlan::clone(&tls(TlsVersions::Both)) }));
        plan.server_name(&target).map(|name| name.to_str().into_owned())
    };
    let address = |text: &str| Target::Address(text.parse::<SocketAddr>().unwrap().into());
    let named = Target::Name { host: "api.test".to_owned(), port: 443 };
    let authority = |text: &str| HostPlan::Name(text.to_owned());
    for (host, server, target, wanted) in [
        (HostPlan::Preserve, None, named.clone(), "api.test"),
        (HostPlan::Endpoint, None, named.clone(), "api.test"),
        (authority("shop.test"), None, named.clone(), "shop.test"),
        (authority("shop.test:8443"), None, address("10.0.0.1:443"), "shop.test"),
        (authority("[::1]:8443"), None, named.clone(), "::1"),
        (authority("shop.test"), Some("other.test"), named, "other.test"),
        (HostPlan::Preserve, None, address("10.0.0.1:443"), "10.0.0.1"),
        (HostPlan::Preserve, None, address("[2001:db8::1]:443"), "2001:db8::1"),
        (HostPlan::Preserve, None, Target::Address(Address::Unix("/run/app.sock".into())), "localhost"),
    ] {
        assert_eq!(name(host, server, target).as_deref(), Some(wanted));
    }
    assert_eq!(name(authority("-app-"), None, address("10.0.0.1:443")), None);
}
