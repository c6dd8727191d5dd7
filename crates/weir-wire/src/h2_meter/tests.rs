use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

mod attacks;
mod ordinary;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn request(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &[0x82; 30])
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// A connection as the meter of a server sees it, with a clock that is moved by hand.
struct Schedule {
    meter: Meter,
    now: Instant,
}

impl Schedule {
    /// After the preface and both SETTINGS.
    fn start() -> Self {
        Self::limited(Limits::default())
    }

    fn limited(limits: Limits) -> Self {
        let now = Instant::now();
        let mut schedule = Self { meter: Meter::new(Side::Server, Arc::new(limits), now), now };
        schedule.client(PREFACE);
        schedule.client(&frame(SETTINGS, 0, 0, &[0, 4, 0, 96, 0, 0]));
        schedule.server(&frame(SETTINGS, 0, 0, &[]));
        schedule.server(&frame(SETTINGS, ACK, 0, &[]));
        schedule.client(&frame(SETTINGS, ACK, 0, &[]));
        schedule
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    #[track_caller]
    fn client(&mut self, bytes: &[u8]) {
        assert_eq!(self.meter.received(bytes, self.now), Verdict::Pass);
    }

    #[track_caller]
    fn server(&mut self, bytes: &[u8]) {
        assert_eq!(self.meter.sent(bytes, self.now), Verdict::Pass);
    }

    /// How many times `bytes` pass before they are too much.
    #[track_caller]
    fn passes(&mut self, times_max: u32, reason: Reason, mut bytes: impl FnMut(u32) -> Vec<u8>) -> u32 {
        for time in 0..times_max {
            match self.meter.received(&bytes(time), self.now) {
                Verdict::Pass => {}
                Verdict::Broken(fault) => panic!("{fault:?}"),
                Verdict::Calm(found) => {
                    assert_eq!(found, reason);
                    return time;
                }
            }
        }
        panic!("{times_max} pass");
    }
}

/// A frame that is somewhat likely to mean something, or any bytes.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let payload = proptest::collection::vec(any::<u8>(), 0..40);
    let likely = (0..12u8, any::<u8>(), 0..40u32, payload)
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload));
    prop_oneof![9 => likely, 1 => proptest::collection::vec(any::<u8>(), 0..20)]
}

fn state(meter: &Meter) -> (Verdict, Vec<u32>) {
    (meter.verdict(), Reason::ALL.iter().map(|reason| meter.count(*reason)).collect())
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_counts(
        pieces in proptest::collection::vec(piece(), 0..200),
        cuts in proptest::collection::vec(1..60usize, 1..50),
        is_sent in any::<bool>(),
    ) {
        let bytes = pieces.concat();
        let now = Instant::now();
        let limits = Arc::new(Limits { window_drips_max: 30, ..Limits::default() });
        let side = if is_sent { Side::Server } else { Side::Client };
        let mut whole = Meter::new(side, Arc::clone(&limits), now);
        let mut split = whole.clone();
        if is_sent { whole.sent(&bytes, now) } else { whole.received(&bytes, now) };
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            let (part, behind) = rest.split_at((*cut).min(rest.len()));
            if is_sent { split.sent(part, now) } else { split.received(part, now) };
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(state(&whole), state(&split));
    }

    #[test]
    fn any_bytes_at_any_time_never_panic_and_calm_is_final(
        pieces in proptest::collection::vec((piece(), 0..3_000u64, any::<bool>()), 0..200),
    ) {
        let mut now = Instant::now();
        let mut meter = Meter::new(Side::Server, Arc::new(Limits { settings_max: 3, ..Limits::default() }), now);
        let mut last = Verdict::Pass;
        for (bytes, wait, is_sent) in pieces {
            now += Duration::from_millis(wait);
            let verdict = if is_sent { meter.sent(&bytes, now) } else { meter.received(&bytes, now) };
            prop_assert!(last == Verdict::Pass || verdict == last);
            last = verdict;
        }
    }
}

#[test]
fn a_meter_is_small_and_holds_no_other_memory() {
    assert!(size_of::<Meter>() <= 560, "{} bytes", size_of::<Meter>());
}

#[test]
fn every_reason_has_a_name_of_its_own_and_stands_at_its_place() {
    let mut names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert!(Reason::ALL.iter().enumerate().all(|(index, reason)| *reason as usize == index));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Reason::ALL.len());
}
