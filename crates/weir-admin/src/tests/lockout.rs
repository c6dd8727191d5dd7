//! Guessing the token.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use weir_config::Secret;

use super::{Example, Reply, Running, TOKEN, read_reply};
use crate::connection::{Service, serve};
use crate::places::Places;
use crate::source::Ends;
use crate::{Guard, LOCKOUT_WINDOW, TOKEN_FAILURES_MAX};

/// A service that peers of any address reach, without sockets, so that time need not be real.
struct Far {
    gateway: Arc<Example>,
    service: Arc<Service>,
}

impl Far {
    fn start() -> Self {
        let gateway = Arc::new(Example::default());
        let guard = Guard::new(&[], Some(Secret::new(TOKEN)));
        Self { service: Arc::new(Service::new(Arc::clone(&gateway) as _, guard)), gateway }
    }

    async fn ask(&self, peer: &str, token: Option<&str>, path: &str) -> Reply {
        let ends = Ends::new(peer.parse::<IpAddr>().unwrap(), "192.0.2.1".parse().unwrap());
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let stopping = tokio::sync::watch::Sender::new(false);
        let place = Places::new(Arc::clone(&self.service.stats)).place(ends.source()).await.unwrap();
        tokio::spawn(serve(server, ends, place, Arc::clone(&self.service), stopping.subscribe()));
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{token}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        read_reply(&mut client, &mut Vec::new(), true).await.expect("an answer")
    }

    async fn guess(&self, peer: &str) -> Reply {
        self.ask(peer, Some("wrong"), "/api/v1/status").await
    }

    async fn lock_out(&self, peer: &str) {
        for _ in 0..TOKEN_FAILURES_MAX {
            self.guess(peer).await.expect_problem(401, "unauthorized");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_guesses_from_afar_is_locked_out_until_the_window_passes() {
    let far = Far::start();
    far.lock_out("198.51.100.7").await;
    for token in ["wrong", TOKEN] {
        let reply = far.ask("198.51.100.7", Some(token), "/api/v1/status").await;
        reply.expect_problem(429, "too-many-failures");
        assert_eq!(reply.field("retry-after"), Some("60"), "{reply:?}");
    }
    assert_eq!(far.ask("198.51.100.8", Some(TOKEN), "/api/v1/status").await.status, 200);
    tokio::time::advance(LOCKOUT_WINDOW - Duration::from_millis(1)).await;
    let late = far.ask("198.51.100.7", Some(TOKEN), "/api/v1/status").await;
    assert_eq!((late.status, late.field("retry-after")), (429, Some("1")));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(far.ask("198.51.100.7", Some(TOKEN), "/api/v1/status").await.status, 200);
    let stats = &far.service.stats;
    assert_eq!((stats.token_failures.get(), stats.locked_out.get()), (u64::from(TOKEN_FAILURES_MAX), 3));
}

#[tokio::test(start_paused = true)]
async fn the_whole_64_of_an_ipv6_guesser_is_locked_out() {
    let far = Far::start();
    for number in 0..TOKEN_FAILURES_MAX {
        far.guess(&format!("2001:db8:0:1::{number}")).await.expect_problem(401, "unauthorized");
    }
    assert_eq!(far.guess("2001:db8:0:1:ffff::1").await.status, 429);
    assert_eq!(far.guess("2001:db8:0:2::1").await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn nobody_on_the_machine_can_lock_its_operator_out() {
    for peer in ["127.0.0.1", "::1", "192.0.2.1"] {
        let far = Far::start();
        far.lock_out(peer).await;
        assert_eq!(far.guess(peer).await.status, 429, "{peer}");
        assert_eq!(far.ask(peer, Some(TOKEN), "/api/v1/status").await.status, 200, "{peer}");
    }
}

#[tokio::test(start_paused = true)]
async fn probes_and_requests_without_a_token_are_no_guesses() {
    let far = Far::start();
    for _ in 0..3 * TOKEN_FAILURES_MAX {
        far.ask("198.51.100.7", None, "/api/v1/status").await.expect_problem(401, "unauthorized");
        assert_eq!(far.ask("198.51.100.7", Some("wrong"), "/health/ready").await.status, 200);
    }
    assert_eq!(far.ask("198.51.100.7", Some(TOKEN), "/api/v1/status").await.status, 200);
    far.lock_out("198.51.100.7").await;
    assert_eq!(far.ask("198.51.100.7", None, "/health/ready").await.status, 200);
}

#[tokio::test]
async fn wrong_tokens_are_told_to_the_log_without_the_token() {
    let far = Far::start();
    for _ in 0..50 {
        far.ask("198.51.100.7", Some("a-secret-guess"), "/api/v1/status").await;
    }
    let refused = far.gateway.refused.lock().unwrap();
    let told: Vec<(&str, u32)> = refused.iter().map(|told| (&*told.source, told.failures)).collect();
    assert_eq!(told, [("198.51.100.7", 1), ("198.51.100.7", TOKEN_FAILURES_MAX)]);
    assert!(!format!("{refused:?}").contains("guess"));
}

#[tokio::test]
async fn a_kept_connection_is_not_another_source() {
    let running = Running::start(Example::default(), &[], Some(TOKEN));
    let mut stream = running.connect().await;
    let mut received = Vec::new();
    for number in 0..2 * TOKEN_FAILURES_MAX {
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let reply = read_reply(&mut stream, &mut received, true).await.unwrap();
        assert_eq!(reply.status, if number < TOKEN_FAILURES_MAX { 401 } else { 429 }, "{number}");
    }
}
