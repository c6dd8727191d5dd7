//! PostgreSQL, whose clients ask for TLS in their own way, behind listeners with and without TLS.

use weir_testkit::{Authority, Certificate, Postgres};

use crate::tcp::{Tcp, end_of};
use crate::tls::tls;

const WHO: &str = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

#[test]
fn a_database_that_ends_tls_itself_is_reached_by_clients_that_require_it() {
    let postgres = Postgres::start();
    let authority = Authority::new("Databases");
    postgres.take_tls(&authority.issue(&["127.0.0.1"]));
    let gateway = Tcp::to([postgres.addr()]).start();
    let verify = format!("sslmode=verify-full sslrootcert={}", authority.file().display());
    for settings in ["sslmode=require", &verify] {
        let told = Postgres::query_at(gateway.addr("web"), settings, WHO);
        assert_eq!(told.as_deref(), Ok("t|TLSv1.3"), "{settings}");
    }
}

/// Goal: a listener that ends TLS serves the database behind it. Method: a second gateway gives psql, which asks for TLS in
/// its own way or not at all, the TLS that such a listener expects.
#[test]
fn a_plain_client_reaches_a_listener_with_tls_through_a_gateway_that_adds_it() {
    let postgres = Postgres::start();
    let authority = Authority::new("Gateways");
    let certificate = authority.issue(&["db.test"]);
    let ending = Tcp::to([postgres.addr()]).listener(&tls(&certificate)).start();
    let upstream = format!("tls: {{ ca: {}, server_name: db.test }}", authority.file().display());
    let adding = Tcp::to([ending.addr("web")]).upstream(&upstream).start();
    let long = "SELECT length(repeat('x', 5000000)), repeat('x', 5000000)";
    let told = Postgres::query_at(adding.addr("web"), "sslmode=disable", long).unwrap();
    assert!(told.starts_with("5000000|xxx") && told.len() == 5_000_008, "{} bytes", told.len());
    let line = end_of(&ending, "client_closed");
    assert_eq!((&line["sni"], &line["tls_version"]), (&"db.test".into(), &"TLSv1.3".into()));
}

#[test]
fn a_client_that_asks_for_tls_in_plain_is_told_apart_at_a_listener_with_tls() {
    let postgres = Postgres::start();
    let certificate = Certificate::for_names(&["db.test"]);
    let gateway = Tcp::to([postgres.addr()]).listener(&tls(&certificate)).start();
    assert!(Postgres::query_at(gateway.addr("web"), "sslmode=require", WHO).is_err());
    assert_eq!(end_of(&gateway, "tls_failed")["error"], "tls-handshake-failed");
    let failures = gateway.metrics().sum("weir_tls_handshake_failures_total", &["reason=\"not_tls\""]);
    assert_eq!(failures as u64, 1);
}
