mod look_ups;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::yield_now;

use super::*;
use crate::{
    ActivePlan, BalancePlan, CheckPlan, EndpointPlan, EndpointState, HealthChange, HttpCheckPlan, Outcome,
    PickRequest, Target, Tried, UdpCheckPlan, UpstreamPlan,
};

const GOOD: &str = "HTTP/1.1 204 Fine\r\n\r\n";
const BAD: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";

fn hour() -> Duration {
    Duration::from_secs(3_600)
}

struct Server {
    address: SocketAddr,
    /// What was asked, one connection after the other.
    requests: mpsc::UnboundedReceiver<String>,
}

impl Server {
    /// Answers with the script's next line and, when it is over, with the last one again.
    async fn start(script: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, requests) = mpsc::unbounded_channel();
        let last = script.last().copied().into_iter().cycle();
        // A thread of its own, so that the runtime's tasks are only those under test.
        let listener = listener.into_std().unwrap();
        listener.set_nonblocking(false).unwrap();
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            for answer in script.iter().copied().chain(last) {
                let (mut socket, _) = listener.accept().unwrap();
                let (mut request, mut piece) = (Vec::new(), [0; 1_024]);
                while !request.ends_with(b"\r\n\r\n") {
                    match socket.read(&mut piece) {
                        Ok(n @ 1..) => request.extend_from_slice(&piece[..n]),
                        _ => break,
                    }
                }
                let _ = socket.write_all(answer.as_bytes());
                if asked.send(String::from_utf8(request).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { address, requests }
    }
}

fn plan(address: SocketAddr, interval: Duration) -> UpstreamPlan {
    let mut plan = UpstreamPlan::new("app");
    plan.endpoints.push(EndpointPlan::new(Target::Address(address.into())));
    plan.health.active =
        Some(ActivePlan { interval, ..ActivePlan::new(CheckPlan::Http(HttpCheckPlan::default())) });
    plan
}

fn compile(plan: &UpstreamPlan) -> Arc<Upstream> {
    Upstream::compile(plan.clone(), None, now())
}

fn upkeep() -> (Upkeep, mpsc::UnboundedReceiver<HealthChange>) {
    let (told, changes) = mpsc::unbounded_channel();
    let tell = move |change: &Change| {
        if let Change::Endpoint(change) = change {
            drop(told.send(change.clone()));
        }
    };
    (Upkeep::new(tell), changes)
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Lets the runtime go on until `done`; a test that hangs here has found a bug.
async fn until(done: impl Fn() -> bool) {
    while !done() {
        yield_now().await;
    }
}

#[tokio::test]
async fn an_endpoint_goes_down_and_comes_up_by_its_checks() {
    let mut server = Server::start(&[BAD, GOOD]).await;
    let upstream = compile(&plan(server.address, Duration::from_millis(5)));
    let (upkeep, mut changes) = upkeep();
    upkeep.sync(&[Arc::clone(&upstream)]);

    let down = changes.recv().await.unwrap();
    assert_eq!((down.from, down.to), (EndpointState::Up, EndpointState::CheckFailed));
    assert_eq!(down.reason, "the health check: status 503");
    let up = changes.recv().await.unwrap();
    assert_eq!((up.from, up.to), (EndpointState::CheckFailed, EndpointState::Up));
    assert_eq!(upstream.status(now()).endpoints[0].last_check.as_ref().unwrap().status, Some(204));
    let (asked, version) = (server.requests.recv().await.unwrap(), env!("CARGO_PKG_VERSION"));
    let fields = format!("Host: {}\r\nUser-Agent: Weir-HealthChecker/{version}\r\n", server.address);
    assert_eq!(asked, format!("GET /health HTTP/1.1\r\n{fields}Accept: */*\r\nConnection: close\r\n\r\n"));
}

#[tokio::test]
async fn an_endpoint_comes_up_by_the_expected_datagram_alone() {
    let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut plan = plan(server.local_addr().unwrap(), Duration::from_millis(5));
    let check = UdpCheckPlan { send: b"ping".to_vec(), expect: Some(b"pong".to_vec()) };
    let timeout = Duration::from_millis(20);
    plan.health.active = Some(ActivePlan { timeout, up_after: 1, ..ActivePlan::new(CheckPlan::Udp(check)) });
    let upstream = compile(&plan);
    let (upkeep, mut changes) = upkeep();
    upkeep.sync(&[upstream]);

    let (_, peer) = server.recv_from(&mut [0; 9]).await.unwrap();
    server.send_to(b"busy", peer).await.unwrap();
    let down = changes.recv().await.unwrap();
    assert_eq!((down.from, down.to), (EndpointState::Up, EndpointState::CheckFailed));
    assert_eq!(down.reason, "the health check: none of 1 answers within 20ms holds what is expected");
    let up = loop {
        tokio::select! {
            change = changes.recv() => break change.unwrap(),
            (_, peer) = async { server.recv_from(&mut [0; 9]).await.unwrap() } => {
                server.send_to(b"pong", peer).await.unwrap();
            }
        }
    };
    assert_eq!((up.from, up.to), (EndpointState::CheckFailed, EndpointState::Up));
}

#[tokio::test]
async fn all_endpoints_are_checked_side_by_side_each_at_its_own_port() {
    // Two servers that answer only when both have been asked.
    let listeners =
        [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let mut plan = plan(listeners[0].local_addr().unwrap(), hour());
    plan.endpoints.push(EndpointPlan::new(Target::Address(listeners[1].local_addr().unwrap().into())));
    let upstream = compile(&plan);
    let (upkeep, _changes) = upkeep();
    upkeep.sync(&[Arc::clone(&upstream)]);
    let mut sockets = Vec::new();
    for listener in &listeners {
        sockets.push(listener.accept().await.unwrap().0);
    }
    for socket in &mut sockets {
        socket.write_all(GOOD.as_bytes()).await.unwrap();
    }
    until(|| upstream.status(now()).endpoints.iter().all(|endpoint| endpoint.last_check.is_some())).await;
}

#[tokio::test]
async fn a_thousand_reloads_neither_restart_a_check_nor_leak_a_task() {
    let mut server = Server::start(&[GOOD]).await;
    let mut plan = plan(server.address, hour());
    let mut upstream = compile(&plan);
    let (upkeep, _changes) = upkeep();
    upkeep.sync(&[Arc::clone(&upstream)]);
    server.requests.recv().await.unwrap();
    let before = tasks();
    for attempts in 1..=1_000 {
        plan.retry.attempts = attempts;
        upstream = Upstream::compile(plan.clone(), Some(&upstream), now());
        upkeep.sync(&[Arc::clone(&upstream)]);
        yield_now().await;
    }
    assert_eq!(tasks(), before);
    assert!(server.requests.try_recv().is_err(), "the check went on with its pause of an hour");

    let Some(active) = &mut plan.health.active else { panic!("there is a check") };
    active.up_after = 1;
    upstream = Upstream::compile(plan, Some(&upstream), now());
    upkeep.sync(&[Arc::clone(&upstream)]);
    server.requests.recv().await.unwrap();
    until(|| tasks() == before).await;
    assert!(server.requests.try_recv().is_err(), "other settings are checked at once, and once");
}

#[tokio::test]
async fn results_concern_the_newest_generation() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plan = plan(listener.local_addr().unwrap(), hour());
    let first = compile(&plan);
    let (upkeep, mut changes) = upkeep();
    upkeep.sync(&[Arc::clone(&first)]);
    let (mut asking, _) = listener.accept().await.unwrap();
    // Other passive settings: the two generations judge apart.
    plan.health.passive = None;
    let second = Upstream::compile(plan, Some(&first), now());
    upkeep.sync(&[Arc::clone(&second)]);
    asking.write_all(BAD.as_bytes()).await.unwrap();
    changes.recv().await.unwrap();
    assert_eq!(second.endpoints()[0].state(), EndpointState::CheckFailed);
}

#[tokio::test]
async fn tasks_end_with_the_upstream_and_with_the_upkeep() {
    let server = Server::start(&[GOOD]).await;
    let mut plan = plan(server.address, hour());
    plan.endpoints.push(EndpointPlan::new(Target::Name { host: "localhost".to_owned(), port: 1 }));
    let upstream = compile(&plan);
    let (upkeep, changes) = upkeep();
    upkeep.sync(&[Arc::clone(&upstream)]);
    assert!(tasks() >= 3, "a ticker, a check and a look-up");
    upkeep.sync(&[]);
    until(|| tasks() == 1).await;
    upkeep.sync(std::slice::from_ref(&upstream));
    drop(upkeep);
    until(|| tasks() == 0).await;
    assert!(changes.is_closed(), "nothing of it is left");
    assert_eq!(Arc::strong_count(&upstream), 1);
}

#[tokio::test]
async fn no_more_checks_than_the_limit_run_at_a_time() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut plan = plan(([127, 0, 0, 1], port).into(), hour());
    for last in 2..=10 {
        let address = SocketAddr::from(([127, 0, 0, last], port));
        plan.endpoints.push(EndpointPlan::new(Target::Address(address.into())));
    }
    let upstream = compile(&plan);
    let upkeep = Upkeep::start(Arc::new(|_| ()), names::system(), 3);
    upkeep.sync(&[Arc::clone(&upstream)]);
    let (mut asking, mut accepted) = (std::collections::VecDeque::<TcpStream>::new(), 0);
    while accepted < 10 {
        while asking.len() < 3 {
            asking.push_back(listener.accept().await.unwrap().0);
            accepted += 1;
        }
        for _ in 0..100 {
            yield_now().await;
        }
        let fourth =
            tokio::select! { biased; other = listener.accept() => Some(other), () = yield_now() => None };
        assert!(fourth.is_none(), "a fourth check has begun");
        let mut socket = asking.pop_front().unwrap();
        socket.write_all(GOOD.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_check_whose_listener_panicked_is_started_again_by_the_next_sync() {
    let mut server = Server::start(&[BAD, GOOD]).await;
    let upstream = compile(&plan(server.address, hour()));
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    let upkeep = Upkeep::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        panic!("the listener fails");
    });
    upkeep.sync(std::slice::from_ref(&upstream));
    server.requests.recv().await.unwrap();
    until(|| told.load(Ordering::Relaxed) == 1 && tasks() == 1).await;
    upkeep.sync(&[upstream]);
    server.requests.recv().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_ends_by_time_is_told_without_any_request() {
    let mut plan = UpstreamPlan::new("app");
    for port in [1, 2] {
        plan.endpoints
            .push(EndpointPlan::new(Target::Address(SocketAddr::from(([127, 0, 0, 1], port)).into())));
    }
    let upstream = compile(&plan);
    let (upkeep, mut changes) = upkeep();
    upkeep.sync(&[Arc::clone(&upstream)]);
    let began = now();
    for _ in 0..5 {
        upstream.record(&upstream.endpoints()[0], Outcome::ConnectFailed, began);
    }
    let told = changes.recv().await.unwrap();
    assert_eq!((told.from, told.to), (EndpointState::Ejected, EndpointState::Up));
    assert!((30..=31).contains(&(now() - began).as_secs()));
}
