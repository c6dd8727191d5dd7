//! What is tried again, and what must never be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use weir_testkit::{After, Connection, Origin, Problem, Refusing, Request, behaviour, wait, wrk};

use crate::Config;

/// Reads the whole request and resets instead of answering.
fn resets() -> Origin {
    Origin::start(|_, _| After::Reset)
}

fn well() -> Origin {
    Origin::start(behaviour::echo_body)
}

const BUDGET: &str = "retry: { attempts: 3, budget: 100% }";

#[test]
fn what_sent_nothing_goes_to_the_next_endpoint_whatever_the_method() {
    let refusing: Vec<_> = (0..3).map(|_| Refusing::start()).collect();
    let well = well();
    // More refusing endpoints than attempts: a try that sent nothing does not count as one.
    let gateway = Config::to(refusing.iter().map(Refusing::addr).chain([well.addr()]))
        .upstream("retry: { attempts: 1 }")
        .start();
    for n in 0..10 {
        let mut client = gateway.connect();
        client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(client.response().text(), "body", "request {n}");
    }
    assert_eq!(well.request_count(), 10);
}

#[test]
fn an_idempotent_request_that_got_no_head_is_tried_elsewhere() {
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        let (bad, good) = (resets(), well());
        let gateway = Config::to([bad.addr(), good.addr()]).upstream(BUDGET).start();
        for _ in 0..2 {
            let mut client = gateway.connect();
            client.send(format!("{method} /r HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi"));
            assert_eq!(client.read_response(method).unwrap().status, 200, "{method}");
        }
        // Whose turn it is after a retry is the balancer's; nobody is asked twice for one request.
        assert_eq!(good.request_count(), 2, "{method}");
        assert!((1..=2).contains(&bad.request_count()), "{method}");
        assert!(good.requests().iter().all(|r| r.body == b"hi"), "{method}: the body was not replayed whole");
        let attempts: Vec<u64> = wait::until("both access lines", || {
            let lines = gateway.log_lines(|line| line["path"] == "/r");
            (lines.len() == 2).then(|| lines.iter().map(|l| l["attempts"].as_u64().unwrap()).collect())
        });
        assert_eq!(attempts.iter().sum::<u64>() as usize, 2 + bad.request_count(), "{method}");
    }
}

#[test]
fn a_post_that_was_sent_is_never_sent_again() {
    for method in ["POST", "PATCH"] {
        let (bad, other) = (resets(), resets());
        let gateway = Config::to([bad.addr(), other.addr()]).upstream(BUDGET).start();
        for n in 1..=6 {
            let mut client = gateway.connect();
            client.send(format!("{method} / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi"));
            Problem::expect(&client.response(), 502, "upstream-closed");
            assert_eq!(bad.request_count() + other.request_count(), n, "{method} was sent twice");
        }
    }
}

#[test]
fn a_post_is_sent_again_only_when_the_upstream_says_so() {
    let (bad, good) = (resets(), well());
    let gateway = Config::to([bad.addr(), good.addr()])
        .upstream("retry: { attempts: 2, non_idempotent: true, budget: 100% }")
        .start();
    for _ in 0..2 {
        let mut client = gateway.connect();
        client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(client.response().text(), "hi");
    }
    assert_eq!(good.request_count(), 2);
    assert!((1..=2).contains(&bad.request_count()));
}

#[test]
fn attempts_are_total_and_never_at_the_same_endpoint_while_another_is_left() {
    let origins: Vec<_> = (0..5).map(|_| resets()).collect();
    let gateway = Config::to(origins.iter().map(Origin::addr)).upstream(BUDGET).start();
    Problem::expect(&gateway.get("/"), 502, "upstream-closed");
    let mut counts: Vec<_> = origins.iter().map(Origin::request_count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 1, 1, 1]);
}

#[test]
fn configured_statuses_are_tried_elsewhere_for_idempotent_methods_only() {
    let (bad, good) = (Origin::start(behaviour::fixed(503, "busy")), well());
    let gateway = Config::to([bad.addr(), good.addr()])
        .upstream("retry: { attempts: 2, statuses: [503], budget: 100% }")
        .start();
    for _ in 0..4 {
        assert_eq!(gateway.get("/").status, 200);
    }
    let mut statuses: Vec<u16> = (0..4)
        .map(|_| {
            let mut client = gateway.connect();
            client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi");
            client.response().status
        })
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503]);
    // When every attempt is refused, the last answer is the client's, as it is.
    let gateway = Config::to([bad.addr()]).upstream("retry: { attempts: 2, statuses: [503] }").start();
    assert_eq!(gateway.get("/").text(), "busy");
}

#[test]
fn without_configured_statuses_an_error_answer_is_an_answer() {
    let bad = Origin::start(behaviour::fixed(503, "busy"));
    let good = well();
    let gateway = Config::to([bad.addr(), good.addr()]).start();
    let bodies: Vec<_> = (0..4).map(|_| gateway.get("/").text()).collect();
    assert_eq!(bodies.iter().filter(|b| *b == "busy").count(), 2);
}

#[test]
fn a_body_larger_than_the_buffer_is_not_replayed() {
    let (bad, good) = (resets(), well());
    let gateway = Config::to([bad.addr(), good.addr()])
        .upstream("retry: { attempts: 3, budget: 100%, body_bytes_max: 1KiB }")
        .start();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let mut client = gateway.connect();
        client
            .send(format!("PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: 5000\r\n\r\n{}", "x".repeat(5_000)));
        statuses.push(client.response().status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502]);
    assert!(good.requests().iter().all(|r| r.body.len() == 5_000));
}

#[test]
fn an_answer_that_has_begun_is_never_tried_again() {
    let cut = Origin::start(behaviour::dies_mid_body(10, After::Close));
    let good = Origin::start(behaviour::fixed(200, "whole"));
    let gateway = Config::to([cut.addr(), good.addr()]).upstream(BUDGET).start();
    let results: Vec<_> = (0..4)
        .map(|_| {
            let mut client = gateway.connect();
            client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
            client.read_response("GET").is_ok()
        })
        .collect();
    assert_eq!(results.iter().filter(|whole| **whole).count(), 2, "{results:?}");
    assert_eq!((cut.request_count(), good.request_count()), (2, 2));
}

#[test]
fn a_budget_stops_a_storm_of_retries() {
    let origins: Vec<_> = (0..3).map(|_| resets()).collect();
    let gateway = Config::to(origins.iter().map(Origin::addr))
        .upstream("retry: { attempts: 3, budget: 20% }")
        .upstream("health: { passive: off }")
        .start();
    let mut client = gateway.connect();
    for _ in 0..200 {
        let _ = client.get("t", "/");
    }
    let sent: usize = origins.iter().map(Origin::request_count).sum();
    // A fifth more, and the few that a budget always allows.
    assert!((200..=300).contains(&sent), "200 requests became {sent}");
}

/// Answers the number of its own request, until it is told to die.
fn numbered(dying: &Arc<AtomicBool>) -> impl Fn(&Request, &mut Connection) -> After + Send + Sync + use<> {
    let dying = Arc::clone(dying);
    move |_, connection| {
        if dying.load(Ordering::SeqCst) {
            return After::Reset;
        }
        connection.respond(200, &[], "0123456789");
        After::KeepOpen
    }
}

#[test]
fn an_endpoint_that_dies_under_load_fails_no_idempotent_request() {
    let dying = Arc::new(AtomicBool::new(false));
    let mut mortal = Origin::start(numbered(&dying));
    let rest = [well(), well()];
    let gateway = Config::to([mortal.addr(), rest[0].addr(), rest[1].addr()])
        .upstream("retry: { budget: 100% }")
        .start();
    let mut load = wrk(&format!("http://{}/", gateway.addr("web")), 16, 3);
    wait::until_true("the load to reach it", || mortal.request_count() > 100);
    dying.store(true, Ordering::SeqCst);
    mortal.kill();
    assert!(load.is_running(), "it died after the load");
    let report = load.report();
    assert!(report.requests > 500 && report.bad_statuses == 0 && report.socket_errors == 0, "{report:?}");
}

#[test]
fn answers_that_had_begun_when_the_endpoint_died_are_cut_and_never_completed() {
    let gate = weir_testkit::Gate::new();
    let held = gate.clone();
    let mut mortal = Origin::start(move |_, connection| {
        let _ = connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n");
        held.wait();
        After::Close
    });
    let other = Origin::start(behaviour::fixed(200, "whole"));
    let gateway = Config::to([mortal.addr()])
        .endpoint(format!("{{ address: \"{}\", backup: true }}", other.addr()))
        .start();
    let mut clients: Vec<_> = (0..8).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(client.head().0, 200);
        assert_eq!(client.chunk().unwrap(), b"begun");
    }
    mortal.kill();
    for client in &mut clients {
        assert!(client.chunked_body().is_err(), "an answer that had begun was completed");
    }
    gate.open();
    assert_eq!(other.request_count(), 0);
    assert_eq!(gateway.get("/").text(), "whole");
}
