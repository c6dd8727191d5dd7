//! Windows: what a client may read when it likes, and for how long.

use std::time::{Duration, Instant};

use weir_testkit::h2::{self, flag, setting};
use weir_testkit::wait;

use crate::h2_abuse::{LARGE, LARGE_BYTES, Victim};

fn impatient() -> Victim {
    Victim::with(|config| config.top("timeouts: { body_idle: 1s }"))
}

#[test]
fn a_hundred_streams_without_a_window_are_reaped() {
    let victim = impatient();
    let mut attacker = victim.attacker_with(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
    let streams: Vec<u32> = (0..100).map(|_| attacker.request("test", LARGE)).collect();
    for stream in streams {
        // The head comes; for the body there is no room, and at last no patience.
        let _ = attacker.try_answer(stream).map(|answer| assert!(answer.reset.is_some(), "{answer:?}"));
    }
    wait::until_true("the origin's work to be given up", || victim.origin.open_count() <= 8);
    victim.recovers();
}

#[test]
fn a_connection_whose_window_is_used_up_is_reaped() {
    let victim = impatient();
    let mut attacker = victim.attacker_with(&[(setting::INITIAL_WINDOW_SIZE, 1 << 30)]);
    attacker.silent();
    let streams: Vec<u32> = (0..20).map(|_| attacker.request("test", LARGE)).collect();
    for stream in streams {
        let _ = attacker.try_answer(stream).map(|answer| assert!(answer.reset.is_some(), "{answer:?}"));
    }
    victim.recovers();
}

/// A byte now and then is progress of a kind; it must not hold an answer of megabytes for ever.
#[test]
fn a_window_that_is_granted_byte_by_byte_is_reaped() {
    let victim = impatient();
    let mut attacker = victim.attacker_with(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
    attacker.silent();
    let stream = attacker.request("test", LARGE);
    let started = Instant::now();
    let is_over = wait::until_within(Duration::from_secs(12), || {
        let is_gone = attacker.try_send(h2::window_update(stream, 1)).is_err();
        (is_gone || attacker.is_reset(stream)).then_some(())
    });
    assert!(is_over.is_some(), "still served after {:?}", started.elapsed());
    victim.recovers();
}

#[test]
fn settings_that_change_the_window_to_and_fro_lose_no_byte() {
    let victim = Victim::start();
    let mut client = victim.attacker_with(&[(setting::INITIAL_WINDOW_SIZE, 1)]);
    let stream = client.request("test", LARGE);
    for round in 0..20 {
        let size = if round % 2 == 0 { 200_000 } else { 0 };
        client.send(h2::settings(&[(setting::INITIAL_WINDOW_SIZE, size)]));
    }
    client.send(h2::settings(&[(setting::INITIAL_WINDOW_SIZE, 100_000)]));
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.body.len(), answer.reset), (200, LARGE_BYTES, None));
    drop(client);
    victim.recovers();
}

#[test]
fn windows_beyond_the_largest_end_the_connection() {
    let victim = Victim::start();
    let faults = [
        h2::window_update(0, (1 << 31) - 1),
        h2::window_update(0, 0),
        h2::settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 31)]),
        h2::settings(&[(setting::MAX_FRAME_SIZE, 1)]),
        h2::settings(&[(setting::ENABLE_PUSH, 2)]),
    ];
    for fault in faults {
        let mut attacker = victim.attacker();
        attacker.send(&fault);
        victim.ends(&mut attacker, None);
    }
    victim.recovers();
}

/// More than the window that was granted: the stream's, then the connection's.
#[test]
fn data_beyond_the_window_is_not_taken() {
    let victim = Victim::start();
    for streams in [1, 40] {
        let mut attacker = victim.attacker();
        attacker.silent();
        let open: Vec<u32> = (0..streams)
            .map(|_| attacker.headers(0, &h2::get_fields("test", crate::h2_abuse::HELD)))
            .collect();
        let mut next = open.iter().cycle();
        let sent = attacker.flood(2_000, |_| h2::data(*next.next().expect("a cycle"), 0, [b'u'; 16_000]));
        assert!(sent < 2_000 || open.iter().all(|stream| attacker.is_reset(*stream)), "{streams} streams");
        drop(attacker);
    }
    victim.recovers();
}

/// An upload that stops is not waited for longer than its patience, and frees its place upstream.
#[test]
fn uploads_that_stop_are_reaped() {
    let victim = impatient();
    let mut attacker = victim.attacker();
    let streams: Vec<u32> =
        (0..50).map(|_| attacker.headers(0, &h2::get_fields("test", "/upload"))).collect();
    for stream in &streams {
        attacker.send(h2::data(*stream, 0, "a beginning"));
    }
    for stream in streams {
        if let Ok(answer) = attacker.try_answer(stream) {
            assert!(answer.status == 408 || answer.reset.is_some(), "{answer:?}");
        }
    }
    victim.recovers();
}

#[test]
fn a_connection_that_says_nothing_after_its_preface_is_closed() {
    let victim = Victim::with(|config| config.top("timeouts: { request_head: 1s, keep_alive: 1s }"));
    let mut attacker = victim.attacker();
    victim.ends(&mut attacker, None);
    let mut idle = victim.attacker();
    assert_eq!(idle.get("test", "/once").status, 200);
    victim.ends(&mut idle, None);
    let mut half = weir_testkit::RawClient::connect(victim.gateway.addr("web"));
    half.send(&h2::PREFACE[..20]);
    assert!(half.rest().is_ok_and(|bytes| !bytes.starts_with(b"HTTP/1.1 200")));
    victim.recovers();
}

/// Tells DATA frames in one write from a body that was declared otherwise.
#[test]
fn a_length_that_disagrees_with_the_data_ends_the_stream() {
    let victim = Victim::start();
    for (length, data) in [("5", "1234"), ("5", "123456"), ("0", "x"), ("1", "")] {
        let mut client = victim.attacker();
        let mut fields = h2::get_fields("test", "/upload").to_vec();
        fields.push(("content-length", length));
        let stream = client.headers(0, &fields);
        client.send(h2::data(stream, flag::END_STREAM, data));
        if let Ok(answer) = client.try_answer(stream) {
            assert!(answer.status == 400 || answer.reset.is_some(), "{length} {data:?}: {answer:?}");
        }
    }
    // Where nothing was declared to come, nothing more is waited for.
    let requests = victim.origin.requests();
    let uploads: Vec<_> = requests.iter().filter(|request| request.target == "/upload").collect();
    assert!(uploads.iter().all(|request| !request.is_complete || request.body.is_empty()), "{uploads:?}");
    let is_whole =
        |length| uploads.iter().any(|r| r.field("content-length") == Some(length) && r.is_complete);
    assert!(!is_whole("5") && !is_whole("1"), "{uploads:?}");
    victim.recovers();
}
