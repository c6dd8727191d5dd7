use super::*;

#[test]
fn rapid_resets_end_at_their_limit_and_before_any_other() {
    let mut schedule = Schedule::start();
    let passed = schedule
        .passes(2_000, Reason::RapidResets, |time| [request(2 * time + 1), reset(2 * time + 1, 8)].concat());
    assert_eq!(passed, 200);
}

#[test]
fn rapid_resets_slower_than_the_halving_go_on_and_faster_do_not() {
    let attack = |rate: u32| {
        let mut schedule = Schedule::start();
        let pause = Duration::from_secs(1) / rate;
        for time in 0..rate * 30 {
            let stream = 2 * time + 1;
            let bytes = [request(stream), reset(stream, 8)].concat();
            if schedule.meter.received(&bytes, schedule.now) != Verdict::Pass {
                return false;
            }
            schedule.pass(pause);
        }
        true
    };
    assert!(attack(90));
    assert!(!attack(125));
}

#[test]
fn resets_of_streams_that_wait_longer_have_their_own_limit() {
    let mut schedule = Schedule::limited(Limits { resets_max: 300, ..Limits::default() });
    for round in 0..3 {
        let streams = (0..100).map(|index| 200 * round + 2 * index + 1);
        streams.clone().for_each(|stream| schedule.client(&request(stream)));
        schedule.pass(FRESH);
        streams.for_each(|stream| schedule.client(&reset(stream, 8)));
    }
    assert_eq!(schedule.meter.count(Reason::RapidResets), 0);
    assert_eq!(schedule.meter.received(&reset(1, 8), schedule.now), Verdict::Calm(Reason::Resets));
}

/// Goal: made-you-reset. The client's own frames say little; what we had to answer with says all.
#[test]
fn streams_reset_for_the_clients_faults_are_counted_and_hardly_ever_forgiven() {
    for code in [1, 3, 5, 6] {
        let mut schedule = Schedule::start();
        let mut emitted = 0;
        while schedule.meter.sent(&reset(2 * emitted + 1, code), schedule.now) == Verdict::Pass {
            emitted += 1;
            schedule.pass(Duration::from_millis(500));
        }
        assert_eq!(schedule.meter.verdict(), Verdict::Calm(Reason::ForcedResets));
        assert!((100..=160).contains(&emitted), "code {code}: {emitted}");
    }
}

#[test]
fn resets_that_are_our_own_wish_are_not_held_against_the_client() {
    let mut schedule = Schedule::start();
    for stream in 0..10_000 {
        // NO_ERROR after an early answer, INTERNAL_ERROR, CANCEL.
        schedule.server(&reset(2 * stream + 1, [0, 2, 8][stream as usize % 3]));
    }
}

#[test]
fn streams_beyond_the_limit_are_refused_only_so_often() {
    let mut schedule = Schedule::start();
    for stream in 0..100 {
        schedule.server(&reset(2 * stream + 1, 7));
    }
    assert_eq!(schedule.meter.sent(&reset(201, 7), schedule.now), Verdict::Calm(Reason::RefusedStreams));
}

#[test]
fn floods_of_control_frames_end_at_their_limits() {
    let floods: [(Reason, u32, Vec<u8>); 8] = [
        // The first is free.
        (Reason::Pings, 101, frame(PING, 0, 0, &[0; 8])),
        (Reason::Pings, 100, frame(PING, ACK, 0, &[0; 8])),
        // One came with the preface.
        (Reason::Settings, 49, frame(SETTINGS, 0, 0, &[])),
        (Reason::Priorities, 100, frame(PRIORITY, 0, 3, &[0; 5])),
        (Reason::Priorities, 100, frame(0x10, 0, 0, b"\0\0\0\x03u=1")),
        (Reason::UnknownFrames, 100, frame(0xbe, 0, 0, b"grease")),
        (Reason::WindowUpdates, 500, window_update(0, 1_000)),
        (Reason::EmptyData, 100, frame(DATA, 0, 1, &[])),
    ];
    for (reason, passed, bytes) in floods {
        assert_eq!(Schedule::start().passes(2_000, reason, |_| bytes.clone()), passed, "{reason:?}");
    }
}

#[test]
fn data_that_is_all_padding_is_empty() {
    let padding = frame(DATA, PADDED, 1, &[vec![255], vec![0; 255]].concat());
    assert_eq!(Schedule::start().passes(2_000, Reason::EmptyData, |_| padding.clone()), 100);
    let mut schedule = Schedule::start();
    for _ in 0..2_000 {
        schedule.client(&frame(DATA, PADDED, 1, &[vec![255], vec![0; 256]].concat()));
    }
}

#[test]
fn continuations_end_at_eight_and_tiny_ones_at_twenty_in_all() {
    let opened = frame(HEADERS, END_STREAM, 1, &[0x82; 30]);
    let mut schedule = Schedule::start();
    schedule.client(&opened);
    let piece = frame(CONTINUATION, 0, 1, &[0x82; 1_500]);
    assert_eq!(schedule.passes(100, Reason::Continuations, |_| piece.clone()), 8);
    let empty = frame(CONTINUATION, 0, 1, &[]);
    for (streams, reason, passed) in [(1, Reason::Continuations, 8), (20, Reason::SmallContinuations, 20)] {
        let mut schedule = Schedule::start();
        let mut stream = 0;
        let count = schedule.passes(100, reason, |time| match time % (40 / streams) {
            0 => {
                stream += 1;
                [frame(HEADERS, END_STREAM, 2 * stream - 1, &[0x82; 3]), empty.clone()].concat()
            }
            _ => empty.clone(),
        });
        assert_eq!(count, passed, "over {streams} streams");
    }
}

#[test]
fn a_header_block_ends_the_connection_at_its_limit_wherever_the_bytes_are() {
    let limits = Limits { header_block_bytes_max: 40_000, ..Limits::default() };
    let mut schedule = Schedule::limited(limits);
    schedule.client(&frame(HEADERS, END_STREAM, 1, &[0; 16_000]));
    schedule.client(&frame(CONTINUATION, 0, 1, &[0; 16_000]));
    schedule.client(&frame(CONTINUATION, END_HEADERS, 1, &[0; 8_000]));
    schedule.client(&frame(HEADERS, END_STREAM, 3, &[0; 16_000]));
    schedule.client(&frame(CONTINUATION, 0, 3, &[0; 16_000]));
    // Its header is enough.
    let too_much = &frame(CONTINUATION, END_HEADERS, 3, &[0; 8_001])[..9];
    assert_eq!(schedule.meter.received(too_much, schedule.now), Verdict::Calm(Reason::HeaderBlockBytes));
}

#[test]
fn drips_of_the_window_end_though_each_moves_a_byte() {
    let mut schedule = Schedule::start();
    let mut dripped = 0;
    schedule.client(&request(1));
    while schedule.meter.received(&window_update(1, 1), schedule.now) == Verdict::Pass {
        schedule.server(&frame(DATA, 0, 1, b"x"));
        dripped += 1;
    }
    assert_eq!((dripped, schedule.meter.verdict()), (2_000, Verdict::Calm(Reason::WindowDrips)));
}

/// Goal: a client that makes us owe it acknowledgements and does not read, paying for each PING with a request.
#[test]
fn acknowledgements_that_are_not_read_are_bounded() {
    let limits = Limits { pings_max: u32::MAX >> 1, ..Limits::default() };
    let mut schedule = Schedule::limited(limits);
    for _ in 0..5_000 {
        schedule.client(&frame(PING, 0, 0, &[0; 8]));
        schedule.server(&frame(PING, ACK, 0, &[0; 8]));
    }
    let ping = frame(PING, 0, 0, &[0; 8]);
    assert_eq!(schedule.passes(2_000, Reason::UnreadAcks, |_| ping.clone()), 1_000);
}

#[test]
fn a_server_that_resets_its_streams_is_not_taken_for_a_client() {
    let now = Instant::now();
    let mut meter = Meter::new(Side::Client, Arc::new(Limits::default()), now);
    assert_eq!(meter.sent(PREFACE, now), Verdict::Pass);
    for stream in 0..900 {
        let stream = 2 * stream + 1;
        assert_eq!(meter.sent(&request(stream), now), Verdict::Pass);
        let answer = [frame(HEADERS, END_HEADERS, stream, &[0x88]), reset(stream, 0)].concat();
        assert_eq!(meter.received(&answer, now), Verdict::Pass);
    }
    // Of its resets the last is not yet made up for by a stream that we ended.
    assert_eq!((meter.count(Reason::RapidResets), meter.count(Reason::Resets)), (0, 1));
}

#[test]
fn frames_whose_length_cannot_be_are_told_by_their_code() {
    let sizes = [
        (SETTINGS, 0, 5),
        (SETTINGS, ACK, 6),
        (PING, 0, 7),
        (PING, ACK, 9),
        (WINDOW_UPDATE, 0, 3),
        (RST_STREAM, 0, 5),
        (PRIORITY, 0, 4),
        (DATA, 0, 16_385),
        (0xbe, 0, 16_385),
    ];
    for (kind, flags, length) in sizes {
        let mut schedule = Schedule::start();
        let bytes = frame(kind, flags, 0, &vec![0; length]);
        let verdict = schedule.meter.received(&bytes, schedule.now);
        assert_eq!(verdict, Verdict::Broken(Fault::FrameSize), "kind {kind} of {length} bytes");
    }
    assert_eq!([Fault::FrameSize, Fault::FlowControl, Fault::StreamClosed].map(Fault::code), [6, 3, 5]);
}

#[test]
fn a_client_that_pushes_breaks_the_connection() {
    let mut schedule = Schedule::start();
    let push = frame(5, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]);
    assert_eq!(schedule.meter.received(&push, schedule.now), Verdict::Broken(Fault::Protocol));
}

#[test]
fn every_setting_of_a_frame_is_looked_at() {
    let settings = |window: u32| [&[0, 1, 255, 255, 255, 255, 0, 4][..], &window.to_be_bytes()].concat();
    let mut schedule = Schedule::start();
    schedule.client(&frame(SETTINGS, 0, 0, &settings((1 << 31) - 1)));
    schedule.client(&request(1));
    let verdict = schedule.meter.received(&frame(SETTINGS, 0, 0, &settings(1 << 31)), schedule.now);
    assert_eq!(verdict, Verdict::Broken(Fault::FlowControl));
}

/// Goal: two of the ways to make a server reset a stream end the connection at once. What comes behind our own reset is
/// no fault: it was on its way.
#[test]
fn what_follows_a_stream_that_the_client_has_ended_breaks_the_connection() {
    for last in [request(1), [frame(HEADERS, END_HEADERS, 1, &[0x82]), reset(1, 8)].concat()] {
        for more in [request(1), frame(DATA, 0, 1, b"x")] {
            let mut schedule = Schedule::start();
            schedule.client(&last);
            schedule.client(&window_update(1, 100));
            assert_eq!(schedule.meter.received(&more, schedule.now), Verdict::Broken(Fault::StreamClosed));
        }
    }
    let mut schedule = Schedule::start();
    schedule.client(&frame(HEADERS, END_HEADERS, 1, &[0x82]));
    schedule.server(&reset(1, 2));
    schedule.client(&[frame(DATA, 0, 1, b"x"), request(1), reset(1, 8)].concat());
}
