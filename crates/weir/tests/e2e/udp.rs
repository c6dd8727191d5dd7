//! Sessions of a `udp` listener: who gets which answer, and when it is over.

use std::collections::HashSet;
use std::fmt::{Display, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use weir_testkit::{Gateway, UdpClient, UdpOrigin, wait};

/// The usual configuration: the `udp` listener `dns`, the upstream `app`.
#[derive(Clone)]
pub(crate) struct UdpConfig {
    endpoints: Vec<String>,
    bind: String,
    udp: String,
    upstream: String,
    top: String,
}

impl UdpConfig {
    /// Forwards everything to these endpoints.
    pub(crate) fn to<A: Display>(endpoints: impl IntoIterator<Item = A>) -> Self {
        let endpoints = endpoints.into_iter().map(|a| format!("\"{a}\"")).collect();
        let (udp, upstream, top) = Default::default();
        Self { endpoints, bind: "127.0.0.1:0".to_owned(), udp, upstream, top }
    }

    /// Adds an endpoint written out, such as `{ address: "…", weight: 2 }`.
    pub(crate) fn endpoint(mut self, text: impl Into<String>) -> Self {
        self.endpoints.push(text.into());
        self
    }

    /// Listens here.
    pub(crate) fn bind(mut self, address: impl Display) -> Self {
        self.bind = address.to_string();
        self
    }

    /// Adds a key to the `udp` of the listener, in flow style.
    pub(crate) fn udp(mut self, key: &str) -> Self {
        let _ = write!(self.udp, ", {key}");
        self
    }

    /// Adds a line to the upstream.
    pub(crate) fn upstream(mut self, line: &str) -> Self {
        let _ = writeln!(self.upstream, "    {line}");
        self
    }

    /// Adds a line at the top level.
    pub(crate) fn top(mut self, line: &str) -> Self {
        let _ = writeln!(self.top, "{line}");
        self
    }

    /// The text of it.
    pub(crate) fn yaml(&self) -> String {
        let Self { bind, udp, upstream, top, .. } = self;
        format!(
            "listeners:\n  dns: {{ bind: \"{bind}\", udp: {{ forward: app{udp} }} }}\n\
             upstreams:\n  app:\n    endpoints: [{}]\n{upstream}{top}",
            self.endpoints.join(", ")
        )
    }

    /// Starts the gateway with it.
    pub(crate) fn start(&self) -> Gateway {
        crate::start(&self.yaml())
    }
}

/// A new client of the listener `dns`.
pub(crate) fn client(gateway: &Gateway) -> UdpClient {
    UdpClient::connect(gateway.addr("dns"))
}

/// Sessions that the listener has.
pub(crate) fn sessions(gateway: &Gateway) -> u64 {
    gateway.metrics().sum("weir_udp_sessions", &[]) as u64
}

/// Datagrams that were dropped for this reason.
pub(crate) fn dropped(gateway: &Gateway, reason: &str) -> u64 {
    gateway.metrics().sum("weir_udp_dropped_datagrams_total", &[&format!("reason=\"{reason}\"")]) as u64
}

/// Sessions that ended in this way.
pub(crate) fn ended(gateway: &Gateway, end: &str) -> u64 {
    gateway.metrics().sum("weir_stream_ended_total", &[&format!("end=\"{end}\"")]) as u64
}

/// Waits for the access line of a session that ended in this way.
pub(crate) fn session_line(gateway: &Gateway, end: &str) -> Value {
    wait::until(&format!("the line of a session that ended by {end}"), || {
        gateway.log_lines(|line| line["event"] == "session" && line["end"] == end).into_iter().next()
    })
}

#[test]
fn a_client_keeps_its_session_and_another_client_has_its_own() {
    let origin = UdpOrigin::echo();
    let gateway = UdpConfig::to([origin.addr()]).start();
    let (one, other) = (client(&gateway), client(&gateway));
    for text in ["a", "b", "c"] {
        assert_eq!(one.ask_text(text), text);
    }
    assert_eq!(other.ask_text("d"), "d");
    let sources: Vec<SocketAddr> = origin.received().iter().map(|received| received.from).collect();
    assert_eq!(sources[0], sources[2], "a session keeps its port");
    assert_ne!(sources[0], sources[3]);
    assert_eq!(sessions(&gateway), 2);

    let metrics = gateway.metrics();
    let sum = |name: &str| metrics.sum(name, &["listener=\"dns\""]) as u64;
    assert_eq!((sum("weir_udp_sessions_total"), sum("weir_udp_received_datagrams_total")), (2, 4));
    assert_eq!((sum("weir_udp_sent_datagrams_total"), sum("weir_stream_received_bytes_total")), (4, 4));
    let status = gateway.admin_get("/api/v1/status").json();
    assert_eq!(
        (&status["listeners"][0]["takes"], &status["listeners"][0]["connections"]),
        (&"udp".into(), &2.into())
    );
    let upstreams = gateway.admin_get("/api/v1/upstreams").json();
    assert_eq!(upstreams["upstreams"][0]["endpoints"][0]["in_flight"], 2, "{upstreams}");
}

#[test]
fn datagrams_of_no_byte_and_of_65507_bytes_pass_both_ways() {
    let origin = UdpOrigin::echo();
    let gateway = UdpConfig::to([origin.addr()]).start();
    let client = client(&gateway);
    for size in [0, 1, 1_472, 1_473, 9_000, 65_507, 0] {
        let bytes: Vec<u8> = (0..size).map(|at: usize| at as u8).collect();
        assert!(client.ask(&bytes) == bytes, "{size} bytes");
    }
    let whole = UdpClient::connect(gateway.addr("dns"));
    assert_eq!(whole.ask(b"").len(), 0, "an empty datagram may be the first");
}

#[test]
fn clients_under_load_get_their_own_answers_and_nobody_elses() {
    let origin = UdpOrigin::echo();
    let gateway = UdpConfig::to([origin.addr()]).start();
    let addr = gateway.addr("dns");
    std::thread::scope(|scope| {
        for number in 0..32 {
            scope.spawn(move || {
                let client = UdpClient::connect(addr);
                for turn in 0..100 {
                    let text = format!("{number} {turn}");
                    assert_eq!(client.ask_text(&text), text);
                }
            });
        }
    });
    assert_eq!(origin.sources().len(), 32);
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("weir_udp_dropped_datagrams_total", &[]) as u64, 0);
    assert_eq!(metrics.sum("weir_udp_received_datagrams_total", &[]) as u64, 3_200);
}

#[test]
fn bursts_of_one_client_arrive_whole_and_in_order() {
    let origin = UdpOrigin::echo();
    let gateway = UdpConfig::to([origin.addr()]).start();
    let client = client(&gateway);
    for burst in 0..20 {
        let texts: Vec<String> = (0..20).map(|number| format!("{burst} {number}")).collect();
        texts.iter().for_each(|text| client.send(text.as_bytes()));
        for text in &texts {
            assert_eq!(String::from_utf8_lossy(&client.receive()), *text);
        }
    }
}

#[test]
fn a_silent_session_ends_and_what_comes_late_for_it_reaches_nobody() {
    let origin = UdpOrigin::echo();
    let gateway = UdpConfig::to([origin.addr()]).udp("idle_timeout: 100ms").start();
    let client = client(&gateway);
    assert_eq!(client.ask_text("first"), "first");
    let former = origin.sources()[0];
    let line = session_line(&gateway, "idle_timeout");
    wait::until_true("the end of the session", || sessions(&gateway) == 0);
    origin.send_to(former, b"late");
    assert_eq!(client.ask_text("second"), "second", "the late answer came");
    assert_ne!(origin.sources()[1], former, "a new session has a new port");

    assert_eq!((&line["listener"], &line["upstream"]), (&"dns".into(), &"app".into()));
    assert_eq!((&line["endpoint"], &line["attempts"]), (&origin.addr().to_string().into(), &1.into()));
    assert_eq!((&line["client_ip"], &line["protocol"]), (&"127.0.0.1".into(), &"udp".into()));
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&5.into(), &5.into()));
    assert_eq!((&line["datagrams_in"], &line["datagrams_out"]), (&1.into(), &1.into()));
    assert_eq!((&line["level"], &line["error"]), (&"info".into(), &Value::Null));
    assert!(line["duration_ms"].as_f64().is_some_and(|ms| ms >= 100.0), "{line}");
}

#[test]
fn traffic_in_either_direction_keeps_a_session() {
    let origin = UdpOrigin::silent();
    let gateway = UdpConfig::to([origin.addr()]).udp("idle_timeout: 300ms").start();
    let client = client(&gateway);
    client.send(b"subscribe");
    let session = origin.wait_for(1)[0].from;
    let started = std::time::Instant::now();
    let mut answers = 0;
    wait::until_true("three idle timeouts of answers alone", || {
        origin.send_to(session, b"news");
        assert_eq!(client.receive(), b"news");
        answers += 1;
        started.elapsed() > Duration::from_millis(900)
    });
    client.send(b"more");
    assert_eq!(origin.wait_for(2)[1].from, session, "{answers} answers did not keep it");
}

#[test]
fn a_client_that_inherits_a_port_gets_nothing_of_who_had_it_before() {
    let origin = UdpOrigin::start(|bytes| match bytes {
        b"secret" => Vec::new(),
        _ => vec![bytes.to_vec()],
    });
    let gateway = UdpConfig::to([origin.addr()]).udp("idle_timeout: 100ms").start();
    let former = client(&gateway);
    former.send(b"secret");
    let session = origin.wait_for(1)[0].from;
    let port = former.addr();
    drop(former);
    wait::until_true("the end of the session", || sessions(&gateway) == 0);
    let heir = UdpClient::connect_from_port(port, gateway.addr("dns"));
    assert_eq!(heir.ask_text("mine"), "mine");
    origin.send_to(session, b"answer to a secret");
    assert_eq!(heir.ask_text("mine too"), "mine too");
    assert_eq!(heir.received(), None);
}

#[test]
fn late_answers_for_many_short_sessions_reach_no_other_client() {
    let origin = UdpOrigin::silent();
    let config = UdpConfig::to([origin.addr()]).udp("idle_timeout: 50ms, sessions_max: 3000");
    let gateway = config.top("workers: 1").top("log: { access: off }").start();
    let clients: Vec<UdpClient> = (0..200).map(|_| client(&gateway)).collect();
    let mut asked = 0;
    for _ in 0..3 {
        for (number, client) in clients.iter().enumerate() {
            client.send(number.to_string().as_bytes());
        }
        let former = asked;
        asked += clients.len();
        let received = origin.wait_for(asked);
        // The answers to those before, whose sessions are over, while others have theirs.
        received[former.saturating_sub(clients.len())..former]
            .iter()
            .for_each(|late| origin.send_to(late.from, &late.bytes));
        wait::until_true("the end of the sessions", || sessions(&gateway) == 0);
    }
    let ports: HashSet<_> = origin.received().iter().map(|received| received.from).collect();
    assert_eq!(ports.len(), asked, "a port was used again");
    assert_eq!(gateway.metrics().sum("weir_udp_ports_freed_early_total", &[]) as u64, 0);
    for client in &clients {
        assert_eq!(client.received(), None);
    }
}

#[test]
fn what_others_send_to_a_sessions_port_reaches_nobody() {
    let (origin, stranger) = (UdpOrigin::echo(), UdpOrigin::silent());
    let gateway = UdpConfig::to([origin.addr()]).start();
    let client = client(&gateway);
    assert_eq!(client.ask_text("a"), "a");
    stranger.send_to(origin.sources()[0], b"forged");
    assert_eq!(client.ask_text("b"), "b");
    assert_eq!(client.received(), None);
}

#[test]
fn a_new_session_begins_after_so_many_requests() {
    let origin = UdpOrigin::echo();
    let gateway = UdpConfig::to([origin.addr()]).udp("requests: 2").start();
    let client = client(&gateway);
    // As a burst, so that several come in one batch.
    for number in 0..5 {
        client.send(&[number]);
    }
    let answers: HashSet<Vec<u8>> = (0..5).map(|_| client.receive()).collect();
    assert_eq!(answers.len(), 5, "each is answered, those of earlier sessions too");
    let received = origin.received();
    let per_session: Vec<usize> = origin
        .sources()
        .iter()
        .map(|source| received.iter().filter(|received| received.from == *source).count())
        .collect();
    assert_eq!(per_session, [2, 2, 1]);
}

#[test]
fn a_session_ends_with_its_last_expected_answer() {
    let origin = UdpOrigin::answering(3);
    let gateway = UdpConfig::to([origin.addr()]).udp("responses: 3").udp("idle_timeout: 1h").start();
    let client = client(&gateway);
    for turn in ["a", "b"] {
        client.send(turn.as_bytes());
        for number in 1..=3 {
            assert_eq!(String::from_utf8_lossy(&client.receive()), format!("{number} {turn}"));
        }
        let line = session_line(&gateway, "answered");
        assert_eq!((&line["datagrams_in"], &line["datagrams_out"]), (&1.into(), &3.into()));
    }
    wait::until_true("the end of both", || ended(&gateway, "answered") == 2);
    assert_eq!((origin.sources().len(), sessions(&gateway)), (2, 0));
}

#[test]
fn each_request_of_a_session_has_its_answer_before_it_ends() {
    let origin = UdpOrigin::silent();
    let gateway = UdpConfig::to([origin.addr()]).udp("responses: 1").udp("idle_timeout: 1h").start();
    let client = client(&gateway);
    client.send(b"a");
    client.send(b"b");
    let session = origin.wait_for(2)[0].from;
    origin.send_to(session, b"A");
    assert_eq!(client.receive(), b"A");
    assert_eq!(sessions(&gateway), 1, "one answer is still owed");
    origin.send_to(session, b"B");
    assert_eq!(client.receive(), b"B");
    wait::until_true("the end of the session", || sessions(&gateway) == 0);
    assert_eq!(session_line(&gateway, "answered")["datagrams_in"], 2);
}

#[test]
fn requests_and_responses_together_end_a_session_after_both() {
    let origin = UdpOrigin::echo();
    let gateway =
        UdpConfig::to([origin.addr()]).udp("requests: 2, responses: 1").udp("idle_timeout: 1h").start();
    let client = client(&gateway);
    assert_eq!(client.ask_text("a"), "a");
    assert_eq!(sessions(&gateway), 1, "it may ask once more");
    assert_eq!(client.ask_text("b"), "b");
    wait::until_true("the end of the session", || ended(&gateway, "answered") == 1);
    assert_eq!(client.ask_text("c"), "c");
    assert_eq!(origin.sources().len(), 2);
}
