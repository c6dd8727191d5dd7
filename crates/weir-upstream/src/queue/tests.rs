use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, yield_now};

use crate::balancer::contract::plan;
use crate::*;

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn request() -> PickRequest {
    PickRequest { now: now(), client: None, hash: None, random: 3 }
}

fn capped(caps: &[u32]) -> UpstreamPlan {
    let mut plan = plan(BalancePlan::RoundRobin, &vec![1; caps.len()]);
    for (line, &cap) in plan.endpoints.iter_mut().zip(caps) {
        line.max_connections = Some(cap);
    }
    plan
}

fn upstream(caps: &[u32]) -> Arc<Upstream> {
    Upstream::compile(capped(caps), None, now())
}

fn take(upstream: &Upstream) -> Lease {
    upstream.pick(&request(), &Tried::new()).unwrap()
}

type Waiting = JoinHandle<Result<Lease, PickError>>;

/// Waits in a task of its own; returns when it has its place in the line.
async fn wait(upstream: &Arc<Upstream>, tried: &[&Lease]) -> Waiting {
    let mut known = Tried::new();
    tried.iter().for_each(|lease| known.insert(lease.endpoint().id()));
    let (upstream, request) = (Arc::clone(upstream), request());
    let waiting =
        tokio::spawn(async move { upstream.acquire(&request, &known, request.now + secs(3_600)).await });
    yield_now().await;
    waiting
}

async fn got(waiting: Waiting) -> Lease {
    assert!(waiting.is_finished(), "a lease is handed over at once");
    waiting.await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_comes_first_is_served_first() {
    let upstream = upstream(&[1]);
    let mut held = take(&upstream);
    let mut line = Vec::new();
    for _ in 0..5 {
        line.push(wait(&upstream, &[]).await);
    }
    assert_eq!(upstream.queue().waiting(), 5);
    for waiting in line {
        drop(held);
        yield_now().await;
        held = got(waiting).await;
    }
    assert_eq!((upstream.queue().waiting(), upstream.in_flight()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_freed_slot_wakes_exactly_one() {
    let upstream = upstream(&[2]);
    let (first, _second) = (take(&upstream), take(&upstream));
    let line = [wait(&upstream, &[]).await, wait(&upstream, &[]).await, wait(&upstream, &[]).await];
    drop(first);
    yield_now().await;
    assert_eq!(line.iter().map(JoinHandle::is_finished).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!((upstream.queue().waiting(), upstream.in_flight()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_those_who_wait() {
    let upstream = upstream(&[1]);
    let held = take(&upstream);
    let first = wait(&upstream, &[]).await;
    drop(held);
    // The first one has been served but has not run yet.
    let second = wait(&upstream, &[]).await;
    let first = got(first).await;
    assert!(!second.is_finished());
    drop(first);
    yield_now().await;
    got(second).await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_freed_between_the_failed_pick_and_the_joining_is_not_missed() {
    let upstream = upstream(&[1]);
    let (own, request, tried) = (Arc::downgrade(&upstream), request(), Tried::new());
    let deadline = request.now + secs(3);
    let waiting = upstream.queue().wait(&own, &upstream.plan().queue, &request, &tried, deadline);
    assert!(waiting.await.is_ok());
    assert_eq!(now(), request.now, "at once");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_leaks_no_slot() {
    let upstream = upstream(&[1]);
    let held = take(&upstream);
    let (gone, stays) = (wait(&upstream, &[]).await, wait(&upstream, &[]).await);
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    assert_eq!(upstream.queue().waiting(), 1);
    drop(held);
    yield_now().await;
    drop(got(stays).await);
    assert_eq!(upstream.in_flight(), 0);
    take(&upstream);
}

#[tokio::test(start_paused = true)]
async fn a_slot_handed_to_a_cancelled_wait_goes_to_the_next() {
    let upstream = upstream(&[1]);
    let held = take(&upstream);
    let (gone, next) = (wait(&upstream, &[]).await, wait(&upstream, &[]).await);
    drop(held);
    // It holds the slot in its channel and never runs again.
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    yield_now().await;
    drop(got(next).await);
    assert_eq!((upstream.queue().waiting(), upstream.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_the_sooner_of_timeout_and_deadline() {
    let upstream = upstream(&[1]);
    let _held = take(&upstream);
    for (until, ends) in [(secs(3_600), secs(3)), (secs(1), secs(1))] {
        let began = now();
        let answer = upstream.acquire(&request(), &Tried::new(), began + until).await;
        assert_eq!(answer.unwrap_err(), PickError::QueueTimeout);
        // The timer counts in milliseconds.
        assert!((ends..ends + Duration::from_millis(2)).contains(&(now() - began)));
    }
    let status = upstream.status(now()).queue;
    assert_eq!((status.waiting, status.waits, status.timeouts), (0, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let mut plan = capped(&[1]);
    plan.queue.size = 2;
    let upstream = Upstream::compile(plan, None, now());
    let _held = take(&upstream);
    let _line = [wait(&upstream, &[]).await, wait(&upstream, &[]).await];
    let third = wait(&upstream, &[]).await;
    assert_eq!(third.await.unwrap().unwrap_err(), PickError::QueueFull);
    assert_eq!(upstream.status(now()).queue.full, 1);
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_no_size_refuses_at_once() {
    let mut plan = capped(&[1]);
    plan.queue.size = 0;
    let upstream = Upstream::compile(plan, None, now());
    let held = take(&upstream);
    let waiting = wait(&upstream, &[]).await;
    assert_eq!(waiting.await.unwrap().unwrap_err(), PickError::QueueFull);
    drop(held);
    assert!(wait(&upstream, &[]).await.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_has_tried_the_freed_endpoint_lets_the_others_pass() {
    let upstream = upstream(&[1, 1]);
    let (first, second) = (take(&upstream), take(&upstream));
    let retry = wait(&upstream, &[&first]).await;
    let fresh = wait(&upstream, &[]).await;
    drop(first);
    yield_now().await;
    got(fresh).await;
    assert!(!retry.is_finished());
    drop(second);
    yield_now().await;
    got(retry).await;
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_learn_at_once_that_no_endpoint_is_left() {
    let upstream = upstream(&[1]);
    let _held = take(&upstream);
    let waiting = wait(&upstream, &[]).await;
    upstream.set_admin_state("10.0.0.1:1", AdminState::Drain, now()).unwrap();
    let answer = waiting.await.unwrap();
    assert_eq!(answer.unwrap_err(), PickError::NoEndpoint { blocked: 1, total: 1 });
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_served_when_another_endpoint_comes_up() {
    let upstream = upstream(&[1, 1]);
    upstream.set_admin_state("10.0.0.1:2", AdminState::Down, now()).unwrap();
    let _held = take(&upstream);
    let waiting = wait(&upstream, &[]).await;
    upstream.set_admin_state("10.0.0.1:2", AdminState::Up, now()).unwrap();
    yield_now().await;
    assert_eq!(&**got(waiting).await.endpoint().label(), "10.0.0.1:2");
}

#[tokio::test(start_paused = true)]
async fn a_reload_serves_those_who_waited_before_it() {
    let before = upstream(&[1]);
    let held = take(&before);
    let line = [wait(&before, &[]).await, wait(&before, &[]).await];
    let after = Upstream::compile(capped(&[2]), Some(&before), now());
    yield_now().await;
    assert!(!line[0].is_finished(), "nothing happens before the new generation is adopted");
    after.adopt(now());
    yield_now().await;
    let [first, second] = line;
    let first = got(first).await;
    assert!(!second.is_finished(), "the new cap holds: {:?}", first.endpoint().max_connections());
    drop(held);
    yield_now().await;
    got(second).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_requests_of_a_removed_upstream_are_still_served() {
    let before = upstream(&[1]);
    let held = take(&before);
    let waiting = wait(&before, &[]).await;
    let after = Upstream::compile(capped(&[1]), Some(&before), now());
    after.adopt(now());
    drop(after);
    drop(held);
    yield_now().await;
    got(waiting).await;
}

#[test]
fn no_cap_is_exceeded_and_no_wake_up_lost_under_several_threads() {
    let upstream = upstream(&[1, 2]);
    let inside = [AtomicU32::new(0), AtomicU32::new(0)];
    let worker = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for _ in 0..2_000 {
                let mut request = request();
                // Far away, so that a lost wake-up fails the test and a slow machine does not.
                request.now += secs(30);
                let until = request.now + secs(30);
                let lease = upstream.acquire(&request, &Tried::new(), until).await.unwrap();
                let cap = lease.endpoint().max_connections().unwrap();
                let count = &inside[cap as usize - 1];
                assert!(count.fetch_add(1, Ordering::SeqCst) < cap);
                yield_now().await;
                count.fetch_sub(1, Ordering::SeqCst);
            }
        });
    };
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(worker);
        }
    });
    assert_eq!((upstream.in_flight(), upstream.queue().waiting()), (0, 0));
    let requests: u64 = upstream.endpoints().iter().map(|endpoint| endpoint.requests()).sum();
    assert_eq!(requests, 12_000);
}

#[test]
fn no_cap_is_exceeded_by_any_balancer_under_several_threads() {
    use BalancePlan::*;
    for balance in [RoundRobin, LeastConn, RandomTwo, LeastTime, IpHash, Hash(HashKey::Path)] {
        let mut capped = plan(balance.clone(), &[1, 3, 1]);
        capped.endpoints.iter_mut().zip(1..).for_each(|(line, cap)| line.max_connections = Some(cap));
        let upstream = Upstream::compile(capped, None, now());
        let worker = |seed: u64| {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut held = std::collections::VecDeque::new();
            for _ in 0..1_000 {
                let request = PickRequest { random: random.u64(..), hash: Some(random.u64(..)), ..request() };
                held.extend(upstream.pick(&request, &Tried::new()).ok());
                for endpoint in upstream.endpoints().iter() {
                    assert!(endpoint.in_flight() <= endpoint.max_connections().unwrap(), "{balance:?}");
                }
                if random.bool() {
                    held.pop_front();
                }
            }
        };
        std::thread::scope(|scope| {
            for seed in 0..4 {
                scope.spawn(move || worker(seed));
            }
        });
        assert_eq!(upstream.in_flight(), 0, "{balance:?}");
    }
}
