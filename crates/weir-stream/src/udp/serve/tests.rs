use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::net::UdpSocket as Peer;
use tokio::task::JoinHandle;
use weir_net::udp::UdpPending;
use weir_net::{ConnectionLimits, ConnectionStats, ProxyProtocol, TrustedProxies, Worker, WorkerShared};
use weir_task::{Drain, Live};
use weir_telemetry::{AccessLog, AccessSettings, Log, Shard, Sink};
use weir_upstream::{Address, EndpointPlan, Target, Upstream, UpstreamPlan};

use super::*;
use crate::{OnDown, OnRemove, StreamListenerPlan, StreamPlane, StreamPlanePlan, Takes, UdpPlan};

const LISTENER: u32 = 1;

/// A listener that is served as in the product, on the test's own runtime.
struct Fixture {
    folder: tempfile::TempDir,
    access: AccessLog,
    live: Arc<Live<StreamPlane>>,
    drain: Drain,
    state: Arc<ListenerState>,
    changed: Arc<Notify>,
    address: SocketAddr,
    served: JoinHandle<io::Result<()>>,
}

fn plan() -> UdpPlan {
    UdpPlan {
        forward: "origin".into(),
        idle_timeout: Duration::from_secs(60),
        requests: None,
        responses: None,
        sessions_max: None,
        on_remove: OnRemove::Drain,
        on_down: OnDown::Keep,
        send_proxy_protocol: false,
    }
}

/// A plane with one listener to one endpoint, with a cap on it where one is given.
fn plane(
    plan: &UdpPlan,
    origin: &Peer,
    cap: Option<u32>,
    previous: Option<&StreamPlane>,
) -> Arc<StreamPlane> {
    let mut upstream = UpstreamPlan::new(Arc::clone(&plan.forward));
    let target = Target::Address(Address::Tcp(origin.local_addr().unwrap()));
    upstream.endpoints.push(EndpointPlan { max_connections: cap, ..EndpointPlan::new(target) });
    let upstream = Upstream::compile(upstream, None, Instant::now());
    let upstreams = BTreeMap::from([(Arc::clone(&plan.forward), upstream)]);
    let listener = StreamListenerPlan {
        id: LISTENER,
        name: "games".into(),
        proxy_protocol: ProxyProtocol::Off,
        tls: None,
        takes: Takes::Udp(plan),
    };
    let plan = StreamPlanePlan {
        listeners: vec![listener],
        others: Vec::new(),
        upstreams: &upstreams,
        trusted: TrustedProxies::default(),
        limits: ConnectionLimits::default(),
        sessions_max: 100,
        session_descriptors: 100,
        shards: 3,
    };
    StreamPlane::compile(plan, previous)
}

async fn peer() -> Peer {
    Peer::bind("127.0.0.1:0").await.unwrap()
}

async fn receive(peer: &Peer) -> (String, SocketAddr) {
    let mut bytes = [0; 100];
    let received = tokio::time::timeout(Duration::from_secs(10), peer.recv_from(&mut bytes));
    let (count, from) = received.await.expect("it comes within ten seconds").unwrap();
    (String::from_utf8_lossy(&bytes[..count]).into_owned(), from)
}

impl Fixture {
    fn serve(plane: Arc<StreamPlane>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sink = Sink::File(folder.path().join("access"));
        let access =
            AccessLog::new(AccessSettings { sink, ..AccessSettings::default() }, Log::discard()).unwrap();
        let (drain, live) = (Drain::default(), Arc::new(Live::new(plane)));
        let shared = WorkerShared::new(ConnectionStats::new(2), Log::discard());
        let base = Worker::new(shared, Shard(0), drain.signal(), Instant::now());
        let worker = StreamWorker::new(base, Arc::clone(&live), access.for_worker());
        let state = ListenerState::new(LISTENER, "games".into());
        let socket = UdpPending::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().listen().socket(0).unwrap();
        let (address, changed) = (socket.address(), Arc::new(Notify::new()));
        let served = tokio::spawn(serve(socket, Arc::clone(&state), worker, Arc::clone(&changed)));
        Self { folder, access, live, drain, state, changed, address, served }
    }

    /// Asks and is answered.
    async fn ask(&self, client: &Peer, origin: &Peer, text: &str) -> SocketAddr {
        client.send_to(text.as_bytes(), self.address).await.unwrap();
        let (asked, from) = receive(origin).await;
        assert_eq!(asked, text);
        origin.send_to(format!("{text}!").as_bytes(), from).await.unwrap();
        assert_eq!(receive(client).await, (format!("{text}!"), self.address));
        from
    }

    /// Waits for the end; what was logged then.
    async fn end(self) -> Vec<String> {
        let ended = tokio::time::timeout(Duration::from_secs(10), self.served).await;
        ended.expect("it ends within ten seconds").unwrap().unwrap();
        assert_eq!(self.state.open_connections(), 0);
        assert!(self.access.flush(Duration::from_secs(10)));
        let text = std::fs::read_to_string(self.folder.path().join("access")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn a_session_is_served_and_logged() {
    let (origin, client) = (peer().await, peer().await);
    let plan = UdpPlan { responses: Some(1), ..plan() };
    let fixture = Fixture::serve(plane(&plan, &origin, None, None));
    fixture.ask(&client, &origin, "hello").await;
    fixture.state.retire();
    fixture.changed.notify_waiters();
    let lines = fixture.end().await;
    let wanted = [
        r#""event":"session""#,
        r#""listener":"games""#,
        r#""upstream":"origin""#,
        r#""attempts":1"#,
        r#""client_ip":"127.0.0.1""#,
        r#""bytes_in":5,"bytes_out":6,"datagrams_in":1,"datagrams_out":1"#,
        r#""end":"answered","error":null"#,
    ];
    assert_eq!(lines.len(), 1);
    assert!(wanted.iter().all(|wanted| lines[0].contains(wanted)), "{}", lines[0]);
}

#[tokio::test]
async fn many_rounds_pass_without_a_datagram_being_overlooked() {
    let origin = peer().await;
    let fixture = Fixture::serve(plane(&plan(), &origin, None, None));
    let clients = [peer().await, peer().await, peer().await];
    for round in 0..200 {
        fixture.ask(&clients[round % 3], &origin, &round.to_string()).await;
    }
    assert_eq!(fixture.state.open_connections(), 3);
}

#[tokio::test]
async fn a_session_waits_for_an_endpoint_that_is_at_its_cap() {
    let (origin, first, second) = (peer().await, peer().await, peer().await);
    let plan = UdpPlan { responses: Some(1), ..plan() };
    let fixture = Fixture::serve(plane(&plan, &origin, Some(1), None));
    first.send_to(b"first", fixture.address).await.unwrap();
    let (_, from) = receive(&origin).await;
    second.send_to(b"second", fixture.address).await.unwrap();
    while fixture.state.open_connections() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(origin.try_recv_from(&mut [0; 9]).is_err());
    origin.send_to(b"done", from).await.unwrap();
    assert_eq!(receive(&first).await.0, "done");
    assert_eq!(receive(&origin).await.0, "second");
}

#[tokio::test]
async fn sessions_live_through_a_reload_and_new_ones_follow_it() {
    let (old, new) = (peer().await, peer().await);
    let (before, after) = (peer().await, peer().await);
    let fixture = Fixture::serve(plane(&plan(), &old, None, None));
    let socket = fixture.ask(&before, &old, "one").await;
    let next = UdpPlan { forward: "another".into(), ..plan() };
    fixture.live.publish(plane(&next, &new, None, Some(&fixture.live.load())));
    fixture.changed.notify_waiters();
    assert_eq!(fixture.ask(&before, &old, "two").await, socket);
    fixture.ask(&after, &new, "three").await;
}

#[tokio::test]
async fn an_idle_session_ends_by_itself_and_a_retired_listener_with_its_last() {
    let (origin, client) = (peer().await, peer().await);
    let plan = UdpPlan { idle_timeout: Duration::from_millis(20), ..plan() };
    let fixture = Fixture::serve(plane(&plan, &origin, None, None));
    fixture.ask(&client, &origin, "hello").await;
    fixture.state.retire();
    fixture.changed.notify_waiters();
    let lines = fixture.end().await;
    assert!(lines.len() == 1 && lines[0].contains(r#""end":"idle_timeout""#), "{lines:?}");
}

#[tokio::test]
async fn a_drain_ends_with_the_last_session_or_at_its_deadline() {
    let (origin, client) = (peer().await, peer().await);
    let fixture = Fixture::serve(plane(&plan(), &origin, None, None));
    fixture.ask(&client, &origin, "hello").await;
    fixture.drain.begin(Instant::now() + Duration::from_secs(60));
    fixture.ask(&client, &origin, "still here").await;
    fixture.drain.stop();
    let lines = fixture.end().await;
    assert!(lines.len() == 1 && lines[0].contains(r#""end":"shutting_down""#), "{lines:?}");

    let fixture = Fixture::serve(plane(&plan(), &origin, None, None));
    fixture.ask(&client, &origin, "hello").await;
    fixture.drain.begin(Instant::now());
    assert_eq!(fixture.end().await.len(), 1);

    let fixture = Fixture::serve(plane(&plan(), &origin, None, None));
    fixture.drain.begin(Instant::now() + Duration::from_secs(60));
    assert!(fixture.end().await.is_empty(), "without sessions it ends at once");
}

#[tokio::test]
async fn sessions_end_with_an_endpoint_that_went_down_where_asked_for() {
    let (origin, client) = (peer().await, peer().await);
    let plan = UdpPlan { on_down: OnDown::Close, ..plan() };
    let fixture = Fixture::serve(plane(&plan, &origin, None, None));
    fixture.ask(&client, &origin, "hello").await;
    let plane = fixture.live.load();
    let upstream = &plane.udp(LISTENER).unwrap().forward;
    let label = upstream.endpoints()[0].label().to_string();
    upstream.set_admin_state(&label, weir_upstream::AdminState::Down, Instant::now()).unwrap();
    fixture.state.retire();
    fixture.changed.notify_waiters();
    let lines = fixture.end().await;
    assert!(lines.len() == 1 && lines[0].contains(r#""end":"endpoint_down""#), "{lines:?}");
}

#[tokio::test]
async fn a_session_that_is_cut_with_its_task_is_logged_too() {
    let (origin, client) = (peer().await, peer().await);
    let mut fixture = Fixture::serve(plane(&plan(), &origin, None, None));
    fixture.ask(&client, &origin, "hello").await;
    fixture.served.abort();
    let _cancelled = std::mem::replace(&mut fixture.served, tokio::spawn(async { Ok(()) })).await;
    let lines = fixture.end().await;
    assert!(lines.len() == 1 && lines[0].contains(r#""end":"shutting_down""#), "{lines:?}");
}

/// Goal: a flood keeps nobody from ending the listener. Method: whenever the listener lets other tasks run, they send it
/// more than it takes at a time.
#[tokio::test]
async fn what_has_changed_is_heard_while_datagrams_never_end() {
    let (origin, client) = (peer().await, peer().await);
    let fixture = Fixture::serve(plane(&plan(), &origin, None, None));
    let address = fixture.address;
    let flood = tokio::spawn(async move {
        loop {
            for _ in 0..2 * weir_net::udp::BATCH {
                // The socket may be full, or closed by now.
                let _sent = client.try_send_to(b"x", address);
            }
            tokio::task::yield_now().await;
        }
    });
    while fixture.state.open_connections() == 0 {
        tokio::task::yield_now().await;
    }
    fixture.drain.begin(Instant::now());
    assert_eq!(fixture.end().await.len(), 1);
    flood.abort();
}

#[tokio::test]
async fn who_is_silent_gives_way_to_the_share_of_other_workers_too() {
    let origin = peer().await;
    let plan = UdpPlan { sessions_max: Some(4), ..plan() };
    let fixture = Fixture::serve(plane(&plan, &origin, None, None));
    let clients = [peer().await, peer().await, peer().await, peer().await];
    for client in &clients {
        fixture.ask(client, &origin, "hello").await;
    }
    assert_eq!(fixture.state.open_connections(), 4);
    // As the other worker does, which has none.
    fixture.live.load().udp(LISTENER).unwrap().stats.places.take_beyond();
    let given_way = async {
        while fixture.state.open_connections() == 4 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), given_way).await.expect("one ends within ten seconds");
    assert_eq!(fixture.state.open_connections(), 3);
}

#[tokio::test]
async fn sessions_that_fail_have_a_line_or_are_counted_where_there_are_too_many() {
    const FAILED: u64 = 1_000;
    let (origin, client) = (peer().await, peer().await);
    let fixture = Fixture::serve(plane(&plan(), &origin, None, None));
    let listener = Arc::clone(fixture.live.load().udp(LISTENER).unwrap());
    let label = listener.forward.endpoints()[0].label().to_string();
    listener.forward.set_admin_state(&label, weir_upstream::AdminState::Down, Instant::now()).unwrap();
    for number in 1..=FAILED {
        client.send_to(b"x", fixture.address).await.unwrap();
        while listener.stats.ended_by(crate::end::End::NoEndpoint) < number {
            tokio::task::yield_now().await;
        }
    }
    fixture.state.retire();
    fixture.changed.notify_waiters();
    let lines = fixture.end().await.len() as u64;
    let left_out = listener.stats.udp(Shard(0)).lines_left_out.get();
    assert_eq!(lines + left_out, FAILED);
    assert!(lines >= 100 && left_out > 0, "{lines} lines");
}
