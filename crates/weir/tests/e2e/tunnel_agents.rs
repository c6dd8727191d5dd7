//! Agents that nobody here wrote.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use weir_testkit::{Gateway, node_command, wait};

use crate::start;

const TOKEN: &str = "a-token-of-the-office-4711";

fn relay() -> Gateway {
    start(&format!(
        r#"
listeners: {{ web: {{ bind: "127.0.0.1:0", http: {{}} }} }}
routes: [{{ name: all, match: {{ path: "/*" }}, forward: office }}]
upstreams: {{ office: {{ endpoints: ["tunnel:office"] }} }}
tunnel: {{ bind: "127.0.0.1:0", agents: {{ office: {{ token: {TOKEN} }} }} }}
admin: {{ bind: "127.0.0.1:0" }}
"#
    ))
}

fn url(relay: &Gateway) -> String {
    format!("ws://{}/tunnel/connect", relay.addr("tunnel"))
}

/// The agent in Go, built once with Debian's packages.
fn go_agent() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let agent = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("go-agent");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agents/agent.go");
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&agent).arg(source);
        build.envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode")]);
        assert!(build.status().expect("go is installed").success());
        agent
    })
}

/// A running agent and what it says; dropping it kills it.
struct Agent(Child, BufReader<std::process::ChildStdout>);

impl Agent {
    fn go(relay: &Gateway, role: &str) -> Self {
        let mut command = Command::new(go_agent());
        command.args([&url(relay), TOKEN, role]);
        Self::start(relay, command)
    }

    fn js(relay: &Gateway) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/npm/tunnel-agent.mjs");
        Self::start(relay, node_command(script, &[&url(relay), TOKEN]))
    }

    fn start(relay: &Gateway, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let said = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut agent = Self(child, said);
        assert_eq!(agent.line(), "up");
        wait::until_true("the agent is there", || !relay.events("agent_connected").is_empty());
        agent
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).expect("it speaks");
        line.trim_end().to_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

#[test]
fn agents_of_hashicorps_yamux_serve_in_either_role() {
    for role in ["server", "client"] {
        let relay = relay();
        let mut agent = Agent::go(&relay, role);
        assert_eq!(relay.get("/one").text(), "go agent GET /one 0\n");
        assert_eq!(relay.get("/big").body.len(), 5_000_000);
        let mut client = relay.connect();
        client.send("PUT /up HTTP/1.1\r\nHost: t\r\nContent-Length: 2000000\r\n\r\n");
        client.send(vec![7; 2_000_000]);
        assert_eq!(client.response().text(), "go agent PUT /up 2000000\n");
        // One request to a stream, and the stream ends with it: nothing piles up.
        for _ in 0..50 {
            assert_eq!(relay.get("/again").status, 200);
        }
        // A client that leaves is heard of by the handler.
        let mut waits = relay.connect();
        waits.send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(waits.head().0, 200);
        drop(waits);
        assert_eq!(agent.line(), "cancelled");
    }
}

/// Its server alone takes streams that the other end opens.
#[test]
fn an_agent_of_yamux_js_serves() {
    let relay = relay();
    let _agent = Agent::js(&relay);
    assert_eq!(relay.get("/one").text(), "js agent GET /one 0\n");
    let mut client = relay.connect();
    client.send("PUT /up HTTP/1.1\r\nHost: t\r\nContent-Length: 600000\r\n\r\n");
    client.send(vec![7; 600_000]);
    assert_eq!(client.response().text(), "js agent PUT /up 600000\n");
    for _ in 0..50 {
        assert_eq!(relay.get("/again").status, 200);
    }
}
