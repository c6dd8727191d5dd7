//! What known peers do, and what they need.

use super::super::*;
use super::wire::*;

fn relay() -> End {
    End::new(Role::Client, Limits { accepted_max: 0, ..LIMITS })
}

fn agent() -> End {
    End::new(Role::Server, LIMITS)
}

#[test]
fn an_open_is_an_empty_window_update_and_data_does_not_wait_for_its_acknowledgement() {
    // yamux-js drops data on a frame with SYN; lazy peers acknowledge with their first answer.
    let mut relay = relay();
    let id = relay.session.open(relay.now).unwrap();
    relay.session.offer(id, 10);
    assert_eq!(relay.say(), [(UPDATE, SYN, 1, 0), (DATA, 0, 1, 10)]);
    let heard = relay.hear(&data(ACK, 1, b"answer")).unwrap();
    assert_eq!(heard, [Heard::Data(1, 6)]);
}

#[test]
fn an_inbound_stream_is_acknowledged_at_once_and_before_data() {
    let mut agent = agent();
    assert_eq!(agent.hear(&data(SYN, 1, b"request")).unwrap(), [Heard::Opened(1), Heard::Data(1, 7)]);
    agent.session.offer(1, 5);
    agent.session.finish(1);
    agent.session.finish(1);
    // No two flags on one frame: yamux-js compares flags whole.
    assert_eq!(agent.say(), [(UPDATE, ACK, 1, 0), (DATA, 0, 1, 5), (UPDATE, FIN, 1, 0)]);
    agent.session.release(agent.now, 1);
    assert_eq!(agent.say(), [], "one end is enough: Go breaks off the session at a second one");
}

#[test]
fn ends_and_resets_are_taken_on_either_frame_with_or_without_data() {
    for (bytes, expected) in [
        (data(FIN, 1, b"last"), vec![Heard::Data(1, 4), Heard::Ended(1)]),
        (frame(UPDATE, FIN, 1, 0), vec![Heard::Ended(1)]),
        (data(FIN, 1, b""), vec![Heard::Ended(1)]),
        (data(ACK | FIN, 1, b"all"), vec![Heard::Data(1, 3), Heard::Ended(1)]),
        ([frame(UPDATE, FIN, 1, 0), frame(UPDATE, FIN, 1, 0)].concat(), vec![Heard::Ended(1)]),
        ([frame(UPDATE, FIN, 1, 0), frame(UPDATE, 0, 1, 99)].concat(), vec![Heard::Ended(1)]),
        (
            [frame(UPDATE, FIN, 1, 0), frame(UPDATE, RST, 1, 0)].concat(),
            vec![Heard::Ended(1), Heard::Reset(1)],
        ),
        (frame(UPDATE, RST, 1, 0), vec![Heard::Reset(1)]),
        (data(RST, 1, b""), vec![Heard::Reset(1)]),
    ] {
        let mut relay = relay();
        relay.session.open(relay.now).unwrap();
        relay.say();
        relay.hear(&frame(UPDATE, ACK, 1, 0)).unwrap();
        relay.hear(&frame(UPDATE, ACK, 1, 0)).unwrap();
        assert_eq!(relay.hear(&bytes).unwrap(), expected, "{bytes:?}");
    }
}

#[test]
fn a_stream_reset_before_any_answer_was_refused() {
    let mut relay = relay();
    relay.session.open(relay.now).unwrap();
    relay.session.offer(1, 10);
    relay.say();
    assert_eq!(relay.hear(&frame(UPDATE, RST, 1, 0)).unwrap(), [Heard::Refused(1)]);
    relay.session.reset(1);
    assert_eq!(relay.say(), [], "a reset is not answered");
    assert_eq!(relay.session.streams(), 0);
}

#[test]
fn a_stream_may_be_reset_after_its_half_close() {
    let mut relay = relay();
    relay.session.open(relay.now).unwrap();
    relay.session.offer(1, 10);
    relay.session.finish(1);
    relay.say();
    relay.hear(&data(ACK, 1, b"an event")).unwrap();
    relay.session.reset(1);
    assert_eq!(relay.say(), [(UPDATE, RST, 1, 0)]);
    // What was under way is thrown away, up to the window that the agent had.
    assert_eq!(relay.hear(&data(0, 1, &[0; 1000])).unwrap(), []);
    let rest = vec![0; INITIAL_WINDOW_BYTES as usize - 1008];
    assert_eq!(relay.hear(&data(FIN, 1, &rest)).unwrap(), []);
    assert_eq!(relay.hear(&data(0, 1, b"x")), Err(YamuxError::WindowExceeded));
}

#[test]
fn a_stream_let_go_after_its_answer_ends_in_good_order() {
    let mut relay = relay();
    relay.session.open(relay.now).unwrap();
    relay.session.offer(1, 10);
    relay.say();
    relay.hear(&data(ACK, 1, b"answer")).unwrap();
    relay.session.release(relay.now, 1);
    assert!(relay.session.contains(1));
    // A Go server may wait for our end before it sends its own.
    assert_eq!(relay.say(), [(UPDATE, FIN, 1, 0)]);
    assert_eq!(relay.hear(&frame(UPDATE, FIN, 1, 0)).unwrap(), []);
    assert_eq!(relay.session.pop_gone(), Some(1));
    assert_eq!(relay.session.streams(), 0);
    assert_eq!(relay.say(), []);
}

#[test]
fn a_stream_let_go_while_data_still_comes_is_reset_and_so_is_one_that_never_ends() {
    let mut relay = relay();
    for _ in 0..2 {
        let id = relay.session.open(relay.now).unwrap();
        relay.session.release(relay.now, id);
    }
    assert_eq!(relay.session.streams(), 0, "the agent never heard of them");
    for _ in 0..2 {
        let id = relay.session.open(relay.now).unwrap();
        relay.session.offer(id, 1);
        relay.say();
        relay.session.release(relay.now, id);
    }
    assert_eq!(relay.say(), [(UPDATE, FIN, 7, 0)]);
    assert_eq!(relay.hear(&data(0, 5, b"to nobody")).unwrap(), []);
    assert_eq!(relay.say(), [(UPDATE, RST, 5, 0)]);
    relay.now += LINGER;
    relay.session.tick(relay.now);
    assert_eq!(relay.say(), [(UPDATE, RST, 7, 0)]);
    assert_eq!([relay.session.pop_gone(), relay.session.pop_gone()], [Some(5), Some(7)]);
    assert_eq!(relay.session.streams(), 0);
}

#[test]
fn a_header_and_a_long_frame_may_come_in_any_pieces() {
    let mut agent = agent();
    let payload = vec![9; 200_000];
    let bytes = [frame(UPDATE, SYN, 1, 0), data(FIN, 1, &payload)].concat();
    let mut heard = Vec::new();
    for piece in bytes.chunks(7) {
        heard.extend(agent.hear(piece).unwrap());
    }
    assert_eq!(heard.first(), Some(&Heard::Opened(1)));
    assert_eq!(heard.last(), Some(&Heard::Ended(1)));
    let count: usize =
        heard.iter().map(|heard| if let Heard::Data(1, count) = heard { *count } else { 0 }).sum();
    assert_eq!(count, payload.len());
    assert!(heard.len() > 20_000, "nothing waits for the whole frame");
}

#[test]
fn pongs_and_pings_go_before_data() {
    let mut agent = agent();
    agent.hear(&frame(UPDATE, SYN, 1, 0)).unwrap();
    agent.say();
    agent.session.offer(1, 100_000);
    agent.hear(&frame(PING, SYN, 0, 77)).unwrap();
    agent.session.ping();
    agent.session.ping();
    let said = agent.say();
    assert_eq!(said[..3], [(PING, ACK, 0, 77), (PING, SYN, 0, 1), (DATA, 0, 1, DATA_BYTES_MAX as u32)]);
    agent.now += Duration::from_millis(30);
    assert_eq!(agent.hear(&frame(PING, ACK, 0, 1)).unwrap(), [Heard::RoundTrip(Duration::from_millis(30))]);
    assert_eq!(agent.hear(&frame(PING, ACK, 0, 1)).unwrap(), [], "an answer counts once");
}

#[test]
fn after_go_away_open_streams_live_on_and_opens_fail_as_refused() {
    let mut relay = relay();
    for _ in 0..UNACKNOWLEDGED_MAX + 1 {
        relay.session.open(relay.now).unwrap();
    }
    let waiting = 2 * UNACKNOWLEDGED_MAX as u32 + 1;
    assert_eq!(relay.say().len(), UNACKNOWLEDGED_MAX);
    relay.session.open(relay.now).unwrap();
    let heard = relay.hear(&frame(GO_AWAY, 0, 0, 0)).unwrap();
    assert_eq!(heard, [Heard::GoAway(GoAway::Normal), Heard::Refused(waiting), Heard::Refused(waiting + 2)]);
    assert_eq!(relay.session.open(relay.now), Err(OpenError::GoingAway));
    relay.session.offer(1, 5);
    assert_eq!(relay.say(), [(DATA, 0, 1, 5)]);
    assert_eq!(relay.hear(&data(FIN, 1, b"answer")).unwrap(), [Heard::Data(1, 6), Heard::Ended(1)]);
}

#[test]
fn our_go_away_refuses_what_is_opened_after_it() {
    let mut agent = agent();
    agent.hear(&frame(UPDATE, SYN, 1, 0)).unwrap();
    agent.session.go_away(GoAway::Normal);
    agent.session.go_away(GoAway::Normal);
    assert_eq!(agent.hear(&data(SYN, 3, b"late")).unwrap(), []);
    assert_eq!(agent.say(), [(UPDATE, RST, 3, 0), (GO_AWAY, 0, 0, 0), (UPDATE, ACK, 1, 0)]);
    assert_eq!(agent.hear(&data(0, 1, b"goes on")).unwrap(), [Heard::Data(1, 7)]);
}

#[test]
fn a_larger_window_on_the_first_answer_is_used() {
    let mut relay = relay();
    relay.session.open(relay.now).unwrap();
    relay.session.offer(1, 2 << 20);
    let said = relay.say();
    let sent: u32 = said.iter().filter(|said| said.0 == DATA).map(|said| said.3).sum();
    assert_eq!(sent, INITIAL_WINDOW_BYTES);
    assert_eq!(relay.session.counts().stalls, 1);
    relay.hear(&frame(UPDATE, ACK, 1, 1 << 20)).unwrap();
    let said = relay.say();
    assert_eq!(said.iter().map(|said| said.3).sum::<u32>(), 1 << 20);
    // The sum of all windows is no number of 32 bits for some peers.
    relay.hear(&frame(UPDATE, 0, 1, u32::MAX)).unwrap();
    relay.hear(&frame(UPDATE, 0, 1, u32::MAX)).unwrap();
    assert_eq!(
        relay.say().iter().map(|said| said.3).sum::<u32>(),
        (2 << 20) - (1 << 20) - INITIAL_WINDOW_BYTES
    );
}
