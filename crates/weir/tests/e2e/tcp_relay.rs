//! Bytes pass exactly, each direction ends on its own, and a reset is told from an end.

use std::time::{Duration, Instant};

use weir_testkit::{Ending, Gateway, RawClient, RawServer, TcpOrigin, wait};

use crate::tcp::{Tcp, end_of, ended};

/// A connection through a gateway, and both of its ends.
fn joined(config: impl Fn(Tcp) -> Tcp) -> (Gateway, RawClient, RawClient) {
    let server = RawServer::start();
    let gateway = config(Tcp::to([server.addr()])).start();
    let client = gateway.connect();
    let upstream = server.accept();
    (gateway, client, upstream)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 ^ (at >> 12) as u8).collect()
}

#[test]
fn a_client_that_has_ended_its_direction_reads_ten_mebibytes_more() {
    let (gateway, mut client, mut upstream) = joined(|tcp| tcp);
    client.send("the question");
    client.half_close();
    assert_eq!(upstream.rest().unwrap(), b"the question", "the end comes after the bytes");
    let answer = pattern(10 << 20);
    let sent = answer.clone();
    let sending = std::thread::spawn(move || upstream.send(sent));
    let got = client.rest().unwrap();
    assert!(got == answer, "{} bytes of {}", got.len(), answer.len());
    sending.join().unwrap();
    let line = end_of(&gateway, "client_closed");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&12.into(), &(10 << 20).into()), "{line}");
    assert_eq!(ended(&gateway, "client_closed"), 1);
}

#[test]
fn a_client_goes_on_sending_to_a_server_that_has_ended_its_direction() {
    let (gateway, mut client, mut upstream) = joined(|tcp| tcp);
    upstream.send("that is all from here");
    upstream.half_close();
    assert_eq!(client.rest().unwrap(), b"that is all from here");
    let upload = pattern(10 << 20);
    let sent = upload.clone();
    let sending = std::thread::spawn(move || client.send(sent));
    let got = upstream.rest().unwrap();
    assert!(got == upload, "{} bytes of {}", got.len(), upload.len());
    sending.join().unwrap();
    let line = end_of(&gateway, "upstream_closed");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&(10 << 20).into(), &21.into()), "{line}");
}

#[test]
fn both_directions_at_once_are_exact() {
    let origin = TcpOrigin::echo();
    let gateway = Tcp::to([origin.addr()]).start();
    let clients: Vec<_> = (0..4)
        .map(|seed| {
            let addr = gateway.addr("web");
            std::thread::spawn(move || {
                let mut client = RawClient::connect(addr);
                // Now small, now many times a buffer: copied, spliced, and copied again.
                for round in 0..12 {
                    let bytes = pattern([1, 100, 200_000, 16 << 10][round % 4] + seed);
                    let mut got = Vec::new();
                    for piece in bytes.chunks(60_000) {
                        client.send(piece);
                        got.extend(client.exactly(piece.len()).unwrap());
                    }
                    assert!(got == bytes, "round {round}");
                }
                client.half_close();
                assert_eq!(client.rest().unwrap(), b"");
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    wait::until_true("four ends", || ended(&gateway, "client_closed") == 4);
    let metrics = gateway.metrics();
    let bytes = |name| metrics.sum(name, &["listener=\"web\""]);
    let (received, sent) = (bytes("weir_stream_received_bytes_total"), bytes("weir_stream_sent_bytes_total"));
    assert!(received > 2_000_000.0 && (received - sent).abs() < 1.0, "{received} in, {sent} out");
}

#[test]
fn a_reset_stays_a_reset_in_both_directions() {
    let (gateway, mut client, mut upstream) = joined(|tcp| tcp);
    client.send("x");
    assert_eq!(upstream.exactly(1).unwrap(), b"x");
    client.reset();
    assert_eq!(upstream.ending(), Ending::Reset);
    assert_eq!(end_of(&gateway, "client_reset")["bytes_in"], 1);

    let (gateway, mut client, mut upstream) = joined(|tcp| tcp);
    upstream.send("part of an answ");
    assert_eq!(client.exactly(15).unwrap(), b"part of an answ");
    upstream.reset();
    assert_eq!(client.ending(), Ending::Reset);
    assert_eq!(end_of(&gateway, "upstream_reset")["error"], "upstream-cut");
}

#[test]
fn a_reset_after_a_half_close_is_one_too() {
    let (gateway, mut client, mut upstream) = joined(|tcp| tcp);
    client.send("all");
    client.half_close();
    assert_eq!(upstream.rest().unwrap(), b"all");
    upstream.send("part");
    assert_eq!(client.exactly(4).unwrap(), b"part");
    upstream.reset();
    assert_eq!(client.ending(), Ending::Reset);
    end_of(&gateway, "upstream_reset");
}

#[test]
fn a_client_that_closes_under_an_answer_is_known_to_be_gone() {
    let (gateway, mut client, mut upstream) = joined(|tcp| tcp);
    client.send("x");
    assert_eq!(upstream.exactly(1).unwrap(), b"x");
    drop(client);
    // Its end looks like a half-close; that it reads no more is known when something is sent.
    assert_eq!(upstream.rest().unwrap(), b"");
    wait::until_true("the upstream to see it", || upstream.try_send("more").is_err());
    end_of(&gateway, "client_reset");
}

#[test]
fn a_clean_end_stays_clean() {
    for client_first in [true, false] {
        let (gateway, mut client, mut upstream) = joined(|tcp| tcp);
        let (first, second) =
            if client_first { (&mut client, &mut upstream) } else { (&mut upstream, &mut client) };
        first.half_close();
        assert_eq!(second.ending(), Ending::Closed);
        second.half_close();
        assert_eq!(first.ending(), Ending::Closed);
        end_of(&gateway, if client_first { "client_closed" } else { "upstream_closed" });
    }
}

#[test]
fn silence_ends_a_connection_after_idle_timeout_and_words_put_it_off() {
    let (gateway, mut client, mut upstream) = joined(|tcp| tcp.tcp("idle_timeout: 1s"));
    let started = Instant::now();
    // Either direction counts for both.
    for _ in 0..8 {
        assert!(client.is_quiet_for(Duration::from_millis(150)));
        upstream.send("x");
        assert_eq!(client.exactly(1).unwrap(), b"x");
    }
    assert!(started.elapsed() > Duration::from_millis(1_200));
    let silent = Instant::now();
    assert_eq!((client.ending(), upstream.ending()), (Ending::Reset, Ending::Reset));
    let took = silent.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(end_of(&gateway, "idle_timeout")["bytes_out"], 8);
}

#[test]
fn what_is_half_closed_ends_after_its_own_timeout() {
    let (gateway, mut client, mut upstream) =
        joined(|tcp| tcp.tcp("idle_timeout: 1h").tcp("half_close_timeout: 800ms"));
    client.half_close();
    assert_eq!(upstream.rest().unwrap(), b"");
    for _ in 0..7 {
        assert!(client.is_quiet_for(Duration::from_millis(150)));
        upstream.send("x");
        assert_eq!(client.exactly(1).unwrap(), b"x");
    }
    assert_eq!(client.ending(), Ending::Reset);
    // It has read the end of the other direction already: that it was cut shows when it writes.
    wait::until_true("the upstream to be cut too", || upstream.try_send("more").is_err());
    end_of(&gateway, "half_close_timeout");
}

#[test]
fn bytes_that_come_one_by_one_leave_one_by_one() {
    let (_gateway, mut client, mut upstream) = joined(|tcp| tcp);
    for byte in 0..=255_u8 {
        client.send([byte]);
        assert_eq!(upstream.exactly(1).unwrap(), [byte]);
        upstream.send([!byte]);
        assert_eq!(client.exactly(1).unwrap(), [!byte]);
    }
}

/// One side sends, the other reads nothing: the sender is held back and the gateway keeps little.
fn is_held_back(gateway: &Gateway, sender: &mut RawClient, receiver: &mut RawClient) {
    const MOST: usize = 256 << 20;
    let before = gateway.rss_kib();
    let sent = sender.send_until_held(Duration::from_millis(500), MOST);
    assert!(sent < MOST / 4, "{sent} bytes were taken for somebody who does not read");
    let grown = gateway.rss_kib().saturating_sub(before);
    assert!(grown < 2 * 1024, "{grown} KiB kept");
    let cpu = gateway.cpu_time();
    assert!(!gateway.admin_get("/healthz").text().is_empty());
    assert!(receiver.exactly(sent).expect("all of it").iter().all(|&byte| byte == b'x'));
    assert!(gateway.cpu_time().saturating_sub(cpu) < Duration::from_secs(5));
    sender.send("on");
    assert_eq!(receiver.exactly(2).expect("what follows"), b"on");
}

#[test]
fn who_never_reads_holds_the_other_side_back_and_costs_no_memory() {
    let (gateway, mut client, mut upstream) = joined(|tcp| tcp);
    is_held_back(&gateway, &mut client, &mut upstream);
    is_held_back(&gateway, &mut upstream, &mut client);
}

#[test]
fn a_held_back_connection_does_not_spin() {
    let (gateway, mut client, _upstream) = joined(|tcp| tcp);
    client.send_until_held(Duration::from_millis(300), 256 << 20);
    let cpu = gateway.cpu_time();
    assert!(client.is_quiet_for(Duration::from_millis(1_000)));
    let used = gateway.cpu_time().saturating_sub(cpu);
    assert!(used < Duration::from_millis(200), "{used:?} of a second");
}

#[test]
fn a_reset_by_who_is_held_back_is_passed_on_soon() {
    let (gateway, mut client, mut upstream) = joined(|tcp| tcp);
    let sent = client.send_until_held(Duration::from_millis(300), 256 << 20);
    assert!(sent > 0);
    client.reset();
    end_of(&gateway, "client_reset");
    assert!(upstream.rest().is_err(), "what it had not read is not the whole");

    let (gateway, mut client, mut upstream) = joined(|tcp| tcp);
    upstream.send_until_held(Duration::from_millis(300), 256 << 20);
    upstream.reset();
    end_of(&gateway, "upstream_reset");
    assert!(client.rest().is_err());
}

#[test]
fn a_reset_by_who_reads_nothing_is_passed_on_at_once() {
    let (gateway, mut client, upstream) = joined(|tcp| tcp);
    client.send_until_held(Duration::from_millis(300), 256 << 20);
    upstream.reset();
    end_of(&gateway, "upstream_reset");
    assert_eq!(client.ending(), Ending::Reset);
}

#[test]
fn an_answer_before_a_reset_is_passed_on_to_a_client_that_still_sends() {
    for _ in 0..10 {
        let (gateway, mut client, mut upstream) = joined(|tcp| tcp);
        client.send_until_held(Duration::from_millis(100), 256 << 20);
        upstream.send("too large");
        // With bytes that were not read, its end is a reset.
        drop(upstream);
        assert_eq!(client.exactly(9).unwrap(), b"too large");
        assert_eq!(client.ending(), Ending::Reset);
        end_of(&gateway, "upstream_reset");
    }
}

#[test]
fn rates_are_kept_in_each_direction() {
    const RATE: usize = 512 << 10;
    let (gateway, mut client, mut upstream) =
        joined(|tcp| tcp.tcp("upload_rate: 512KiB").tcp("download_rate: 512KiB"));
    let rounds = [(&mut client, &mut upstream)];
    for (sender, receiver) in rounds {
        let started = Instant::now();
        let bytes = pattern(RATE);
        let sending = bytes.clone();
        std::thread::scope(|scope| {
            scope.spawn(|| sender.send(sending));
            assert!(receiver.exactly(RATE).unwrap() == bytes);
        });
        let took = started.elapsed();
        // A tenth of a second's worth passes at once.
        assert!(took >= Duration::from_millis(800) && took < Duration::from_secs(5), "{took:?}");
        std::thread::scope(|scope| {
            let started = Instant::now();
            scope.spawn(|| receiver.send(pattern(RATE)));
            assert_eq!(sender.exactly(RATE).unwrap().len(), RATE);
            let took = started.elapsed();
            assert!(took >= Duration::from_millis(800) && took < Duration::from_secs(5), "{took:?}");
        });
    }
    client.half_close();
    upstream.half_close();
    assert_eq!(end_of(&gateway, "client_closed")["bytes_in"], RATE);
}

#[test]
fn the_kernel_is_told_to_look_after_both_peers() {
    let server = RawServer::start();
    let gateway = Tcp::to([server.addr()]).tcp("keepalive: 77s").tcp("user_timeout: 12345ms").start();
    let client = gateway.connect();
    let _upstream = server.accept();
    for peer in [client.local_addr(), server.addr()] {
        // They are set once the two sides are joined.
        let options = wait::until("the options", || {
            Some(gateway.socket_options(peer)).filter(|options| options.keepalive.is_some())
        });
        assert_eq!(options.keepalive, Some(Duration::from_secs(77)), "{peer}");
        assert_eq!(options.user_timeout, Some(Duration::from_millis(12_345)), "{peer}");
        assert!(options.nodelay, "{peer}");
    }
    let plain = Tcp::to([server.addr()]).start();
    let _client = plain.connect();
    let _upstream = server.accept();
    let options = plain.socket_options(server.addr());
    assert_eq!((options.keepalive, options.user_timeout), (None, None));
    assert!(options.nodelay);
}

#[test]
fn ten_thousand_short_connections_pass_without_one_failure() {
    let origin = TcpOrigin::echo();
    let gateway = Tcp::to([origin.addr()]).top("log: { access: off }").start();
    let addr = gateway.addr("web");
    let fds = gateway.open_fds();
    let threads: Vec<_> = (0..4_u32)
        .map(|_| {
            std::thread::spawn(move || {
                for round in 0..2_500_u32 {
                    let mut client = RawClient::connect(addr);
                    client.send(round.to_be_bytes());
                    assert_eq!(client.exactly(4).unwrap(), round.to_be_bytes());
                    client.half_close();
                    assert_eq!(client.ending(), Ending::Closed);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    wait::until_true("every end to be counted", || ended(&gateway, "client_closed") == 10_000);
    wait::until_true("no descriptor to be lost", || gateway.open_fds() <= fds + 2);
    assert_eq!(origin.connection_count(), 10_000);
    assert_eq!(gateway.metrics().sum("weir_connections", &[]) as u64, 0);
}
