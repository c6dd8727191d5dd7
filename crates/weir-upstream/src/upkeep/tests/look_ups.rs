use super::*;
use std::sync::Mutex;

/// A resolver that answers from a script, then fails; with the time of each question.
struct Resolver {
    script: Mutex<Vec<Option<&'static [u8]>>>,
    asked_at: Mutex<Vec<Instant>>,
}

/// An answer that never comes.
const SILENCE: Option<&[u8]> = None;

fn resolver(script: &[Option<&'static [u8]>]) -> (Arc<Resolver>, Lookup) {
    let script = Mutex::new(script.iter().rev().copied().collect());
    let resolver = Arc::new(Resolver { script, asked_at: Mutex::default() });
    let lookup: Lookup = Arc::new({
        let resolver = Arc::clone(&resolver);
        move |(_, port)| {
            lock(&resolver.asked_at).push(now());
            let (answer, port) = (lock(&resolver.script).pop(), *port);
            Box::pin(async move {
                match answer {
                    Some(Some(found)) => {
                        Ok(found.iter().map(|&last| ([10, 0, 0, last], port).into()).collect())
                    }
                    Some(None) => std::future::pending().await,
                    None => Err(std::io::Error::other("the resolver is broken")),
                }
            })
        }
    });
    (resolver, lookup)
}

fn named(balance: BalancePlan) -> UpstreamPlan {
    let mut plan = UpstreamPlan { balance, ..UpstreamPlan::new("app") };
    plan.endpoints.push(EndpointPlan::new(Target::Name { host: "app.internal".to_owned(), port: 80 }));
    plan
}

fn labels(upstream: &Upstream) -> Vec<String> {
    upstream.endpoints().iter().map(|endpoint| endpoint.label().to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_name_is_looked_up_at_once_and_then_about_every_ten_seconds() {
    let (resolver, lookup) = resolver(&[Some(&[2, 1]), Some(&[1, 2]), Some(&[2, 3])]);
    let upkeep = Upkeep::start(Arc::new(|_| ()), lookup, 1);
    let upstream = compile(&named(BalancePlan::RoundRobin));
    let began = now();
    upkeep.sync(&[Arc::clone(&upstream)]);
    until(|| !upstream.endpoints().is_empty()).await;
    assert_eq!(now(), began, "at once");
    assert_eq!(labels(&upstream), ["10.0.0.1:80", "10.0.0.2:80"]);
    tokio::time::sleep(Duration::from_secs(23)).await;
    assert_eq!(labels(&upstream), ["10.0.0.2:80", "10.0.0.3:80"]);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(labels(&upstream), ["10.0.0.2:80", "10.0.0.3:80"], "failures keep the last good answer");
    let asked_at = lock(&resolver.asked_at).clone();
    for pause in asked_at.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()) {
        assert!((8.9..11.1).contains(&pause), "{pause}");
    }
    let shown = &upstream.status(now()).names[0];
    assert_eq!(shown.failures as usize, asked_at.len() - 3);
    assert_eq!(shown.fault.as_deref(), Some("the resolver is broken"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_given_up_after_five_seconds() {
    let (_resolver, lookup) = resolver(&[SILENCE, Some(&[1])]);
    let upkeep = Upkeep::start(Arc::new(|_| ()), lookup, 1);
    let upstream = compile(&named(BalancePlan::RoundRobin));
    upkeep.sync(&[Arc::clone(&upstream)]);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let shown = upstream.status(now()).names.remove(0);
    assert_eq!((shown.failures, shown.fault.as_deref()), (1, Some("no answer within 5 s")));
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(labels(&upstream), ["10.0.0.1:80"]);
}

#[tokio::test(start_paused = true)]
async fn look_ups_that_were_given_up_still_count_against_their_limit() {
    let silent = [SILENCE; 100];
    let (resolver, lookup) = resolver(&silent);
    let upkeep = Upkeep::start(Arc::new(|_| ()), lookup, 1);
    let mut plan = UpstreamPlan::new("app");
    for port in 1..=40 {
        plan.endpoints.push(EndpointPlan::new(Target::Name { host: "app.internal".to_owned(), port }));
    }
    upkeep.sync(&[compile(&plan)]);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(lock(&resolver.asked_at).len(), names::LOOKUPS_MAX);
}

#[tokio::test(start_paused = true)]
async fn look_ups_that_begin_to_fail_and_succeed_again_are_told_once_each() {
    let script: [Option<&[u8]>; 6] = [Some(&[]), Some(&[]), Some(&[1]), Some(&[1]), SILENCE, Some(&[2])];
    let (_resolver, lookup) = resolver(&script);
    let told: Arc<Mutex<Vec<Change>>> = Arc::default();
    let kept = Arc::clone(&told);
    let upkeep = Upkeep::start(Arc::new(move |change| lock(&kept).push(change.clone())), lookup, 1);
    upkeep.sync(&[compile(&named(BalancePlan::RoundRobin))]);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let change = |fault: Option<&str>| {
        let fault = fault.map(str::to_owned);
        Change::Name(NameChange { upstream: "app".into(), name: "app.internal:80".to_owned(), fault })
    };
    let told = lock(&told).clone();
    let expected = [
        Some("the name has no address"),
        None,
        Some("no answer within 5 s"),
        None,
        Some("the resolver is broken"),
    ];
    assert_eq!(told, expected.map(change));
}

#[tokio::test(start_paused = true)]
async fn a_reload_does_not_look_up_again_and_hears_the_next_answer() {
    let (resolver, lookup) = resolver(&[Some(&[1]), Some(&[1, 2])]);
    let upkeep = Upkeep::start(Arc::new(|_| ()), lookup, 1);
    let mut upstream = compile(&named(BalancePlan::RoundRobin));
    upkeep.sync(&[Arc::clone(&upstream)]);
    until(|| !upstream.endpoints().is_empty()).await;
    for balance in [BalancePlan::LeastConn, BalancePlan::IpHash, BalancePlan::RoundRobin] {
        upstream = Upstream::compile(named(balance), Some(&upstream), now());
        upkeep.sync(&[Arc::clone(&upstream)]);
        assert_eq!(labels(&upstream), ["10.0.0.1:80"], "the known answer is there at once");
        yield_now().await;
    }
    assert_eq!(lock(&resolver.asked_at).len(), 1);
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(labels(&upstream), ["10.0.0.1:80", "10.0.0.2:80"]);
    let request = PickRequest { now: now(), client: None, hash: None, random: 1 };
    assert!(upstream.pick(&request, &Tried::new()).is_ok());
}

#[tokio::test]
async fn new_addresses_of_a_name_are_checked_and_gone_ones_no_more() {
    let (mut first, mut second) = (Server::start(&[GOOD]).await, Server::start(&[GOOD]).await);
    let mut plan = named(BalancePlan::RoundRobin);
    let http = CheckPlan::Http(HttpCheckPlan::default());
    plan.health.active = Some(ActivePlan { interval: hour(), ..ActivePlan::new(http) });
    let (_resolver, lookup) = resolver(&[]);
    let upkeep = Upkeep::start(Arc::new(|_| ()), lookup, 9);
    let upstream = compile(&plan);
    upkeep.sync(&[Arc::clone(&upstream)]);
    let name = ("app.internal".to_owned(), 80);
    let found = |addresses: &[SocketAddr]| {
        assert!(upstream.resolved(&name, Ok(addresses.to_vec()), now()));
        upkeep.keeper.addresses_changed("app");
    };
    found(&[first.address]);
    let asked = first.requests.recv().await.unwrap();
    assert!(asked.contains("\r\nHost: app.internal:80\r\n"), "{asked}");
    let running = tasks();
    found(&[second.address]);
    second.requests.recv().await.unwrap();
    until(|| tasks() == running).await;
    assert!(first.requests.try_recv().is_err());
}

#[tokio::test]
async fn the_systems_resolver_knows_localhost() {
    let found = names::system()(&("localhost".to_owned(), 7)).await.unwrap();
    assert!(
        !found.is_empty() && found.iter().all(|address| address.ip().is_loopback() && address.port() == 7)
    );
}
