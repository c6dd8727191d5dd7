//! A real database behind the gateway, whose clients must not notice that anything happens.

use std::time::{Duration, Instant};

use weir_testkit::{Iperf3, Iperf3Server, Pgbench, Postgres, wait};

use crate::tcp::{Tcp, ended};

#[test]
fn a_running_pgbench_is_not_disturbed_by_a_reload_every_100_ms() {
    let postgres = Postgres::start();
    postgres.fill_for_pgbench(1);
    let config = Tcp::to([postgres.addr()]).tcp("idle_timeout: 1h");
    let gateway = config.start();
    let mut long = Pgbench::new(gateway.addr("web")).clients(4).seconds(5).start();
    let mut short = Pgbench::new(gateway.addr("web")).clients(2).seconds(5).reconnecting().start();
    let mut reloads = 0_u32;
    while long.is_running() || short.is_running() {
        // Each one is a real change: of the listener, of the upstream, of another endpoint, of another listener.
        let changed = match reloads % 4 {
            0 => config.clone().tcp(&format!("half_close_timeout: {}s", 10 + reloads % 7)),
            1 => config.clone().upstream("balance: least_conn"),
            2 => config.clone().endpoint("{ address: \"127.0.0.1:9\", backup: true }"),
            _ => config.clone().another_listener("more: { bind: \"127.0.0.1:0\", tcp: { forward: app } }"),
        };
        let began = Instant::now();
        assert_eq!(gateway.reload(&changed.yaml()).status, 200);
        reloads += 1;
        std::thread::sleep(Duration::from_millis(100).saturating_sub(began.elapsed()));
    }
    for (what, report) in [("long", long.report()), ("short", short.report())] {
        assert_eq!(
            (report.exit, report.failed, report.refused, report.cut),
            (0, 0, 0, 0),
            "{what}: {report:?}"
        );
        assert!(report.transactions > 100, "{what}: {report:?}");
    }
    assert!(reloads >= 20, "{reloads} reloads");
    wait::until_true("every connection to have ended", || {
        gateway.metrics().sum("weir_connections", &[]) as u64 == 0
    });
    assert_eq!(ended(&gateway, "connect_failed") + ended(&gateway, "no_endpoint"), 0);
}

#[test]
fn no_connection_fails_while_one_of_two_databases_goes_down_and_comes_back() {
    let (one, mut two) = (Postgres::start(), Postgres::start());
    [&one, &two].iter().for_each(|postgres| postgres.fill_for_pgbench(1));
    let gateway = Tcp::to([one.addr(), two.addr()])
        .upstream("balance: least_conn")
        .upstream("health: { passive: { failures: 3, pause: 500ms } }")
        .start();
    let connections = |postgres: &Postgres| {
        let endpoint = format!("endpoint=\"{}\"", postgres.addr());
        gateway.metrics().sum("weir_endpoint_requests_total", &[&endpoint]) as u64
    };
    // Clients that are caught on the dying database give up, so that each run has new ones.
    let mut transactions = 0;
    let started = Instant::now();
    let (mut is_down, mut is_back) = (false, false);
    while started.elapsed() < Duration::from_secs(8) {
        let mut run = Pgbench::new(gateway.addr("web")).clients(4).seconds(1).reconnecting().start();
        let (was_down, was_back) = (is_down, is_back);
        if !is_down && started.elapsed() > Duration::from_secs(1) {
            is_down = true;
            wait::until_true("both to be in use", || connections(&two) > 10);
            two.stop();
        } else if is_down && !is_back && started.elapsed() > Duration::from_secs(4) {
            is_back = true;
            two.resume();
        }
        wait::until_true("the run to end", || !run.is_running());
        let report = run.report();
        transactions += report.transactions;
        // What the database itself says to those who come too early is an answer, and no failed connection.
        let too_early = report.stderr.matches("the database system is starting up").count() as u64;
        let failed = report.refused + report.cut - too_early.min(report.refused);
        if is_down == was_down {
            assert_eq!(failed, 0, "down: {is_down}, back: {is_back}, {report:?}");
        }
        assert!(too_early == 0 || is_back != was_back, "{report:?}");
        assert!(failed <= 4, "{report:?}");
    }
    assert!(is_back && transactions > 100, "{transactions} transactions");
    let before = connections(&two);
    let report =
        Pgbench::new(gateway.addr("web")).clients(2).transactions(50).reconnecting().start().report();
    assert_eq!((report.exit, report.failed), (0, 0), "{report:?}");
    assert!(connections(&two) > before, "it is in use again");
}

#[test]
fn least_conn_keeps_two_databases_level() {
    let (one, two) = (Postgres::start(), Postgres::start());
    [&one, &two].iter().for_each(|postgres| postgres.fill_for_pgbench(1));
    let gateway = Tcp::to([one.addr(), two.addr()]).upstream("balance: least_conn").start();
    let mut run = Pgbench::new(gateway.addr("web")).clients(8).seconds(2).start();
    wait::until_true("four at each", || {
        [&one, &two].iter().all(|postgres| {
            let endpoint = format!("endpoint=\"{}\"", postgres.addr());
            gateway.metrics().sum("weir_endpoint_in_flight", &[&endpoint]) as u64 == 4
        })
    });
    wait::until_true("the run to end", || !run.is_running());
    let report = run.report();
    assert_eq!((report.exit, report.failed), (0, 0), "{report:?}");
}

#[test]
fn bulk_of_iperf3_passes_whole_in_both_directions() {
    let server = Iperf3Server::start();
    let gateway = Tcp::to([server.addr()]).start();
    for reverse in [false, true] {
        let run = Iperf3::new(gateway.addr("web")).streams(2).bytes(64 << 20);
        let report = if reverse { run.reverse().run() } else { run.run() };
        assert!(report.sent >= 64 << 20, "{report:?}");
    }
}
