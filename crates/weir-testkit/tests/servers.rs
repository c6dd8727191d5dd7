//! The real servers and their loads, without a gateway between them.

use std::net::Ipv4Addr;

use weir_testkit::{Dnsmasq, Dnsperf, Iperf3, Iperf3Server, Pgbench, Postgres, wait};

#[test]
fn every_transaction_reaches_postgres() {
    let postgres = Postgres::start();
    postgres.fill_for_pgbench(1);
    let report = Pgbench::new(postgres.addr()).clients(4).transactions(25).start().report();
    assert_eq!((report.exit, report.transactions, report.failed), (0, 100, 0), "{report:?}");
    let report = Pgbench::new(postgres.addr()).transactions(5).reconnecting().start().report();
    assert_eq!((report.exit, report.transactions), (0, 5), "{report:?}");
}

#[test]
fn a_stopped_postgres_cuts_and_refuses_until_it_resumes() {
    let mut postgres = Postgres::start();
    postgres.fill_for_pgbench(1);
    let mut running = Pgbench::new(postgres.addr()).clients(2).seconds(60).start();
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT abalance%'";
    wait::until_true("two clients at work", || postgres.query(busy) == "2");
    assert!(running.is_running());
    postgres.stop();
    let report = running.report();
    assert_eq!((report.exit, report.cut, report.refused), (2, 2, 0), "{report:?}");

    let report = Pgbench::new(postgres.addr()).start().report();
    assert_eq!((report.transactions, report.cut), (0, 0), "{report:?}");
    assert_eq!(report.refused, 1, "{report:?}");

    postgres.resume();
    let report = Pgbench::new(postgres.addr()).start().report();
    assert_eq!((report.exit, report.transactions), (0, 10), "{report:?}");
}

#[test]
fn dnsmasq_answers_for_its_names_and_refuses_others() {
    let mut dnsmasq = Dnsmasq::start(&[("one.test", Ipv4Addr::new(10, 0, 0, 1))]);
    let known = Dnsperf::new(dnsmasq.addr(), &["one.test"; 50]).clients(5).run();
    assert_eq!((known.sent, known.completed, known.noerror, known.lost), (50, 50, 50, 0), "{known:?}");
    let unknown = Dnsperf::new(dnsmasq.addr(), &["two.test"]).run();
    assert_eq!((unknown.completed, unknown.noerror), (1, 0), "{unknown:?}");

    dnsmasq.stop();
    dnsmasq.resume();
    assert_eq!(Dnsperf::new(dnsmasq.addr(), &["one.test"]).run().noerror, 1);
}

#[test]
fn iperf3_moves_bytes_both_ways() {
    let server = Iperf3Server::start();
    for load in [Iperf3::new(server.addr()), Iperf3::new(server.addr()).streams(2).reverse()] {
        let report = load.bytes(10_000_000).run();
        assert!(report.sent >= 10_000_000, "{report:?}");
        assert!(report.received > 0 && report.received <= report.sent, "{report:?}");
    }
}
