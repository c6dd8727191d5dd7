//! Services behind an agent that dials in: the relay and the agent are the real binary.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use weir_testkit::{After, Gate, Gateway, Origin, Problem, RawClient, behaviour, wait, websocket};

use crate::start;

const TOKEN: &str = "a-token-of-the-office-4711";

fn relay() -> Gateway {
    start(&format!(
        r#"
listeners:
  web: {{ bind: "127.0.0.1:0", http: {{}} }}
  raw: {{ bind: "127.0.0.1:0", tcp: {{ forward: office }} }}
routes:
  - {{ name: all, match: {{ path: "/*" }}, forward: office }}
upstreams:
  office: {{ endpoints: ["tunnel:office"], retry: {{ attempts: 1 }} }}
tunnel:
  bind: "127.0.0.1:0"
  agents:
    office: {{ token: {TOKEN} }}
admin: {{ bind: "127.0.0.1:0" }}
"#
    ))
}

/// `weir agent`; dropping it kills it.
struct Agent(Child);

impl Agent {
    fn start(relay: &Gateway, to: SocketAddr) -> Self {
        let before = relay.events("agent_connected").len();
        let agent = Self::dial(relay.addr("tunnel"), &token_file(relay.folder(), TOKEN), to);
        wait::until_true("the agent is there", || relay.events("agent_connected").len() > before);
        agent
    }

    fn dial(relay: SocketAddr, token: &Path, to: SocketAddr) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(["agent", "--relay", &format!("ws://{relay}"), "--to", &to.to_string(), "--token-file"]);
        Self(
            command
                .arg(token)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the binary starts"),
        )
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

fn token_file(folder: &Path, token: &str) -> PathBuf {
    let file = folder.join(format!("token-{}", token.len()));
    std::fs::write(&file, format!("{token}\n")).expect("the folder can be written to");
    file
}

fn gone(relay: &Gateway) {
    wait::until_true("the agent is gone", || !relay.events("agent_disconnected").is_empty());
}

#[test]
fn requests_reach_a_service_behind_an_agent_with_their_bodies() {
    let origin = Origin::start(behaviour::echo_body);
    let relay = relay();
    let _agent = Agent::start(&relay, origin.addr());
    let mut client = relay.connect();
    for size in [0, 1, 70_000, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|at| (at * 7) as u8).collect();
        client.send(format!("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n"));
        client.send(&body);
        let response = client.response();
        assert_eq!(response.status, 200);
        assert!(response.body == body, "{size}");
    }
    assert_eq!(relay.access_line("/echo")["endpoint"], "tunnel:office");
}

#[test]
fn an_agent_that_is_not_there_is_told_from_one_that_was_lost_or_has_no_service() {
    let relay = relay();
    let offline = relay.get("/");
    Problem::expect(&offline, 503, "agent-offline");
    assert_eq!(offline.field("retry-after"), Some("5"));

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let agent = Agent::start(&relay, closed);
    Problem::expect(&relay.get("/"), 502, "agent-refused");
    drop(agent);
    gone(&relay);

    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |_, _| {
        held.wait();
        After::Close
    });
    let agent = Agent::start(&relay, origin.addr());
    let mut client = relay.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    wait::until_true("the request is there", || origin.request_count() == 1);
    drop(agent);
    Problem::expect(&client.response(), 502, "agent-lost");
    gate.open();
}

#[test]
fn a_body_that_is_cut_behind_the_agent_never_looks_whole() {
    let origin = Origin::start(behaviour::dies_mid_body(5, After::Close));
    let relay = relay();
    let _agent = Agent::start(&relay, origin.addr());
    let mut client = relay.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let (status, _) = client.head();
    assert_eq!(status, 200);
    wait::until_true("the line is written", || relay.access_line("/")["error"] == "upstream-cut");
}

#[test]
fn connections_and_upgrades_pass_with_both_their_ends() {
    let origin = Origin::start(behaviour::websocket_echo);
    let relay = relay();
    let _agent = Agent::start(&relay, origin.addr());
    for listener in ["web", "raw"] {
        let mut client = RawClient::connect(relay.addr(listener));
        client.send(websocket::handshake("t", "/ws"));
        assert_eq!(client.head().0, 101);
        client.send([7; 100_000]);
        assert!(client.exactly(100_000).unwrap() == [7; 100_000]);
        client.half_close();
        assert!(client.rest().unwrap().is_empty());
    }
}

#[test]
fn an_agent_with_a_wrong_token_is_refused_and_ends() {
    let relay = relay();
    let mut agent = Agent::dial(
        relay.addr("tunnel"),
        &token_file(relay.folder(), "guessed"),
        "127.0.0.1:9".parse().unwrap(),
    );
    assert_eq!(agent.0.wait().unwrap().code(), Some(2));
    assert!(relay.events("agent_connected").is_empty());
}

#[test]
fn a_relay_that_drains_finishes_what_its_agents_serve() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request, connection| {
        held.wait();
        behaviour::echo_head(request, connection)
    });
    let mut relay = relay();
    let _agent = Agent::start(&relay, origin.addr());
    let mut client = relay.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    wait::until_true("the request is there", || origin.request_count() == 1);
    relay.ask_to_stop();
    wait::until_true("it drains", || !relay.events("draining").is_empty());
    gate.open();
    assert_eq!(client.response().status, 200);
    assert!(relay.exit_status().success());
}
