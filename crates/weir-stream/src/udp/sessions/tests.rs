use std::collections::HashSet;
use std::net::UdpSocket;
use std::num::NonZeroU16;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use weir_net::udp::{DATAGRAM_BYTES_MAX, Outgoing, UdpPending, send_all};
use weir_upstream::{Address, AdminState, EndpointPlan, Target, UpstreamPlan};

use super::*;
use crate::UdpPlan;
use crate::stats::ListenerStats;
use crate::udp::cooling::COOLING;
use crate::udp::stats::DropReason;

const IDLE: Duration = Duration::from_secs(60);

/// What was told.
#[derive(Default)]
struct Told {
    began: Mutex<usize>,
    ended: Mutex<Vec<End>>,
    changes: Mutex<Vec<HealthChange>>,
}

impl Witness for Told {
    fn session_began(&self) {
        *self.began.lock().unwrap() += 1;
    }

    fn session_ended(&self, ended: &EndedSession<'_>) {
        self.ended.lock().unwrap().push(ended.end);
    }

    fn descriptors_ran_out(&self) {}

    fn health_changed(&self, change: &HealthChange) {
        self.changes.lock().unwrap().push(change.clone());
    }
}

/// A listener whose turns and clock are the test's. Loopback delivers within the sending call, so that nothing is waited
/// for.
struct Fixture {
    sessions: Sessions,
    address: SocketAddr,
    batch: Batch,
    now: Instant,
    told: Arc<Told>,
}

fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn local() -> UdpSocket {
    socket("127.0.0.1:0")
}

/// A socket whose address nobody takes once it is closed, as the tests beside this one would a port of `local`.
fn mortal() -> UdpSocket {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    socket(&format!("127.9.{high}.{low}:0"))
}

fn address_of(socket: &UdpSocket) -> Address {
    Address::Tcp(socket.local_addr().unwrap())
}

fn upstream_plan(origins: &[&UdpSocket]) -> UpstreamPlan {
    let mut plan = UpstreamPlan::new("origins");
    plan.endpoints =
        origins.iter().map(|origin| EndpointPlan::new(Target::Address(address_of(origin)))).collect();
    plan
}

fn plan_for(upstream: UpstreamPlan) -> UdpListener {
    let plan = UdpPlan {
        forward: Arc::clone(&upstream.name),
        idle_timeout: IDLE,
        requests: None,
        responses: None,
        sessions_max: None,
        on_remove: OnRemove::Drain,
        on_down: OnDown::Keep,
        send_proxy_protocol: false,
    };
    UdpListener {
        plan,
        forward: Upstream::compile(upstream, None, Instant::now()),
        sessions_max: 1_000,
        stats: ListenerStats::new(1),
    }
}

fn plan(origins: &[&UdpSocket]) -> UdpListener {
    plan_for(upstream_plan(origins))
}

fn with(mut listener: UdpListener, change: impl FnOnce(&mut UdpPlan)) -> UdpListener {
    change(&mut listener.plan);
    listener
}

/// What came, and from whom; none where nothing did.
fn receive(socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr)> {
    let mut bytes = vec![0; DATAGRAM_BYTES_MAX + 1];
    let (count, from) = socket.recv_from(&mut bytes).ok()?;
    bytes.truncate(count);
    Some((bytes, from))
}

fn received(socket: &UdpSocket) -> Vec<String> {
    let all = std::iter::from_fn(|| receive(socket));
    all.map(|(bytes, _)| String::from_utf8(bytes).unwrap()).collect()
}

impl Fixture {
    fn new(bind: &str, listener: UdpListener) -> Self {
        let socket = UdpPending::bind(bind.parse().unwrap(), 1).unwrap().listen().socket(0).unwrap();
        let address = socket.address();
        listener.stats.places.set_max(listener.sessions_max);
        let told = Arc::<Told>::default();
        let witness = Arc::clone(&told) as Arc<dyn Witness>;
        let sessions = Sessions::new(socket, Arc::new(listener), Shard(0), witness).unwrap();
        Self { sessions, address, batch: Batch::default(), now: Instant::now(), told }
    }

    fn local(plan: UdpListener) -> Self {
        Self::new("127.0.0.1:0", plan)
    }

    fn turn(&mut self) {
        while self.sessions.turn(&mut self.batch, self.now) == Turn::More {}
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.turn();
    }

    fn send(&mut self, client: &UdpSocket, text: &str) {
        client.send_to(text.as_bytes(), self.address).unwrap();
        self.turn();
    }

    /// Lets the origin answer all it got, each with its own text and a mark; returns who asked.
    fn answer(&mut self, origin: &UdpSocket) -> Vec<SocketAddr> {
        let asked: Vec<_> = std::iter::from_fn(|| receive(origin)).collect();
        for (bytes, from) in &asked {
            origin.send_to(&[bytes, &b"!"[..]].concat(), from).unwrap();
        }
        self.turn();
        asked.into_iter().map(|(_, from)| from).collect()
    }

    fn reasons(&self) -> Vec<End> {
        self.told.ended.lock().unwrap().clone()
    }

    fn ended(&self, end: End) -> usize {
        self.reasons().into_iter().filter(|&reason| reason == end).count()
    }

    fn tallies(&self) -> &UdpTallies {
        self.sessions.tallies()
    }

    fn upstream(&self) -> &Arc<Upstream> {
        &self.sessions.listener().forward
    }

    fn update(&mut self, change: impl FnOnce(&mut UdpListener)) {
        let mut listener = (**self.sessions.listener()).clone();
        change(&mut listener);
        self.sessions.set_listener(Arc::new(listener));
        self.turn();
    }

    /// The address of the one session's socket that is open.
    fn first_socket(&self) -> SocketAddr {
        let open = self.sessions.table.sessions_from(0, 100).find_map(|(_, session)| session.open());
        rustix::net::getsockname(&open.unwrap().socket).unwrap().try_into().unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.sessions.drain();
        while !self.sessions.is_drained() {
            self.sessions.end_some(self.now);
        }
        let began = *self.told.began.lock().unwrap();
        let left = (began - self.reasons().len(), self.sessions.held_bytes, self.upstream().in_flight());
        assert_eq!(left, (0, 0, 0), "nothing is left of sessions that ended");
        assert_eq!(self.sessions.listener().stats.places.taken(), 0);
    }
}

#[test]
fn datagrams_of_every_size_pass_both_ways() {
    let (origin, client) = (local(), local());
    let mut fixture = Fixture::local(plan(&[&origin]));
    for size in [0, 1, 512, 9_000, DATAGRAM_BYTES_MAX] {
        let sent: Vec<u8> = (0..size).map(|at| at as u8).collect();
        client.send_to(&sent, fixture.address).unwrap();
        fixture.turn();
        let (got, from) = receive(&origin).unwrap();
        assert_eq!(got, sent);
        origin.send_to(&got, from).unwrap();
        fixture.turn();
        assert_eq!(receive(&client), Some((sent, fixture.address)));
    }
    let tallies = fixture.tallies();
    assert_eq!((tallies.sessions.get(), tallies.datagrams_in.get(), tallies.datagrams_out.get()), (1, 5, 5));
}

#[test]
fn an_empty_datagram_begins_a_session() {
    let (origin, client) = (local(), local());
    let mut fixture = Fixture::local(plan(&[&origin]));
    fixture.send(&client, "");
    assert_eq!(fixture.answer(&origin).len(), 1);
    assert_eq!(received(&client), ["!"]);
}

#[test]
fn answers_come_from_the_address_that_was_asked() {
    for (bind, one, other, client) in
        [("0.0.0.0:0", "127.0.0.5", "127.0.0.6", "127.0.0.9:0"), ("[::]:0", "::1", "::1", "[::1]:0")]
    {
        let (origin, client) = (local(), socket(client));
        let mut fixture = Fixture::new(bind, plan(&[&origin]));
        for asked in [one, other] {
            let asked = SocketAddr::new(asked.parse().unwrap(), fixture.address.port());
            client.send_to(b"who", asked).unwrap();
            fixture.turn();
            fixture.answer(&origin);
            assert_eq!(receive(&client), Some((b"who!".to_vec(), asked)));
        }
        let sessions = if one == other { 1 } else { 2 };
        assert_eq!(fixture.sessions.sessions(), sessions, "each address that is asked has its own");
    }
}

#[test]
fn every_client_gets_its_own_answers_and_nobody_elses() {
    let origin = local();
    let mut fixture = Fixture::local(plan(&[&origin]));
    let clients: Vec<UdpSocket> = (0..100).map(|_| local()).collect();
    for round in 0..3 {
        for (at, client) in clients.iter().enumerate() {
            client.send_to(format!("{round}/{at}").as_bytes(), fixture.address).unwrap();
        }
        fixture.turn();
        fixture.answer(&origin);
        for (at, client) in clients.iter().enumerate() {
            assert_eq!(received(client), [format!("{round}/{at}!")]);
        }
    }
    assert_eq!(fixture.sessions.sessions(), 100);
}

#[test]
fn what_a_stranger_sends_to_a_sessions_socket_reaches_nobody() {
    let (origin, client, stranger) = (local(), local(), local());
    let mut fixture = Fixture::local(plan(&[&origin]));
    fixture.send(&client, "hello");
    let (_, session) = receive(&origin).unwrap();
    stranger.send_to(b"not asked for", session).unwrap();
    fixture.turn();
    assert_eq!((received(&client).len(), fixture.tallies().datagrams_out.get()), (0, 0));
}

#[test]
fn a_datagram_that_claims_to_be_from_the_listener_itself_is_dropped() {
    for (bind, asked) in [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "::1")] {
        let origin = local();
        let mut fixture = Fixture::new(bind, plan(&[&origin]));
        let own = SocketAddr::new(asked.parse().unwrap(), fixture.address.port());
        let forged = Outgoing { to: Some(own), ..Outgoing::to_peer(b"x") };
        send_all(&fixture.sessions.socket, &[forged; 3], |_, error| panic!("{error}"));
        fixture.turn();
        let (origin, sessions) = (received(&origin).len(), fixture.sessions.sessions());
        assert_eq!((origin, sessions, fixture.tallies().dropped(DropReason::OwnAddress)), (0, 0, 3));
    }
}

#[test]
fn a_session_ends_when_it_was_idle_and_what_comes_late_is_dropped() {
    let (origin, client) = (local(), local());
    let mut fixture = Fixture::local(plan(&[&origin]));
    fixture.send(&client, "one");
    let first = fixture.answer(&origin);
    fixture.pass(IDLE - Duration::from_secs(1));
    origin.send_to(b"still here", first[0]).unwrap();
    fixture.pass(Duration::ZERO);
    fixture.pass(IDLE - Duration::from_nanos(1));
    assert_eq!(
        (received(&client), fixture.sessions.sessions()),
        (vec!["one!".into(), "still here".into()], 1)
    );
    fixture.pass(Duration::from_nanos(1));
    assert_eq!((fixture.sessions.sessions(), fixture.reasons()), (0, vec![End::IdleTimeout]));
    // Another takes the port of its socket, unless one of the tests beside this one was faster.
    if let Ok(heir) = UdpSocket::bind(first[0]) {
        origin.send_to(b"late", first[0]).unwrap();
        fixture.turn();
        assert_eq!(receive(&heir).map(|(bytes, _)| bytes), Some(b"late".to_vec()));
    }
    // The client's port is used again.
    fixture.send(&client, "two");
    let second = fixture.answer(&origin);
    assert_eq!(received(&client), ["two!"]);
    assert_ne!(first, second);
}

#[test]
fn the_port_of_an_unanswered_session_is_nobodys_for_a_while() {
    type Change = fn(&mut UdpPlan);
    type Ending = fn(&mut Fixture);
    let endings: [(Change, Ending); 3] = [
        (|_| {}, |fixture| fixture.pass(IDLE)),
        (|plan| plan.responses = Some(2), |fixture| fixture.pass(IDLE)),
        (
            |plan| plan.on_down = OnDown::Close,
            |fixture| {
                let label = fixture.upstream().endpoints()[0].label().to_string();
                fixture.upstream().set_admin_state(&label, AdminState::Down, fixture.now).unwrap();
                fixture.sessions.review();
                fixture.turn();
            },
        ),
    ];
    for (change, end) in endings {
        let (origin, client) = (local(), local());
        let mut fixture = Fixture::local(with(plan(&[&origin]), change));
        fixture.send(&client, "one");
        fixture.answer(&origin);
        fixture.send(&client, "two");
        let (_, port) = receive(&origin).unwrap();
        end(&mut fixture);
        assert_eq!(fixture.sessions.sessions(), 0);
        assert!(UdpSocket::bind(port).is_err(), "the port is taken");
        origin.send_to(b"late", port).unwrap();
        assert_eq!(fixture.sessions.turn(&mut fixture.batch, fixture.now), Turn::Done);
        assert_eq!((received(&client), fixture.tallies().datagrams_out.get()), (vec!["one!".to_owned()], 1));
        assert_eq!(fixture.sessions.readiness.ready(EVENTS, |_| {}).unwrap(), 0, "nothing wakes it");
        assert_eq!(fixture.sessions.next_expiry(), Some(fixture.now + COOLING));
        fixture.pass(COOLING);
        assert_eq!((fixture.sessions.next_expiry(), fixture.tallies().cooled_briefly.get()), (None, 0));
        // Unless one of the tests beside this one was faster.
        let _free = UdpSocket::bind(port);
    }
}

#[test]
fn late_answers_reach_none_of_the_sessions_that_follow() {
    let origin = local();
    let mut fixture = Fixture::local(with(plan(&[&origin]), |plan| plan.responses = Some(1)));
    let clients: Vec<UdpSocket> = (0..100).map(|_| local()).collect();
    let ask = |fixture: &mut Fixture| -> HashSet<SocketAddr> {
        clients.iter().for_each(|client| fixture.send(client, "x"));
        std::iter::from_fn(|| receive(&origin)).map(|(_, port)| port).collect()
    };
    let former = ask(&mut fixture);
    fixture.pass(IDLE);
    let ports = ask(&mut fixture);
    assert_eq!((former.len(), ports.len(), ports.intersection(&former).count()), (100, 100, 0));
    for port in &former {
        origin.send_to(b"late", port).unwrap();
    }
    fixture.turn();
    assert!(clients.iter().all(|client| received(client).is_empty()));
    assert_eq!((fixture.ended(End::IdleTimeout), fixture.tallies().cooled_briefly.get()), (100, 0));
}

#[test]
fn the_port_that_an_unanswered_session_leaves_for_another_endpoint_is_nobodys_for_a_while() {
    let (dead, origin, client) = (mortal(), local(), local());
    let mut fixture = Fixture::local(plan(&[&dead, &origin]));
    fixture.send(&client, "one");
    let (_, port) = receive(&dead).unwrap();
    drop(dead);
    fixture.send(&client, "two");
    fixture.send(&client, "three");
    assert_eq!(fixture.tallies().moved.get(), 1);
    assert!(UdpSocket::bind(port).is_err(), "the port is taken");
}

#[test]
fn ports_that_are_not_free_yet_are_bounded_and_counted() {
    let origin = local();
    let mut fixture = Fixture::local(UdpListener { sessions_max: 20, ..plan(&[&origin]) });
    let flood: Vec<UdpSocket> = (0..100).map(|_| local()).collect();
    flood.iter().for_each(|sender| fixture.send(sender, "flood"));
    assert_eq!((fixture.ended(End::Evicted), fixture.tallies().cooled_briefly.get()), (80, 75));
}

#[test]
fn many_idle_sessions_end_a_part_at_a_time() {
    let origin = local();
    let mut fixture = Fixture::local(plan(&[&origin]));
    let clients: Vec<UdpSocket> = (0..150).map(|_| local()).collect();
    clients.iter().for_each(|client| fixture.send(client, "x"));
    fixture.now += IDLE;
    let mut left = Vec::new();
    while fixture.sessions.turn(&mut fixture.batch, fixture.now) == Turn::More {
        left.push(fixture.sessions.sessions());
    }
    assert_eq!((left, fixture.sessions.sessions()), (vec![86, 22], 0));
}

#[test]
fn a_session_ends_with_its_last_expected_answer() {
    let (origin, client) = (local(), local());
    let mut fixture = Fixture::local(with(plan(&[&origin]), |plan| plan.responses = Some(2)));
    fixture.send(&client, "a");
    fixture.send(&client, "b");
    let from = fixture.answer(&origin)[0];
    assert_eq!(fixture.sessions.sessions(), 1, "two questions have four answers");
    origin.send_to(b"third", from).unwrap();
    fixture.turn();
    origin.send_to(b"fourth", from).unwrap();
    fixture.turn();
    assert_eq!(received(&client), ["a!", "b!", "third", "fourth"]);
    assert_eq!((fixture.reasons(), fixture.sessions.sessions()), (vec![End::Answered], 0));
}

#[test]
fn no_more_answers_pass_than_are_owed() {
    let (origin, client) = (local(), local());
    let limits = with(plan(&[&origin]), |plan| (plan.requests, plan.responses) = (Some(2), Some(2)));
    let mut fixture = Fixture::local(limits);
    fixture.send(&client, "a");
    let (_, port) = receive(&origin).unwrap();
    for text in ["1", "2", "3", "4"] {
        origin.send_to(text.as_bytes(), port).unwrap();
    }
    fixture.turn();
    assert_eq!((received(&client), fixture.sessions.sessions()), (vec!["1".to_owned(), "2".to_owned()], 1));
    assert_eq!(
        (fixture.tallies().datagrams_out.get(), fixture.tallies().dropped(DropReason::Surplus)),
        (4, 2)
    );

    fixture.send(&client, "b");
    assert_eq!(received(&origin), ["b"]);
    let joined =
        Outgoing { bytes: b"aaaabbbbcc", to: Some(port), from: None, segment_bytes: NonZeroU16::new(4) };
    send_all(&origin, &[joined, joined], |_, error| panic!("{error}"));
    fixture.turn();
    assert_eq!(
        (received(&client), fixture.reasons()),
        (vec!["aaaa".into(), "bbbb".into()], vec![End::Answered])
    );
    assert_eq!(fixture.tallies().dropped(DropReason::Surplus), 2 + 4);
}

#[test]
fn a_session_that_expects_no_answer_ends_when_its_datagram_is_sent() {
    let (origin, client) = (local(), local());
    let mut fixture = Fixture::local(with(plan(&[&origin]), |plan| plan.responses = Some(0)));
    fixture.send(&client, "a");
    fixture.send(&client, "b");
    assert_eq!(received(&origin), ["a", "b"]);
    assert_eq!(fixture.reasons(), [End::Answered, End::Answered]);
}

#[test]
fn after_its_requests_a_client_begins_another_session_and_both_are_answered() {
    let (origin, client) = (local(), local());
    let requests = Some(2);
    let mut fixture = Fixture::local(with(plan(&[&origin]), |plan| plan.requests = requests));
    for text in ["a", "b", "c"] {
        client.send_to(text.as_bytes(), fixture.address).unwrap();
    }
    fixture.turn();
    assert_eq!(fixture.sessions.sessions(), 2);
    let from = fixture.answer(&origin);
    assert_eq!((from[0], from[0] == from[2]), (from[1], false));
    assert_eq!(received(&client), ["a!", "b!", "c!"]);
    assert_eq!(fixture.sessions.sessions(), 2, "without expected answers only time ends them");
    fixture.update(|listener| listener.plan.responses = Some(1));
    fixture.send(&client, "d");
    fixture.answer(&origin);
    assert_eq!((received(&client), fixture.sessions.sessions()), (vec!["d!".to_owned()], 1));
}

#[test]
fn an_expected_answer_does_not_end_a_session_that_may_still_ask() {
    let (origin, client) = (local(), local());
    let limits = with(plan(&[&origin]), |plan| (plan.requests, plan.responses) = (Some(2), Some(1)));
    let mut fixture = Fixture::local(limits);
    fixture.send(&client, "a");
    let first = fixture.answer(&origin);
    assert_eq!(fixture.sessions.sessions(), 1);
    fixture.send(&client, "b");
    assert_eq!(fixture.answer(&origin), first);
    assert_eq!((fixture.sessions.sessions(), received(&client)), (0, vec!["a!".into(), "b!".into()]));
}

#[test]
fn a_refusal_moves_the_session_and_loses_nothing() {
    let (dead, origin, client) = (mortal(), local(), local());
    let mut fixture = Fixture::local(plan(&[&dead, &origin]));
    drop(dead);
    fixture.send(&client, "one");
    fixture.send(&client, "two");
    assert_eq!(received(&origin), ["one", "two"]);
    let upstream = fixture.upstream();
    let failures = upstream.endpoints()[0].failures(weir_upstream::FailureKind::Connect);
    assert_eq!((failures, fixture.tallies().moved.get(), fixture.sessions.sessions()), (1, 1, 1));
    let requests: Vec<u64> =
        upstream.endpoints().iter().map(|endpoint| endpoint.in_flight().into()).collect();
    assert_eq!(requests, [0, 1]);
}

#[test]
fn a_session_whose_endpoint_dies_later_moves_too() {
    let (dead, origin, client) = (mortal(), local(), local());
    let mut fixture = Fixture::local(plan(&[&dead, &origin]));
    fixture.send(&client, "one");
    fixture.answer(&dead);
    drop(dead);
    fixture.send(&client, "lost on its way");
    fixture.send(&client, "three");
    fixture.answer(&origin);
    assert_eq!(received(&client), ["one!", "three!"]);
    assert_eq!((fixture.tallies().moved.get(), fixture.sessions.sessions()), (1, 1));
}

#[test]
fn a_session_moves_back_to_an_endpoint_that_serves_again() {
    let (one, other, client) = (mortal(), mortal(), local());
    let here = one.local_addr().unwrap();
    let mut fixture = Fixture::local(plan(&[&one, &other]));
    fixture.send(&client, "one");
    fixture.answer(&one);
    drop(one);
    fixture.send(&client, "lost on its way");
    fixture.send(&client, "two");
    fixture.answer(&other);
    let back = socket(&here.to_string());
    drop(other);
    fixture.send(&client, "lost too");
    fixture.send(&client, "three");
    fixture.answer(&back);
    assert_eq!(received(&client), ["one!", "two!", "three!"]);
    assert_eq!((fixture.tallies().moved.get(), fixture.tallies().sessions.get()), (2, 1));
}

#[test]
fn a_session_that_every_endpoint_refuses_ends_and_the_next_datagram_tries_again() {
    let (one, other, client) = (mortal(), mortal(), local());
    let (here, there) = (one.local_addr().unwrap(), other.local_addr().unwrap());
    let mut fixture = Fixture::local(plan(&[&one, &other]));
    drop((one, other));
    fixture.send(&client, "lost");
    fixture.turn();
    assert_eq!(
        (fixture.reasons(), fixture.tallies().dropped(DropReason::Refused)),
        (vec![End::ConnectFailed], 1)
    );
    let back = [socket(&here.to_string()), socket(&there.to_string())];
    fixture.send(&client, "again");
    assert_eq!(back.iter().flat_map(received).collect::<Vec<_>>(), ["again"]);
    assert!(fixture.told.changes.lock().unwrap().is_empty());
}

#[test]
fn refusals_in_a_row_pause_an_endpoint_and_say_so() {
    let (dead, origin) = (mortal(), local());
    let mut fixture = Fixture::local(plan(&[&dead, &origin]));
    drop(dead);
    let clients: Vec<UdpSocket> = (0..20).map(|_| local()).collect();
    clients.iter().for_each(|client| fixture.send(client, "x"));
    assert_eq!(received(&origin).len(), 20);
    assert_eq!((fixture.told.changes.lock().unwrap().len(), fixture.tallies().moved.get()), (1, 5));
}

#[test]
fn without_an_endpoint_datagrams_are_dropped_and_counted() {
    let client = local();
    let mut fixture = Fixture::local(plan(&[]));
    fixture.send(&client, "x");
    assert_eq!(fixture.tallies().dropped(DropReason::NoEndpoint), 1);
    assert_eq!((fixture.reasons(), fixture.sessions.sessions()), (vec![End::NoEndpoint], 0));
    let mut unix = UpstreamPlan::new("unix");
    unix.endpoints.push(EndpointPlan::new(Target::Address(Address::Unix("/nowhere".into()))));
    let mut fixture = Fixture::local(plan_for(unix));
    fixture.send(&client, "x");
    assert_eq!(
        (fixture.reasons(), fixture.tallies().dropped(DropReason::Refused)),
        (vec![End::ConnectFailed], 1)
    );
}

#[test]
fn a_flood_of_senders_is_bounded_and_spares_those_with_answers() {
    let (origin, client) = (local(), local());
    let mut fixture = Fixture::local(UdpListener { sessions_max: 20, ..plan(&[&origin]) });
    fixture.send(&client, "one");
    fixture.answer(&origin);
    let flood: Vec<UdpSocket> = (0..300).map(|_| local()).collect();
    for sender in &flood {
        fixture.send(sender, "flood");
        assert!(fixture.sessions.sessions() <= 20);
    }
    assert_eq!(fixture.ended(End::Evicted), 281);
    assert!(fixture.sessions.held_bytes <= 20 * 5);
    while receive(&origin).is_some() {}
    fixture.send(&client, "two");
    fixture.answer(&origin);
    assert_eq!(
        (received(&client), fixture.tallies().sessions.get()),
        (vec!["one!".into(), "two!".into()], 301)
    );
    fixture.update(|listener| listener.sessions_max = 5);
    fixture.turn();
    assert_eq!(fixture.sessions.sessions(), 5, "a lower limit holds at once");
}

#[test]
fn datagrams_wait_for_an_endpoint_in_order_and_within_bounds() {
    let (origin, first, second) = (local(), local(), local());
    let mut upstream = upstream_plan(&[&origin]);
    upstream.endpoints[0].max_connections = Some(1);
    let mut fixture = Fixture::local(plan_for(upstream));
    fixture.send(&first, "first");
    assert_eq!(received(&origin), ["first"]);
    for at in 0..20 {
        fixture.send(&second, &at.to_string());
    }
    assert_eq!((received(&origin).len(), fixture.tallies().dropped(DropReason::QueueFull)), (0, 4));
    let waiting = fixture.sessions.take_waiting();
    assert_eq!(waiting.len(), 1);
    fixture.pass(IDLE);
    assert_eq!(fixture.sessions.sessions(), 0, "whoever waits may be idle too");
    let late = fixture.upstream().pick(&waiting[0].request, &waiting[0].tried);
    fixture.sessions.chosen(waiting[0].id, late, fixture.now);
    assert_eq!(fixture.upstream().in_flight(), 0, "an endpoint that comes too late is free again");

    fixture.send(&first, "again");
    fixture.send(&second, "a");
    fixture.send(&second, "");
    fixture.send(&second, "b");
    let waiting = fixture.sessions.take_waiting().remove(0);
    assert_eq!(received(&origin), ["again"]);
    fixture.update(|listener| listener.plan.responses = Some(1));
    origin.send_to(b"!", fixture.first_socket()).unwrap();
    fixture.turn();
    let answer = fixture.upstream().pick(&waiting.request, &waiting.tried);
    fixture.sessions.chosen(waiting.id, answer, fixture.now);
    assert_eq!(received(&origin), ["a", "", "b"]);
}

#[test]
fn a_session_that_waited_in_vain_ends() {
    let (origin, first, second) = (local(), local(), local());
    let mut upstream = upstream_plan(&[&origin]);
    upstream.endpoints[0].max_connections = Some(1);
    let mut fixture = Fixture::local(plan_for(upstream));
    fixture.send(&first, "first");
    fixture.send(&second, "a");
    fixture.send(&second, "b");
    let waiting = fixture.sessions.take_waiting().remove(0);
    fixture.sessions.chosen(waiting.id, Err(weir_upstream::PickError::QueueTimeout), fixture.now);
    assert_eq!(
        (fixture.reasons(), fixture.tallies().dropped(DropReason::NoEndpoint)),
        (vec![End::NoEndpoint], 2)
    );
}

#[test]
fn a_draining_listener_serves_its_sessions_and_begins_none() {
    let (origin, client, late) = (local(), local(), local());
    let mut fixture = Fixture::local(plan(&[&origin]));
    fixture.send(&client, "one");
    fixture.sessions.drain();
    fixture.send(&client, "two");
    fixture.send(&late, "three");
    fixture.answer(&origin);
    assert_eq!(received(&client), ["one!", "two!"]);
    assert_eq!((received(&late).len(), fixture.tallies().dropped(DropReason::Draining)), (0, 1));
}

#[test]
fn a_session_that_is_silent_while_the_process_ends_is_not_waited_for() {
    let (origin, client) = (local(), local());
    let mut fixture = Fixture::local(plan(&[&origin]));
    fixture.send(&client, "one");
    fixture.sessions.drain();
    fixture.sessions.shorten(Duration::from_secs(5));
    fixture.pass(Duration::from_secs(4));
    fixture.send(&client, "two");
    fixture.pass(Duration::from_secs(4));
    assert!(!fixture.sessions.is_drained());
    fixture.pass(Duration::from_secs(1));
    assert!(fixture.sessions.is_drained());
    assert_eq!((fixture.reasons(), received(&origin).len()), (vec![End::IdleTimeout], 2));
}

#[test]
fn a_listener_that_was_handed_over_leaves_questions_to_its_successor() {
    let (origin, client) = (local(), local());
    let mut fixture = Fixture::local(plan(&[&origin]));
    fixture.send(&client, "one");
    fixture.sessions.stop_listening();
    fixture.send(&client, "two");
    fixture.answer(&origin);
    assert_eq!((received(&client), fixture.tallies().datagrams_in.get()), (vec!["one!".to_owned()], 1));
}

#[test]
fn sessions_outlive_their_endpoint_unless_told_otherwise() {
    for (close, left) in [(OnRemove::Drain, 10), (OnRemove::Close, 0)] {
        let (origin, other) = (local(), local());
        let mut fixture = Fixture::local(with(plan(&[&origin]), |plan| plan.on_remove = close));
        let clients: Vec<UdpSocket> = (0..10).map(|_| local()).collect();
        clients.iter().for_each(|client| fixture.send(client, "x"));
        let old = Arc::clone(fixture.upstream());
        old.endpoints()[0].set_retired(true);
        let now = fixture.now;
        fixture.update(|listener| {
            listener.forward = Upstream::compile(upstream_plan(&[&other]), Some(&old), now);
        });
        assert_eq!(fixture.sessions.sessions(), left);
        assert_eq!(fixture.ended(End::EndpointRemoved), 10 - left);
        fixture.send(&local(), "new");
        assert_eq!(received(&other), ["new"]);
    }
}

#[test]
fn sessions_of_an_endpoint_that_is_down_go_on_unless_told_otherwise() {
    for (close, left) in [(OnDown::Keep, 3), (OnDown::Close, 0)] {
        let origin = local();
        let mut fixture = Fixture::local(with(plan(&[&origin]), |plan| plan.on_down = close));
        let clients: Vec<UdpSocket> = (0..3).map(|_| local()).collect();
        clients.iter().for_each(|client| fixture.send(client, "x"));
        let label = fixture.upstream().endpoints()[0].label().to_string();
        let upstream = fixture.upstream();
        upstream.set_admin_state(&label, AdminState::Down, fixture.now).unwrap();
        fixture.sessions.review();
        fixture.turn();
        assert_eq!(fixture.sessions.sessions(), left);
        assert_eq!(fixture.ended(End::EndpointDown), 3 - left);
    }
}

#[test]
fn all_of_very_many_sessions_are_reviewed() {
    let origin = local();
    let mut fixture = Fixture::local(with(plan(&[&origin]), |plan| plan.on_down = OnDown::Close));
    let clients: Vec<UdpSocket> = (0..200).map(|_| local()).collect();
    clients.iter().for_each(|client| fixture.send(client, "x"));
    let label = fixture.upstream().endpoints()[0].label().to_string();
    fixture.upstream().set_admin_state(&label, AdminState::Down, fixture.now).unwrap();
    fixture.sessions.review();
    let mut left = Vec::new();
    while fixture.sessions.turn(&mut fixture.batch, fixture.now) == Turn::More {
        left.push(fixture.sessions.sessions());
    }
    assert_eq!((left, fixture.sessions.sessions()), (vec![136, 72, 8], 0));
}

#[test]
fn the_first_datagram_to_each_endpoint_begins_with_a_header_where_asked_for() {
    let (origin, client) = (local(), local());
    let mut fixture = Fixture::local(with(plan(&[&origin]), |plan| plan.send_proxy_protocol = true));
    let mut header = Vec::new();
    weir_wire::proxy_protocol::write_v2_datagram(client.local_addr().unwrap(), fixture.address, &mut header);
    fixture.send(&client, "one");
    fixture.send(&client, "two");
    assert_eq!(receive(&origin).unwrap().0, [&header[..], b"one"].concat());
    assert_eq!(receive(&origin).unwrap().0, b"two");
    // With the header it is longer than a datagram may be.
    let (long, big) = (local(), vec![0; DATAGRAM_BYTES_MAX]);
    long.send_to(&big, fixture.address).unwrap();
    fixture.turn();
    assert_eq!((receive(&origin), fixture.tallies().dropped(DropReason::Oversize)), (None, 1));
    fixture.send(&long, "three");
    let (bytes, _) = receive(&origin).unwrap();
    assert_eq!((bytes.len(), bytes.ends_with(b"three")), (header.len() + 5, true));
}

#[test]
fn joined_datagrams_keep_their_bounds_and_count_as_many() {
    let (origin, client) = (local(), local());
    let mut fixture = Fixture::local(plan(&[&origin]));
    fixture.send(&client, "begin");
    for _ in 0..2 {
        let joined = Outgoing {
            bytes: b"aaaabbbbcc",
            to: Some(fixture.address),
            from: None,
            segment_bytes: NonZeroU16::new(4),
        };
        send_all(&client, &[joined], |_, error| panic!("{error}"));
    }
    fixture.turn();
    assert_eq!(received(&origin), ["begin", "aaaa", "bbbb", "cc", "aaaa", "bbbb", "cc"]);
    assert_eq!(fixture.tallies().datagrams_in.get(), 7);
    fixture.update(|listener| listener.plan.requests = Some(1));
    let fresh = local();
    let joined = Outgoing {
        bytes: b"aaaabbbbcc",
        to: Some(fixture.address),
        from: None,
        segment_bytes: NonZeroU16::new(4),
    };
    send_all(&fresh, &[joined], |_, error| panic!("{error}"));
    fixture.turn();
    assert_eq!((received(&origin).len(), fixture.sessions.sessions()), (3, 4));
}

#[test]
fn joined_answers_reach_the_client_with_their_bounds() {
    let (origin, client) = (local(), local());
    let mut fixture = Fixture::local(plan(&[&origin]));
    fixture.send(&client, "x");
    let (_, from) = receive(&origin).unwrap();
    let joined =
        Outgoing { bytes: b"aaaabbbbcc", to: Some(from), from: None, segment_bytes: NonZeroU16::new(4) };
    send_all(&origin, &[joined], |_, error| panic!("{error}"));
    fixture.turn();
    assert_eq!(received(&client), ["aaaa", "bbbb", "cc"]);
    assert_eq!((fixture.tallies().datagrams_out.get(), fixture.told.ended.lock().unwrap().len()), (3, 0));
}

#[test]
fn another_upstream_gets_what_begins_after_the_change() {
    let (old, new, client) = (local(), local(), local());
    let mut fixture = Fixture::local(plan(&[&old]));
    fixture.send(&client, "one");
    let mut upstream = upstream_plan(&[&new]);
    upstream.name = "others".into();
    fixture.update(|listener| listener.forward = Upstream::compile(upstream, None, Instant::now()));
    fixture.send(&client, "two");
    fixture.send(&local(), "three");
    assert_eq!(
        (received(&old), received(&new)),
        (vec!["one".into(), "two".into()], vec!["three".to_owned()])
    );
}

#[derive(Debug, Clone)]
enum Step {
    Ask(usize),
    Answer(usize),
    Kill(usize),
    Revive(usize),
    Serve,
    Forget,
    Pass(u64),
    Review,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..6_usize).prop_map(Step::Ask),
        6 => (0..2_usize).prop_map(Step::Answer),
        1 => (0..2_usize).prop_map(Step::Kill),
        1 => (0..2_usize).prop_map(Step::Revive),
        3 => Just(Step::Serve),
        1 => Just(Step::Forget),
        1 => (1..90_u64).prop_map(Step::Pass),
        1 => Just(Step::Review),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_happens_nothing_is_mixed_up_and_nothing_is_left(
        steps in proptest::collection::vec(step(), 1..120),
        (requests, responses) in (proptest::option::of(1..3_u64), proptest::option::of(1..3_u64)),
        sessions_max in 1..6_u32,
    ) {
        let mut origins = [Some(mortal()), Some(mortal())];
        let addresses: Vec<SocketAddr> = origins.iter().flatten().map(|o| o.local_addr().unwrap()).collect();
        let mut upstream = upstream_plan(&origins.iter().flatten().collect::<Vec<_>>());
        upstream.endpoints.iter_mut().for_each(|endpoint| endpoint.max_connections = Some(2));
        let mut listener = with(plan_for(upstream), |plan| (plan.requests, plan.responses) = (requests, responses));
        listener.sessions_max = sessions_max;
        let mut fixture = Fixture::local(listener);
        let clients: Vec<UdpSocket> = (0..6).map(|_| local()).collect();
        let mut waiting = Vec::new();
        for step in steps {
            match step {
                Step::Ask(client) => fixture.send(&clients[client], &format!("of {client}")),
                Step::Answer(origin) => {
                    if let Some(origin) = &origins[origin] {
                        fixture.answer(origin);
                    }
                }
                Step::Kill(origin) => origins[origin] = None,
                Step::Revive(origin) => {
                    origins[origin].get_or_insert_with(|| socket(&addresses[origin].to_string()));
                }
                Step::Serve => {
                    waiting.append(&mut fixture.sessions.take_waiting());
                    for Waiting { id, upstream, request, tried } in waiting.drain(..) {
                        let answer = upstream.pick(&request, &tried);
                        fixture.sessions.chosen(id, answer, fixture.now);
                    }
                }
                Step::Forget => {
                    for Waiting { id, .. } in waiting.drain(..) {
                        let in_vain = Err(weir_upstream::PickError::QueueTimeout);
                        fixture.sessions.chosen(id, in_vain, fixture.now);
                    }
                }
                Step::Pass(seconds) => fixture.pass(Duration::from_secs(seconds)),
                Step::Review => fixture.sessions.review(),
            }
            waiting.append(&mut fixture.sessions.take_waiting());
            fixture.turn();
            prop_assert!(fixture.sessions.sessions() <= sessions_max as usize);
            prop_assert!(fixture.sessions.held_bytes <= 6 * WAITING_BYTES);
        }
        for (client, socket) in clients.iter().enumerate() {
            let own = format!("of {client}!");
            prop_assert!(received(socket).iter().all(|text| *text == own));
        }
    }
}

/// What a session of six-byte datagrams may hold, of which sixteen wait at most.
const WAITING_BYTES: usize = 16 * 4;
