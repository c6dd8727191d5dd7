//! What a hostile peer can make a session do.

use std::sync::Arc;

use super::super::*;
use super::wire::*;

fn agent() -> End {
    End::new(Role::Server, LIMITS)
}

#[test]
fn what_breaks_the_protocol_is_named() {
    let over = vec![0; INITIAL_WINDOW_BYTES as usize + 1];
    let cases: Vec<(&str, Vec<u8>, YamuxError)> = vec![
        ("another version", [&[1][..], &frame(PING, SYN, 0, 0)[1..]].concat(), YamuxError::Version),
        ("an unknown type", frame(4, 0, 1, 0), YamuxError::Kind),
        ("data for the session", data(0, 0, b"x"), YamuxError::StreamZero),
        ("a window for the session", frame(UPDATE, 0, 0, 1), YamuxError::StreamZero),
        ("our numbers", frame(UPDATE, SYN, 2, 0), YamuxError::WrongParity),
        (
            "a stream twice",
            [frame(UPDATE, SYN, 1, 0), frame(UPDATE, SYN, 1, 0)].concat(),
            YamuxError::DuplicateOpen,
        ),
        ("one byte too many", data(SYN, 1, &over), YamuxError::WindowExceeded),
        (
            "data behind the end",
            [data(SYN | FIN, 1, b"all"), data(0, 1, b"more")].concat(),
            YamuxError::WindowExceeded,
        ),
    ];
    for (name, bytes, error) in cases {
        let mut agent = agent();
        assert_eq!(agent.hear(&bytes), Err(error), "{name}");
        agent.session.terminate(GoAway::ProtocolError);
        assert_eq!(agent.say(), [(GO_AWAY, 0, 0, 1)], "{name}");
    }
}

#[test]
fn too_long_a_frame_is_refused_by_its_header() {
    let mut agent = agent();
    let result = agent.hear(&frame(DATA, SYN, 1, u32::MAX));
    assert_eq!(result, Err(YamuxError::WindowExceeded));
}

#[test]
fn streams_beyond_the_limit_are_refused_and_the_session_lives() {
    let limits = Limits { accepted_max: 2, ..LIMITS };
    let mut agent = End::new(Role::Server, limits);
    for id in [1, 3] {
        assert_eq!(agent.hear(&data(SYN, id, b"request")).unwrap(), [Heard::Opened(id), Heard::Data(id, 7)]);
    }
    agent.say();
    for id in [5, 7] {
        assert_eq!(agent.hear(&data(SYN | FIN, id, b"request")).unwrap(), []);
    }
    assert_eq!(agent.say(), [(UPDATE, RST, 5, 0), (UPDATE, RST, 7, 0)]);
    assert_eq!(agent.session.counts().refused, 2);
    agent.session.reset(1);
    assert_eq!(agent.hear(&frame(UPDATE, SYN, 9, 0)).unwrap(), [Heard::Opened(9)]);
}

#[test]
fn our_opens_beyond_the_limit_fail_and_beyond_the_backlog_wait() {
    let mut relay = End::new(Role::Client, LIMITS);
    for _ in 0..LIMITS.streams_max {
        relay.session.open(relay.now).unwrap();
    }
    assert_eq!(relay.session.open(relay.now), Err(OpenError::TooManyStreams));
    assert_eq!(relay.say().len(), UNACKNOWLEDGED_MAX);
    relay.hear(&frame(UPDATE, ACK, 1, 0)).unwrap();
    // One that is given up makes room too, and one that waits is never heard of.
    relay.session.reset(3);
    relay.session.reset(2 * LIMITS.streams_max as u32 - 1);
    let next = 2 * UNACKNOWLEDGED_MAX as u32 + 1;
    assert_eq!(relay.say(), [(UPDATE, RST, 3, 0), (UPDATE, SYN, next, 0), (UPDATE, SYN, next + 2, 0)]);
}

#[test]
fn streams_of_a_peer_that_never_ends_them_give_up_their_places() {
    // yamux-js does not look at our end.
    let mut relay = End::new(Role::Client, Limits { streams_max: 3, ..LIMITS });
    for id in [1, 3, 5, 7, 9] {
        assert_eq!(relay.session.open(relay.now), Ok(id));
        relay.session.offer(id, 1);
        relay.say();
        relay.now += Duration::from_millis(1);
        relay.session.release(relay.now, id);
        relay.say();
    }
    assert_eq!(relay.session.streams(), 3);
    assert_eq!([relay.session.pop_gone(), relay.session.pop_gone()], [Some(1), Some(3)]);
    assert_eq!(relay.session.pop_gone(), None);
}

#[test]
fn a_flood_that_is_not_read_away_ends_the_session() {
    let mut pinged = agent();
    let pings = frame(PING, SYN, 0, 7).repeat(PONGS_MAX + 1);
    assert_eq!(pinged.hear(&pings), Err(YamuxError::PingFlood));

    let mut opened = End::new(Role::Server, Limits { accepted_max: 0, streams_max: 0, ..LIMITS });
    let opens: Vec<u8> = (0..=RESETS_MAX as u32 + 1).flat_map(|i| frame(UPDATE, SYN, 2 * i + 1, 0)).collect();
    assert_eq!(opened.hear(&opens), Err(YamuxError::ResetFlood));

    let mut strayed = agent();
    let strays: Vec<u8> = (0..=STRAYS_MAX).flat_map(|i| frame(UPDATE, 0, 2 * i + 1, 0)).collect();
    assert_eq!(strayed.hear(&strays), Err(YamuxError::StrayFlood));
}

#[test]
fn a_flood_that_is_answered_costs_nothing_but_answers() {
    let mut agent = End::new(Role::Server, Limits { accepted_max: 0, ..LIMITS });
    for i in 0..100_000_u32 {
        assert_eq!(agent.hear(&frame(UPDATE, SYN, 2 * i + 1, 0)).unwrap(), []);
        assert_eq!(agent.say(), [(UPDATE, RST, 2 * i + 1, 0)]);
    }
    assert_eq!(agent.session.streams(), 0);
}

#[test]
fn a_frame_for_a_stream_never_opened_is_reset_and_its_data_thrown_away() {
    let mut agent = agent();
    assert_eq!(agent.hear(&data(0, 1, b"what?")).unwrap(), []);
    assert_eq!(agent.say(), [(UPDATE, RST, 1, 0)]);
    assert_eq!(agent.hear(&frame(UPDATE, RST, 2, 0)).unwrap(), []);
    assert_eq!(agent.say(), [], "a reset is not answered");
}

/// Lets a peer send as fast as its window allows over a path of this delay, for so many round trips.
fn run(agent: &mut End, id: u32, granted: &mut u32, delay: Duration, rounds: usize) {
    for _ in 0..rounds {
        let bytes = vec![0; *granted as usize];
        agent.hear(&data(0, id, &bytes)).unwrap();
        *granted = 0;
        agent.now += delay;
        agent.session.consume(agent.now, id, bytes.len());
        for (kind, _, stream, length) in agent.say() {
            if kind == UPDATE && stream == id {
                *granted += length;
            }
        }
    }
}

fn measure(agent: &mut End, delay: Duration) {
    agent.session.ping();
    let ping = agent.say();
    agent.now += delay;
    agent.hear(&frame(PING, ACK, 0, ping[0].3)).unwrap();
}

#[test]
fn a_window_grows_with_delay_and_rate_and_shrinks_when_idle() {
    let delay = Duration::from_millis(60);
    let mut agent = agent();
    agent.hear(&frame(UPDATE, SYN, 1, 0)).unwrap();
    agent.say();
    measure(&mut agent, delay);
    let mut granted = INITIAL_WINDOW_BYTES;
    // The first of them is measured with the pause before it.
    run(&mut agent, 1, &mut granted, delay, 4);
    assert_eq!(granted, 2 << 20, "it doubles in a round trip");
    run(&mut agent, 1, &mut granted, delay, 10);
    assert_eq!(granted, 16 << 20, "up to its largest");
    assert_eq!(agent.session.window_bytes(), (16 << 20) - INITIAL_WINDOW_BYTES);
    agent.now += WINDOW_REVIEW;
    agent.session.tick(agent.now);
    agent.now += WINDOW_REVIEW;
    agent.session.tick(agent.now);
    // What was granted cannot be taken back; once it is used, no more than the least is granted again.
    assert_eq!(agent.session.window_bytes(), (16 << 20) - INITIAL_WINDOW_BYTES);
    agent.hear(&data(0, 1, &vec![0; granted as usize])).unwrap();
    agent.session.consume(agent.now, 1, granted as usize);
    assert_eq!(agent.say(), [(UPDATE, 0, 1, INITIAL_WINDOW_BYTES)]);
    assert_eq!(agent.session.window_bytes(), 0);
}

#[test]
fn a_slow_reader_gets_no_larger_window_and_a_short_path_needs_none() {
    let mut agent = agent();
    for id in [1, 3] {
        agent.hear(&frame(UPDATE, SYN, id, 0)).unwrap();
    }
    agent.say();
    measure(&mut agent, Duration::from_millis(60));
    let mut granted = INITIAL_WINDOW_BYTES;
    // A window in six round trips.
    run(&mut agent, 1, &mut granted, Duration::from_millis(360), 20);
    assert_eq!(granted, INITIAL_WINDOW_BYTES);
    assert_eq!(agent.session.window_bytes(), 0);
}

#[test]
fn windows_stop_growing_at_the_budgets_and_nothing_stalls() {
    let delay = Duration::from_millis(60);
    let process = Arc::new(WindowBudget::new(3 << 20));
    let limits = Limits { window_bytes_max: 2 << 20, ..LIMITS };
    let now = std::time::Instant::now();
    let mut first = End { session: Session::new(Role::Server, limits, Arc::clone(&process), now), now };
    let mut second = End { session: Session::new(Role::Server, limits, Arc::clone(&process), now), now };
    for (agent, most) in [(&mut first, 2 << 20), (&mut second, 1 << 20)] {
        let mut granted = INITIAL_WINDOW_BYTES;
        agent.hear(&frame(UPDATE, SYN, 1, 0)).unwrap();
        agent.say();
        measure(agent, delay);
        run(agent, 1, &mut granted, delay, 12);
        assert_eq!(agent.session.window_bytes(), most);
        assert!(granted > most, "it goes on");
    }
    assert_eq!(process.used(), 3 << 20);
    first.session.reset(1);
    assert_eq!(first.session.window_bytes(), 0);
    drop(second);
    assert_eq!(process.used(), 0);
}

#[test]
fn busy_streams_share_evenly_and_a_request_passes_beside_them() {
    let mut relay = End::new(Role::Client, LIMITS);
    for _ in 0..3 {
        let id = relay.session.open(relay.now).unwrap();
        relay.session.offer(id, 150_000 / id as usize);
    }
    let mut sent = Vec::new();
    for i in 0..12 {
        while let Some(frame) = relay.session.next_frame(relay.now, usize::MAX) {
            if let Some((id, bytes)) = frame.payload {
                sent.push((id, bytes));
                break;
            }
        }
        if i == 5 {
            let id = relay.session.open(relay.now).unwrap();
            relay.session.offer(id, 100);
        }
    }
    assert_eq!(sent.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 3, 5, 1, 3, 5, 7, 1, 3, 1, 3, 1]);
    assert!(sent.iter().all(|(_, bytes)| *bytes <= DATA_BYTES_MAX));
}

#[test]
fn frames_fit_the_room_of_a_message() {
    let mut relay = End::new(Role::Client, LIMITS);
    relay.session.open(relay.now).unwrap();
    relay.session.offer(1, 40_000);
    assert_eq!(relay.session.next_frame(relay.now, 11), None);
    assert!(relay.session.next_frame(relay.now, 12).is_some(), "SYN");
    assert_eq!(
        relay.session.next_frame(relay.now, 4_000),
        None,
        "a scrap of a frame waits for the next message"
    );
    let part = relay.session.next_frame(relay.now, 5_012).unwrap();
    assert_eq!(part.payload, Some((1, 5_000)));
    let rest = relay.session.next_frame(relay.now, 32 << 10).unwrap();
    assert_eq!(rest.payload, Some((1, DATA_BYTES_MAX - 5_000)));
}
