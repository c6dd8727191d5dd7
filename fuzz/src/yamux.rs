use std::sync::Arc;
use std::time::Instant;

use weir_wire::yamux::{DATA_BYTES_MAX, Event, GoAway, Limits, Role, Session, WindowBudget, YamuxError};

const LIMITS: Limits = Limits { streams_max: 4, accepted_max: 4, window_bytes_max: 1 << 20 };

/// What a session made of its input.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Streams and how many bytes came on each, in the order of what happened; data in a row is joined.
    events: Vec<(u32, &'static str, usize)>,
    said: Vec<[u8; 12]>,
    error: Option<YamuxError>,
}

/// yamux frames are judged the same however they are cut; a session stays within its limits, whatever it is sent.
///
/// The first byte says what the session has done before the rest arrives.
pub fn yamux(data: &[u8]) {
    let Some((&first, frames)) = data.split_first() else { return };
    let now = Instant::now();
    let whole = run(first, frames, usize::MAX, now);
    for size in [1, 13, 500] {
        assert_eq!(run(first, frames, size, now), whole, "in pieces of {size}");
    }
}

fn run(first: u8, frames: &[u8], size: usize, now: Instant) -> Outcome {
    let role = if first & 1 == 0 { Role::Client } else { Role::Server };
    let budget = Arc::new(WindowBudget::new(1 << 20));
    let mut session = Session::new(role, LIMITS, Arc::clone(&budget), now);
    let mut outcome = Outcome::default();
    for i in 0..first >> 1 & 3 {
        let id = session.open(now).expect("fewer than the limit");
        session.offer(id, usize::from(i) * 20_000);
        match first >> 3 & 3 {
            1 => session.finish(id),
            2 => session.release(now, id),
            _ => {}
        }
    }
    if first & 0x20 != 0 {
        session.ping();
    }
    say(&mut session, now, &mut outcome);
    if first & 0x40 != 0 {
        session.go_away(GoAway::Normal);
    }
    for piece in frames.chunks(size) {
        if let Err(error) = hear(&mut session, now, piece, first & 0x80 != 0, &mut outcome) {
            outcome.error = Some(error);
            session.terminate(GoAway::ProtocolError);
            break;
        }
    }
    say(&mut session, now, &mut outcome);
    assert!(session.streams() <= LIMITS.streams_max + LIMITS.accepted_max);
    drop(session);
    assert_eq!(budget.used(), 0, "what windows took is given back");
    outcome
}

fn hear(
    session: &mut Session,
    now: Instant,
    piece: &[u8],
    reads: bool,
    outcome: &mut Outcome,
) -> Result<(), YamuxError> {
    let mut input = piece;
    while let Some(event) = session.receive(now, &mut input)? {
        match event {
            Event::Opened(id) => outcome.events.push((id, "opened", 0)),
            Event::Data(id, bytes) => {
                assert!(!bytes.is_empty() && session.contains(id));
                if reads {
                    session.consume(now, id, bytes.len());
                }
                match outcome.events.last_mut() {
                    Some((last, "data", count)) if *last == id => *count += bytes.len(),
                    _ => outcome.events.push((id, "data", bytes.len())),
                }
            }
            Event::Ended(id) => {
                outcome.events.push((id, "ended", 0));
                session.release(now, id);
            }
            Event::Reset { stream, was_refused } => {
                outcome.events.push((stream, if was_refused { "refused" } else { "reset" }, 0));
                session.reset(stream);
            }
            Event::GoAway(_) => outcome.events.push((0, "go away", 0)),
            Event::RoundTrip(_) => outcome.events.push((0, "round trip", 0)),
        }
    }
    assert!(input.is_empty(), "all is taken");
    Ok(())
}

fn say(session: &mut Session, now: Instant, outcome: &mut Outcome) {
    while let Some(frame) = session.next_frame(now, usize::MAX) {
        assert!(frame.payload.is_none_or(|(_, bytes)| bytes > 0 && bytes <= DATA_BYTES_MAX));
        outcome.said.push(frame.header);
    }
}
