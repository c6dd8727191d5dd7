//! Endpoints that fail are left alone, and come back by themselves.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use weir_testkit::{After, Gateway, Origin, wait};

use crate::Config;

/// An origin whose health, and whose answers, can be switched.
struct Patient {
    origin: Origin,
    is_well: Arc<AtomicBool>,
}

impl Patient {
    /// While it is ill, `/health` answers 503 and everything else what `ill` does.
    fn new(name: &'static str, ill: After) -> Self {
        let is_well = Arc::new(AtomicBool::new(true));
        let state = Arc::clone(&is_well);
        let origin = Origin::start(move |request, connection| {
            let is_well = state.load(Ordering::SeqCst);
            if request.target == "/health" {
                connection.respond(if is_well { 200 } else { 503 }, &[], "");
                return After::KeepOpen;
            }
            if !is_well && ill != After::KeepOpen {
                return ill;
            }
            connection.respond(200, &[], name);
            After::KeepOpen
        });
        Self { origin, is_well }
    }

    fn set(&self, is_well: bool) {
        self.is_well.store(is_well, Ordering::SeqCst);
    }

    fn requests(&self) -> usize {
        self.origin.requests().iter().filter(|r| r.target != "/health").count()
    }
}

/// Names of the endpoints that answer ten requests.
fn answering(gateway: &Gateway) -> Vec<String> {
    let mut client = gateway.connect();
    let mut names: Vec<String> = (0..10).map(|_| client.get("t", "/").text()).collect();
    names.sort();
    names.dedup();
    names
}

const FAST: &str = "health: { active: { interval: 100ms, timeout: 500ms, up_after: 2, down_after: 2, http: { path: /health } } }";

#[test]
fn an_endpoint_that_fails_its_checks_gets_nothing_until_it_passes_them() {
    let (a, b) = (Patient::new("a", After::KeepOpen), Patient::new("b", After::KeepOpen));
    let gateway = Config::to([a.origin.addr(), b.origin.addr()]).upstream(FAST).start();
    wait::until_true("both", || answering(&gateway) == ["a", "b"]);
    a.set(false);
    wait::until_true("only b", || answering(&gateway) == ["b"]);
    let before = a.requests();
    answering(&gateway);
    assert_eq!(a.requests(), before);
    a.set(true);
    wait::until_true("both again", || answering(&gateway) == ["a", "b"]);
    let check = a.origin.requests().into_iter().find(|r| r.target == "/health").unwrap();
    assert!(check.field("user-agent").is_some_and(|ua| ua.starts_with("Weir-HealthChecker/")), "{check:?}");
}

#[test]
fn the_first_round_of_checks_runs_at_once() {
    let ill = Patient::new("ill", After::KeepOpen);
    ill.set(false);
    let well = Patient::new("well", After::KeepOpen);
    let slow = "health: { active: { interval: 1h, down_after: 1, http: { path: /health } } }";
    let gateway = Config::to([ill.origin.addr(), well.origin.addr()]).upstream(slow).start();
    wait::until_true("the verdict of the first round", || answering(&gateway) == ["well"]);
}

#[test]
fn a_redirect_is_no_health_and_is_not_followed() {
    let moved = Origin::start(|request, connection| {
        let status = if request.target == "/health" { 302 } else { 200 };
        connection.respond(status, &[("Location", "/elsewhere")], "moved");
        After::KeepOpen
    });
    let well = Patient::new("well", After::KeepOpen);
    let gateway = Config::to([moved.addr(), well.origin.addr()]).upstream(FAST).start();
    wait::until_true("only the well one", || answering(&gateway) == ["well"]);
    assert!(moved.requests().iter().all(|r| r.target != "/elsewhere"));
}

#[test]
fn a_tcp_check_follows_the_port() {
    let mut a = Origin::start(weir_testkit::behaviour::fixed(200, "a"));
    let b = Origin::start(weir_testkit::behaviour::fixed(200, "b"));
    let addr = a.addr();
    let tcp = "health: { active: { interval: 100ms, up_after: 1, down_after: 1, tcp: {} } }";
    let gateway = Config::to([addr, b.addr()]).upstream(tcp).start();
    wait::until_true("both", || answering(&gateway) == ["a", "b"]);
    a.kill();
    wait::until_true("only b", || answering(&gateway) == ["b"]);
    let _a = Origin::start_at(addr, weir_testkit::behaviour::fixed(200, "a"));
    wait::until_true("both again", || answering(&gateway) == ["a", "b"]);
}

/// Answers each `ping` with a text that holds `pong`, until it is dropped.
struct Ponger {
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Ponger {
    /// None where another program has the port.
    fn start_at(address: SocketAddr) -> Option<Self> {
        let socket = UdpSocket::bind(address).ok()?;
        let thread = std::thread::spawn(move || {
            let mut question = [0; 64];
            while let Ok((length, peer)) = socket.recv_from(&mut question) {
                match &question[..length] {
                    b"ping" => drop(socket.send_to(b"a pong for you", peer)),
                    b"stop" => return,
                    other => panic!("{other:?} was asked"),
                }
            }
        });
        Some(Self { address, thread: Some(thread) })
    }
}

impl Drop for Ponger {
    fn drop(&mut self) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.send_to(b"stop", self.address).expect("loopback takes datagrams");
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

#[test]
fn a_udp_check_follows_the_answers_on_the_port() {
    // The same port for HTTP, by which the answering endpoints are told.
    let with_udp = |name| loop {
        let origin = Origin::start(weir_testkit::behaviour::fixed(200, name));
        if let Some(ponger) = Ponger::start_at(origin.addr()) {
            break (origin, ponger);
        }
    };
    let ((a, a_pongs), (b, _b_pongs)) = (with_udp("a"), with_udp("b"));
    let udp = "udp: { send: ping, expect: { hex: 70 6f 6e 67 } }";
    let check = format!("health: {{ active: {{ interval: 100ms, up_after: 1, down_after: 1, {udp} }} }}");
    let gateway = Config::to([a.addr(), b.addr()]).upstream(&check).start();
    wait::until_true("both", || answering(&gateway) == ["a", "b"]);
    drop(a_pongs);
    wait::until_true("only b", || answering(&gateway) == ["b"]);
    let _a_pongs = wait::until("the port again", || Ponger::start_at(a.addr()));
    wait::until_true("both again", || answering(&gateway) == ["a", "b"]);
}

#[test]
fn failures_in_a_row_eject_and_the_pause_ends_by_itself() {
    let (a, b) = (Patient::new("a", After::Reset), Patient::new("b", After::Reset));
    let gateway = Config::to([a.origin.addr(), b.origin.addr()])
        .upstream("health: { passive: { failures: 3, pause: 1s } }")
        .upstream("retry: { attempts: 2, budget: 100% }")
        .start();
    assert_eq!(answering(&gateway), ["a", "b"]);
    a.set(false);
    // Retries hide the failures from the client until the endpoint is ejected.
    for _ in 0..10 {
        assert_eq!(gateway.get("/").text(), "b");
    }
    let before = a.requests();
    let mut client = gateway.connect();
    for _ in 0..10 {
        assert_eq!(client.get("t", "/").text(), "b");
    }
    assert_eq!(a.requests(), before, "an ejected endpoint was asked");
    a.set(true);
    wait::until_true("the pause to end", || answering(&gateway) == ["a", "b"]);
}

#[test]
fn the_last_endpoint_is_never_ejected() {
    let only = Patient::new("only", After::Reset);
    only.set(false);
    let gateway = Config::to([only.origin.addr()])
        .upstream("health: { passive: { failures: 1, pause: 1h, ejected_max: 100% } }")
        .upstream("retry: { attempts: 1 }")
        .start();
    for _ in 0..5 {
        assert_eq!(gateway.get("/").status, 502);
    }
    only.set(true);
    assert_eq!(gateway.get("/").text(), "only");
}

#[test]
fn listed_statuses_count_as_failures() {
    let broken = Origin::start(weir_testkit::behaviour::fixed(503, "broken"));
    let well = Origin::start(weir_testkit::behaviour::fixed(200, "well"));
    let gateway = Config::to([broken.addr(), well.addr()])
        .upstream("health: { passive: { failures: 2, pause: 1h, statuses: [503] } }")
        .start();
    wait::until_true("the ejection", || answering(&gateway) == ["well"]);
    assert!(broken.request_count() <= 4, "{}", broken.request_count());
}

#[test]
fn when_most_checks_fail_all_endpoints_are_used() {
    let patients: Vec<_> = ["a", "b", "c", "d"].map(|name| Patient::new(name, After::KeepOpen)).into();
    let gateway = Config::to(patients.iter().map(|p| p.origin.addr())).upstream(FAST).start();
    patients[0].set(false);
    wait::until_true("three", || answering(&gateway) == ["b", "c", "d"]);
    patients[1].set(false);
    patients[2].set(false);
    patients[3].set(false);
    wait::until_true("panic: all of them", || answering(&gateway) == ["a", "b", "c", "d"]);
}

#[test]
fn the_admin_address_shows_settings_and_the_last_result() {
    let ill = Patient::new("ill", After::KeepOpen);
    let well = Patient::new("well", After::KeepOpen);
    ill.set(false);
    let gateway = Config::to([ill.origin.addr(), well.origin.addr()]).upstream(FAST).start();
    wait::until_true("the verdict", || answering(&gateway) == ["well"]);
    let shown = gateway.admin_get("/api/v1/upstreams");
    let text = shown.text();
    assert_eq!(shown.status, 200);
    for word in
        [ill.origin.addr().to_string(), well.origin.addr().to_string(), "/health".into(), "503".into()]
    {
        assert!(text.contains(&word), "{word} is not in {text}");
    }
}

#[test]
fn a_required_upstream_without_an_endpoint_makes_the_gateway_not_ready() {
    let only = Patient::new("only", After::KeepOpen);
    let gateway = Config::to([only.origin.addr()]).upstream(FAST).upstream("required: true").start();
    wait::until_true("ready", || gateway.admin_get("/health/ready").status == 200);
    only.set(false);
    let answer = wait::until("not ready", || {
        let answer = gateway.admin_get("/health/ready");
        (answer.status == 503).then_some(answer)
    });
    assert!(answer.text().contains("DOWN") && answer.text().contains("app"), "{answer:?}");
    assert_eq!(gateway.admin_get("/health/live").status, 200);
    only.set(true);
    wait::until_true("ready again", || gateway.admin_get("/health/ready").status == 200);
}
