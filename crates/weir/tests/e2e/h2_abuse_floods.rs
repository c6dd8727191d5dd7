//! Frames that cost their sender nothing.

use std::time::Duration;

use weir_testkit::h2::{self, RawH2, code, flag, kind};
use weir_testkit::{RawClient, wait};

use crate::h2_abuse::{HELD, Victim};

/// Frames that an attacker has ready: more than lies in the kernel while the gateway waits for a core.
const FLOOD: u32 = 600_000;

/// Sends `bytes` over and over, behind `first`, until the connection is ended for `reason`.
fn ends_a_flood(reason: &str, first: &[u8], bytes: &[u8]) {
    let victim = Victim::start();
    let mut attacker = victim.attacker();
    // An acknowledgement within a header block would be a fault of its own.
    attacker.silent();
    attacker.send(first);
    let sent = attacker.flood(FLOOD, |_| bytes.to_vec());
    assert!(sent < FLOOD, "{reason}: all of it was taken");
    victim.calms(&mut attacker, reason);
    victim.recovers();
}

/// A header block that is not ended.
fn begun(stream: u32) -> Vec<u8> {
    let block = h2::block(&h2::get_fields("test", "/"));
    h2::frame(kind::HEADERS, flag::END_STREAM, stream, block)
}

/// A header block that is not ended, nor is the string of 2 MiB that it ends with.
fn unending(stream: u32) -> Vec<u8> {
    let open = [&[0, 1, b'x', 0x7f, 0x81, 0xff, 0x7f][..], &[b'y'; 1_000]].concat();
    [begun(stream), h2::frame(kind::CONTINUATION, 0, stream, open)].concat()
}

#[test]
fn empty_continuations_are_a_flood() {
    ends_a_flood("continuations", &begun(1), &h2::frame(kind::CONTINUATION, 0, 1, []));
}

#[test]
fn continuations_of_one_byte_are_a_flood() {
    ends_a_flood("continuations", &unending(1), &h2::frame(kind::CONTINUATION, 0, 1, "y"));
}

/// CVE-2024-27316: one field that never ends.
#[test]
fn large_continuations_end_before_twice_the_limit_of_heads() {
    let victim = Victim::start();
    let mut attacker = victim.attacker();
    attacker.silent();
    attacker.send(unending(1));
    let sent = attacker.flood(1_000, |_| h2::frame(kind::CONTINUATION, 0, 1, [b'y'; 16_000]));
    assert!(sent < 1_000);
    victim.ends(&mut attacker, None);
    victim.recovers();
}

#[test]
fn a_header_block_that_is_not_ended_ends_with_the_patience_for_heads() {
    let victim = Victim::with(|config| config.top("timeouts: { request_head: 1s }"));
    let mut attacker = victim.attacker();
    assert_eq!(attacker.get("test", "/first").status, 200);
    attacker.send(begun(3));
    victim.ends(&mut attacker, None);
    victim.recovers();
}

/// One piece every now and then, each of which is progress of a kind.
#[test]
fn a_header_block_in_slow_pieces_ends_with_the_patience_for_heads() {
    let victim = Victim::with(|config| config.top("timeouts: { request_head: 1s }"));
    let mut attacker = victim.attacker();
    let head = begun(1);
    let mut is_ended = false;
    for byte in head.chunks(1) {
        is_ended = attacker.try_send(byte).is_err() || attacker.ending(Duration::from_millis(200)).is_ok();
        if is_ended {
            break;
        }
    }
    assert!(is_ended, "{} pieces were waited for", head.len());
    victim.recovers();
}

#[test]
fn pings_are_a_flood() {
    ends_a_flood("pings", &[], &h2::ping(*b"whatever"));
}

#[test]
fn acknowledgements_of_nothing_are_a_flood() {
    ends_a_flood("pings", &[], &h2::frame(kind::PING, flag::ACK, 0, b"whatever"));
}

#[test]
fn settings_are_a_flood() {
    ends_a_flood("settings", &[], &h2::settings(&[(h2::setting::INITIAL_WINDOW_SIZE, 70_000)]));
}

#[test]
fn priorities_are_a_flood() {
    ends_a_flood("priorities", &[], &h2::frame(kind::PRIORITY, 0, 5, [0, 0, 0, 3, 7]));
    ends_a_flood("priorities", &[], &h2::frame(0x10, 0, 0, b"\0\0\0\x05u=1"));
}

#[test]
fn unknown_frames_are_a_flood() {
    ends_a_flood("unknown_frames", &[], &h2::frame(0xbe, 0, 0, [0; 100]));
}

#[test]
fn data_without_data_is_a_flood() {
    let open = h2::headers(1, 0, &h2::get_fields("test", "/upload"));
    ends_a_flood("empty_data", &open, &h2::data(1, 0, ""));
    ends_a_flood("empty_data", &open, &h2::frame(kind::DATA, flag::PADDED, 1, [3, 0, 0, 0]));
}

#[test]
fn window_updates_are_a_flood() {
    ends_a_flood("window_updates", &h2::get(1, "test", HELD), &h2::window_update(0, 100));
}

/// CVE-2019-9512 and 9515: the acknowledgements pile up at a client that does not read.
#[test]
fn a_client_that_does_not_read_its_acknowledgements_is_cut() {
    for bytes in [h2::ping(*b"whatever"), h2::settings(&[])] {
        let victim = Victim::with(|config| config.top("timeouts: { body_idle: 2s }"));
        let mut attacker = RawH2::over(RawClient::connect_narrow(victim.gateway.addr("web")), &[]);
        attacker.silent();
        let flood = bytes.repeat(1_000);
        let is_cut = wait::until_within(wait::PATIENCE, || attacker.try_send(&flood).is_err().then_some(()));
        assert!(is_cut.is_some(), "it is still listened to");
        victim.recovers();
    }
}

/// Ordinary, whatever it looks like: tiny messages, each flushed, with a PING for each answer that came.
#[test]
fn a_stream_of_tiny_messages_with_pings_is_no_flood() {
    let victim = Victim::start();
    let mut client = victim.attacker();
    let upload = client.headers(0, &h2::get_fields("test", "/upload"));
    for round in 0..200 {
        client.send(h2::data(upload, 0, "0").repeat(100));
        if round % 10 == 0 {
            client.send(h2::ping(*b"estimate"));
            assert_eq!(client.get("test", "/between").status, 200);
        }
    }
    client.send(h2::data(upload, flag::END_STREAM, "."));
    assert_eq!(client.answer(upload).status, 200);
    let requests = victim.origin.requests();
    let seen = requests.iter().find(|request| request.target == "/upload").expect("the upload");
    assert_eq!(seen.body.len(), 20_001);
    assert_eq!(client.goaway(), None);
    client.send(h2::goaway(0, code::NO_ERROR));
    drop(client);
    victim.recovers();
}
