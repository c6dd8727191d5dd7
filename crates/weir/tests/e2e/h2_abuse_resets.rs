//! Streams that are opened to be reset: by the client, or by us for its faults.

use weir_testkit::h2::{self, code, flag, kind};

use crate::h2_abuse::{HELD, LARGE, Victim};

/// Faults that an attacker has ready: some 16 MB of them, more than lies in the kernel while the gateway waits for a core.
const FLOOD: u32 = 200_000;

/// CVE-2023-44487. The origin sees no more at a time than a client may have open, and some are cancelled before.
#[test]
fn rapid_resets_end_the_connection_and_their_upstream_work() {
    let victim = Victim::start();
    let mut attacker = victim.attacker();
    let sent = attacker.flood(FLOOD, |time| {
        let stream = 2 * time + 1;
        [h2::get(stream, "test", HELD), h2::reset(stream, code::CANCEL)].concat()
    });
    assert!(sent < FLOOD);
    victim.calms(&mut attacker, "rapid_resets");
    assert!(
        victim.origin.request_count() < 250,
        "{} requests reached the origin",
        victim.origin.request_count()
    );
    victim.recovers();
}

/// In one write each, as many as a client may: no round trip lies between a request and its reset.
#[test]
fn a_burst_of_requests_and_resets_is_cancelled_upstream() {
    let victim = Victim::start();
    let mut attacker = victim.attacker();
    for round in 0..2 {
        let streams = (0..90).map(|n| 180 * round + 2 * n + 1);
        let requests: Vec<u8> = streams.clone().flat_map(|stream| h2::get(stream, "test", HELD)).collect();
        let resets: Vec<u8> = streams.flat_map(|stream| h2::reset(stream, code::CANCEL)).collect();
        attacker.send([requests, resets].concat());
    }
    // That is still what a browser may do.
    attacker.send(h2::get(1_001, "test", "/after"));
    assert_eq!(attacker.answer(1_001).status, 200);
    drop(attacker);
    victim.recovers();
}

/// The frame that has a stream of this number reset.
type Fault = fn(u32) -> Vec<u8>;

/// CVE-2025-8671: each way to make a server reset a stream that the client has not reset.
#[test]
fn streams_that_we_are_made_to_reset_end_the_connection() {
    let whole: Fault = |stream| h2::get(stream, "test", HELD);
    let primitives: [(&str, Fault); 6] = [
        ("window update of 0", |stream| h2::window_update(stream, 0)),
        ("window update beyond the largest window", |stream| h2::window_update(stream, (1 << 31) - 1)),
        ("PRIORITY of four bytes", |stream| h2::frame(kind::PRIORITY, 0, stream, [0; 4])),
        ("PRIORITY on itself", |stream| {
            h2::frame(kind::PRIORITY, 0, stream, [&stream.to_be_bytes()[..], &[0]].concat())
        }),
        ("HEADERS behind the end", |stream| h2::get(stream, "test", HELD)),
        ("DATA behind the end", |stream| h2::data(stream, 0, "more")),
    ];
    for (name, fault) in primitives {
        let victim = Victim::start();
        let mut attacker = victim.attacker();
        let sent = attacker.flood(FLOOD, |time| {
            let stream = 2 * time + 1;
            [whole(stream), fault(stream)].concat()
        });
        assert!(sent < FLOOD, "{name}: all of it was taken");
        victim.ends(&mut attacker, None);
        let resets = attacker.unread().filter(|frame| frame.kind == kind::RST_STREAM).count();
        assert!(resets <= 210, "{name}: {resets} streams were reset");
        victim.recovers();
    }
}

/// The same with streams whose answers are under way.
#[test]
fn streams_that_we_are_made_to_reset_while_they_are_answered_end_the_connection() {
    let victim = Victim::start();
    let mut attacker = victim.attacker();
    let sent = attacker.flood(FLOOD, |time| {
        let stream = 2 * time + 1;
        [h2::get(stream, "test", LARGE), h2::window_update(stream, (1 << 31) - 1)].concat()
    });
    assert!(sent < FLOOD);
    victim.ends(&mut attacker, None);
    victim.recovers();
}

#[test]
fn streams_beyond_the_limit_are_refused_and_at_last_the_connection() {
    let victim = Victim::start();
    let mut attacker = victim.attacker();
    let sent = attacker.flood(FLOOD, |time| h2::get(2 * time + 1, "test", HELD));
    assert!(sent < FLOOD);
    assert!(victim.origin.request_count() <= 101, "{} requests", victim.origin.request_count());
    victim.ends(&mut attacker, Some(code::ENHANCE_YOUR_CALM));
    // Where the client sends faster than it reads, the library's own count is the first.
    assert_eq!(victim.calmed("refused_streams") + victim.calmed("protocol"), 1.0);
    victim.recovers();
}

/// What looks like an attack and is none: a page is left, and its images with it.
#[test]
fn a_hundred_cancelled_images_cost_a_browser_nothing() {
    let victim = Victim::start();
    let mut browser = victim.attacker();
    let images: Vec<u32> = (0..100).map(|_| browser.request("test", HELD)).collect();
    for image in images {
        browser.send(h2::reset(image, code::CANCEL));
    }
    assert_eq!(browser.get("test", "/next").status, 200);
    let upload = browser.headers(0, &h2::get_fields("test", "/upload"));
    browser.send(h2::data(upload, flag::END_STREAM, ""));
    assert_eq!(browser.answer(upload).status, 200);
    drop(browser);
    victim.recovers();
}
