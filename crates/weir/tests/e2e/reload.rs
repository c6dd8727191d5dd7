//! A reload changes what it says and nothing else, and loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use weir_testkit::{After, Gate, Origin, behaviour, wait, websocket, wrk};

use crate::Config;

#[test]
fn a_reload_by_the_admin_address_changes_the_routes_and_counts_revisions() {
    let (one, two) =
        (Origin::start(behaviour::fixed(200, "one")), Origin::start(behaviour::fixed(200, "two")));
    let gateway = Config::to([one.addr()]).start();
    let web = gateway.addr("web");
    let mut kept = gateway.connect();
    assert_eq!(kept.get("t", "/").text(), "one");
    let first = gateway.reload(&Config::to([two.addr()]).yaml());
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(gateway.get("/").text(), "two");
    assert_eq!(kept.get("t", "/").text(), "two", "a connection outlives the reload and sees its result");
    let second = gateway.reload(&Config::to([one.addr()]).yaml());
    let revision =
        |response: &weir_testkit::Response| response.json()["revision"].as_u64().expect("a number");
    assert!(revision(&second) > revision(&first));
    assert_eq!(gateway.addr("web"), web, "the listener moved");
}

#[test]
fn a_reload_comes_by_signal_and_by_the_file_alone() {
    let (one, two) =
        (Origin::start(behaviour::fixed(200, "one")), Origin::start(behaviour::fixed(200, "two")));
    let gateway = Config::to([one.addr()]).top("watch: off").start();
    gateway.write_config(&Config::to([two.addr()]).top("watch: off").yaml());
    assert_eq!(gateway.get("/").text(), "one", "nobody asked for a reload yet");
    gateway.hang_up();
    wait::until_true("the signal's reload", || gateway.get("/").text() == "two");

    let watched = Config::to([one.addr()]).start();
    watched.write_config(&Config::to([two.addr()]).yaml());
    wait::until_true("the watcher's reload", || watched.get("/").text() == "two");
}

#[test]
fn a_bad_file_changes_nothing_and_says_every_problem() {
    let origin = Origin::start(behaviour::fixed(200, "good"));
    let good = Config::to([origin.addr()]);
    let gateway = good.start();
    let status_before = gateway.admin_get("/api/v1/status").json()["revision"].clone();
    let bad = good.clone().route("forwrd: app").upstream("balance: rond_robin").top("timeots: {}").yaml();
    let answer = gateway.reload(&bad);
    assert_eq!(
        (answer.status, answer.field("weir-error")),
        (422, Some("configuration-rejected")),
        "{answer:?}"
    );
    for word in ["forwrd", "rond_robin", "timeots", "round_robin"] {
        assert!(answer.text().contains(word), "{word} is not in {}", answer.text());
    }
    gateway.hang_up();
    gateway.write_config("listeners: [");
    gateway.hang_up();
    assert_eq!(gateway.reload("").status, 422);
    assert_eq!(gateway.reload("a: &a [*a, *a]").status, 422);
    assert_eq!(gateway.get("/").text(), "good");
    assert_eq!(gateway.admin_get("/api/v1/status").json()["revision"], status_before);
    assert_eq!(gateway.reload(&good.yaml()).status, 200);
    assert_eq!(gateway.get("/").text(), "good");
}

#[test]
fn a_bomb_of_anchors_is_refused_quickly() {
    let origin = Origin::start(behaviour::fixed(200, "good"));
    let gateway = Config::to([origin.addr()]).start();
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let previous = format!("*a{}", n - 1);
        bomb += &format!("a{n}: &a{n} [{}]\n", [previous.as_str(); 9].join(", "));
    }
    let before = gateway.rss_kib();
    let started = std::time::Instant::now();
    assert_eq!(gateway.reload(&bomb).status, 422);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(gateway.rss_kib().saturating_sub(before) < 64 * 1024);
    assert_eq!(gateway.reload(&format!("{}x{}", "[".repeat(100_000), "]".repeat(100_000))).status, 422);
    assert_eq!(gateway.get("/").text(), "good");
}

#[test]
fn a_listener_may_come_and_go() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let one = Config::to([origin.addr()]);
    let two = one.yaml().replace("listeners:\n", "listeners:\n  more: { bind: \"127.0.0.1:0\", http: {} }\n");
    let gateway = one.start();
    assert_eq!(gateway.reload(&two).status, 200);
    let more = gateway.addr("more");
    let mut kept = weir_testkit::RawClient::connect(more);
    assert_eq!(kept.get("t", "/").text(), "ok");
    assert_eq!(gateway.reload(&one.yaml()).status, 200);
    wait::until_true("the listener to be gone", || weir_testkit::RawClient::try_connect(more).is_err());
    assert_eq!(gateway.get("/").text(), "ok");
}

/// An address that nobody listens on.
fn free_address() -> std::net::SocketAddr {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("it is bound")
}

#[test]
fn a_listener_removed_and_added_again_at_once_goes_on_listening() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let address = free_address();
    let one = Config::to([origin.addr()]).yaml();
    let two =
        one.replace("listeners:\n", &format!("listeners:\n  more: {{ bind: \"{address}\", http: {{}} }}\n"));
    let gateway = crate::config::start(&two);
    for _ in 0..20 {
        assert_eq!(gateway.reload(&one).status, 200);
        let again = gateway.reload(&two);
        assert_eq!(again.status, 200, "{}", again.text());
        let mut client = weir_testkit::RawClient::connect(address);
        assert_eq!(client.get("t", "/").text(), "ok");
    }
}

#[test]
fn a_unix_listener_that_is_removed_closes_although_clients_never_stop_coming() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let without = Config::to([origin.addr()]);
    let gateway = without.start();
    let path = gateway.folder().join("inner");
    let inner = format!("listeners:\n  inner: {{ bind: \"unix:{}\", http: {{}} }}\n", path.display());
    let with = without.yaml().replacen("listeners:\n", &inner, 1);
    assert_eq!(gateway.reload(&with).status, 200);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| while std::os::unix::net::UnixStream::connect(&path).is_ok() {});
        }
        assert_eq!(gateway.reload(&without.yaml()).status, 200);
        wait::until_true("the socket to go", || !path.exists());
    });
    assert_eq!(gateway.reload(&with).status, 200, "it may come back");
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
}

#[test]
fn requests_on_kept_connections_of_a_listener_that_goes_get_their_answers() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let address = free_address();
    let one = Config::to([origin.addr()]).yaml();
    let two = one
        .replace("listeners:\n", &format!("listeners:\n  more: {{ bind: \"{address}\", http: {{}} }}\n"))
        .replace(
            "routes:\n",
            "routes:\n  - { match: { path: /more, listeners: [more] }, respond: { body: more } }\n",
        );
    let gateway = crate::config::start(&two);
    for _ in 0..10 {
        let mut client = weir_testkit::RawClient::connect(address);
        assert_eq!(client.get("t", "/more").text(), "more");
        let asking = std::thread::spawn(move || {
            // Until the listener has gone: then the connection ends between two answers.
            let mut answers = 0;
            while client.try_send("GET /more HTTP/1.1\r\nHost: t\r\n\r\n").is_ok() {
                let Ok(answer) = client.read_response("GET") else { break };
                assert_eq!((answer.status, &*answer.text()), (200, "more"));
                answers += 1;
            }
            answers
        });
        assert_eq!(gateway.reload(&one).status, 200);
        assert!(asking.join().is_ok());
        assert_eq!(gateway.reload(&two).status, 200);
    }
}

#[test]
fn a_listener_gets_another_name_and_no_client_notices() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let address = free_address();
    let named = |name: &str| {
        Config::to([origin.addr()])
            .yaml()
            .replace("  web:", &format!("  {name}:"))
            .replace("127.0.0.1:0", &address.to_string())
            .replace("path: /*", &format!("path: /*, listeners: [{name}]"))
    };
    let gateway = crate::config::start(&named("web"));
    for name in ["shop", "web", "shop"] {
        assert_eq!(gateway.reload(&named(name)).status, 200);
        for _ in 0..50 {
            let mut client = weir_testkit::RawClient::connect(address);
            assert_eq!(client.get("t", "/").text(), "ok");
        }
    }
    wait::until_true("the address under its name", || gateway.addr("shop") == address);
}

#[test]
fn state_survives_a_reload() {
    let sick = Origin::start(behaviour::fixed(503, "sick"));
    let well = Origin::start(behaviour::fixed(200, "well"));
    let config = Config::to([sick.addr(), well.addr()])
        .upstream("health: { passive: { failures: 2, pause: 1h, statuses: [503] } }");
    let gateway = config.start();
    wait::until_true("the ejection", || (0..6).all(|_| gateway.get("/").text() == "well"));
    let (asked, connections) = (sick.request_count(), well.connection_count());
    let before = gateway.metrics();
    for timeout in ["50s", "51s", "52s"] {
        assert_eq!(gateway.reload(&config.clone().route(&format!("timeout: {timeout}")).yaml()).status, 200);
        for _ in 0..10 {
            assert_eq!(gateway.get("/").text(), "well");
        }
    }
    assert_eq!(sick.request_count(), asked, "the ejection was forgotten");
    assert!(well.connection_count() <= connections + 2, "the pool was thrown away");
    let after = gateway.metrics();
    for (series, value) in &before.series {
        let name = series.split('{').next().unwrap();
        if before.types.get(name).is_some_and(|kind| kind == "counter") {
            let now = after.series.get(series).copied().unwrap_or(-1.0);
            assert!(now >= *value, "{series} went from {value} to {now}");
        }
    }
}

#[test]
fn nothing_is_lost_when_it_reloads_every_50_ms_under_load() {
    let last = Gate::new();
    let held = last.clone();
    let origin = Origin::start(move |request, connection| match request.target.as_str() {
        "/ws" => behaviour::websocket_echo(request, connection),
        "/stream" => behaviour::chunked_with_trailer(&held)(request, connection),
        _ => behaviour::fixed(200, "ok")(request, connection),
    });
    let other = Origin::start(behaviour::fixed(200, "ok"));
    let both = Config::to([origin.addr(), other.addr()])
        .another_route("{ name: ws, match: { path: /ws }, forward: only }")
        .another_route("{ name: stream, match: { path: /stream }, forward: only }");
    let with_only = |config: &Config| {
        config.yaml().replace(
            "upstreams:\n",
            &format!("upstreams:\n  only: {{ endpoints: [\"{}\"] }}\n", origin.addr()),
        )
    };
    let gateway = crate::start(&with_only(&both));

    let mut sockets: Vec<_> = (0..10).map(|_| gateway.connect()).collect();
    for socket in &mut sockets {
        socket.send(websocket::handshake("t", "/ws"));
        assert_eq!(socket.head().0, 101);
    }
    let mut streams: Vec<_> = (0..10).map(|_| gateway.connect()).collect();
    for stream in &mut streams {
        stream.send("GET /stream HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!((stream.head().0, stream.chunk().unwrap()), (200, b"first".to_vec()));
    }
    let mut load = wrk(&format!("http://{}/", gateway.addr("web")), 8, 5);
    let mut reloads = 0_u32;
    while load.is_running() {
        // Each one is a real change: a route's timeout, and one endpoint that comes and goes.
        let config = both.clone().route(&format!("timeout: {}s", 100 + reloads % 50));
        let yaml = with_only(&config);
        let yaml = if reloads.is_multiple_of(2) {
            yaml
        } else {
            yaml.replace(&format!(", \"{}\"", other.addr()), "")
        };
        assert_eq!(gateway.reload(&yaml).status, 200);
        reloads += 1;
        for (n, socket) in sockets.iter_mut().enumerate() {
            socket.send([n as u8; 3]);
            assert_eq!(socket.exactly(3).unwrap(), [n as u8; 3], "after reload {reloads}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let report = load.report();
    assert!(reloads >= 20, "only {reloads} reloads");
    assert!(report.requests > 500 && report.bad_statuses == 0 && report.socket_errors == 0, "{report:?}");
    last.open();
    for stream in &mut streams {
        assert_eq!(stream.chunked_body().unwrap().0, b"second");
    }
}

#[test]
fn a_request_under_way_ends_as_it_began() {
    let gate = Gate::new();
    let old = Origin::start(behaviour::gated(&gate, "old"));
    let new = Origin::start(behaviour::fixed(200, "new"));
    let gateway = Config::to([old.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    wait::until_true("the request", || old.request_count() == 1);
    assert_eq!(gateway.reload(&Config::to([new.addr()]).yaml()).status, 200);
    gate.open();
    assert_eq!(client.response().text(), "old");
    assert_eq!(client.get("t", "/").text(), "new");
}

#[test]
fn ten_thousand_routes_are_reloaded_under_load_without_a_loss() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let mut config = Config::to([origin.addr()]);
    for n in 0..10_000 {
        config = config
            .another_route(&format!("{{ match: {{ host: h{n}.example, path: /p{n}/:id }}, forward: app }}"));
    }
    let gateway = Config::to([origin.addr()]).start();
    let load = wrk(&format!("http://{}/", gateway.addr("web")), 4, 3);
    for timeout in ["40s", "41s"] {
        let answer = gateway.reload(&config.clone().route(&format!("timeout: {timeout}")).yaml());
        assert_eq!(answer.status, 200, "{}", &answer.text()[..answer.text().len().min(500)]);
    }
    let report = load.report();
    assert!(report.bad_statuses == 0 && report.socket_errors == 0 && report.requests > 100, "{report:?}");
    assert_eq!(gateway.connect().get("h9999.example", "/p9999/x").status, 200);
}

#[test]
fn many_reloads_under_open_streams_cost_no_memory() {
    let origin = Origin::start(behaviour::websocket_echo);
    let config = Config::to([origin.addr()]);
    let gateway = config.start();
    let mut sockets: Vec<_> = (0..50).map(|_| gateway.connect()).collect();
    for socket in &mut sockets {
        socket.send(websocket::handshake("t", "/ws"));
        assert_eq!(socket.head().0, 101);
    }
    let reload = |n: u32| {
        let yaml = config.clone().route(&format!("timeout: {}s", 100 + n % 7)).yaml();
        assert_eq!(gateway.reload(&yaml).status, 200);
    };
    (0..50).for_each(reload);
    let (settled, fds) = (gateway.rss_kib(), gateway.open_fds());
    (0..300).for_each(reload);
    let grown = gateway.rss_kib().saturating_sub(settled);
    assert!(grown < 6 * 1024, "300 reloads cost {grown} KiB");
    wait::until_true("no descriptor to be lost", || gateway.open_fds() <= fds + 2);
    for socket in &mut sockets {
        socket.send("x");
        assert_eq!(socket.exactly(1).unwrap(), b"x");
    }
}

#[test]
fn two_writers_at_once_end_in_one_of_their_configurations() {
    let origins: Vec<_> = ["one", "two"].map(|name| Origin::start(behaviour::fixed(200, name))).into();
    let gateway = Arc::new(Config::to([origins[0].addr()]).start());
    let bodies: Vec<String> = origins.iter().map(|o| Config::to([o.addr()]).yaml()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = bodies
        .into_iter()
        .map(|yaml| {
            let (gateway, stop, done) = (Arc::clone(&gateway), Arc::clone(&stop), Arc::clone(&done));
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(gateway.reload(&yaml).status, 200);
                    gateway.hang_up();
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    while done.load(Ordering::SeqCst) < 40 {
        assert_eq!(gateway.get("/").status, 200);
    }
    stop.store(true, Ordering::SeqCst);
    writers.into_iter().for_each(|w| w.join().unwrap());
    assert!(["one", "two"].contains(&gateway.get("/").text().as_str()));
}

#[test]
fn an_endpoint_taken_away_finishes_what_it_has() {
    let gate = Gate::new();
    let held = gate.clone();
    let leaving = Origin::start(move |_, connection| {
        let _ = connection.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nle");
        held.wait();
        let _ = connection.write("ft");
        After::KeepOpen
    });
    let staying = Origin::start(behaviour::fixed(200, "stay"));
    let gateway = Config::to([leaving.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.head().0, 200);
    assert_eq!(gateway.reload(&Config::to([staying.addr()]).yaml()).status, 200);
    gate.open();
    assert_eq!(client.exactly(4).unwrap(), b"left");
    assert_eq!(gateway.get("/").text(), "stay");
    wait::until_true("its idle connection to be closed", || leaving.open_count() == 0);
}

/// Goal: an endpoint that is no longer wanted is left alone, though an exchange with it began before and ended after.
#[test]
fn no_connection_is_kept_to_an_endpoint_that_a_reload_removed_meanwhile() {
    let gate = Gate::new();
    let (removed, kept) =
        (Origin::start(behaviour::gated(&gate, "removed")), Origin::start(behaviour::fixed(200, "kept")));
    let gateway = Config::to([removed.addr()]).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    wait::until_true("the request", || removed.request_count() == 1);
    assert_eq!(gateway.reload(&Config::to([kept.addr()]).yaml()).status, 200);
    assert_eq!(removed.open_count(), 1, "what runs is not cut");
    gate.open();
    assert_eq!(client.response().text(), "removed");
    wait::until_true("the connection to close", || removed.open_count() == 0);
    assert_eq!(client.get("t", "/").text(), "kept");
}

#[test]
fn a_connection_is_kept_to_an_endpoint_whose_settings_a_reload_changed_meanwhile() {
    let gate = Gate::new();
    let origin = Origin::start(behaviour::gated(&gate, "ok"));
    let config = |weight: u32| {
        let endpoint = format!("{{ address: \"{}\", weight: {weight} }}", origin.addr());
        Config::default().endpoint(endpoint).top("workers: 1")
    };
    let gateway = config(1).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    wait::until_true("the request", || origin.request_count() == 1);
    assert_eq!(gateway.reload(&config(2).yaml()).status, 200);
    gate.open();
    assert_eq!(client.response().text(), "ok");
    assert_eq!(client.get("t", "/").text(), "ok");
    assert_eq!(origin.connection_count(), 1);
}
