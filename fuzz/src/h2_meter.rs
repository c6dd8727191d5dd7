use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_wire::h2_meter::{Limits, Meter, PREFACE, Reason, Side, Verdict};

/// The frames of an HTTP/2 connection are counted the same however they are split; a verdict stands once it is said, and
/// is said as soon as a limit is passed.
///
/// The lowest bits of the first byte say whose bytes the others are and which end we are.
pub fn h2_meter(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let (side, is_sent) = (if kind & 1 == 0 { Side::Server } else { Side::Client }, kind & 2 != 0);
    let limits = Arc::new(Limits { settings_max: 5, pings_max: 5, rapid_resets_max: 5, ..Limits::default() });
    let start = Instant::now();
    let preface: &[u8] = if (side == Side::Server) == is_sent { b"" } else { PREFACE };
    let bytes = [preface, data].concat();
    let mut whole = Meter::new(side, Arc::clone(&limits), start);
    let verdict = feed(&mut whole, is_sent, &bytes, start);
    for reason in Reason::ALL {
        let is_over = whole.count(reason) > limits.of(reason);
        assert!(!is_over || verdict != Verdict::Pass, "{reason:?} is over its limit");
        assert!(verdict != Verdict::Calm(reason) || is_over, "{reason:?} is not over its limit");
    }
    for size in [1, 2, 5, 9, 10, 13, 64] {
        let mut split = Meter::new(side, Arc::clone(&limits), start);
        for piece in bytes.chunks(size) {
            feed(&mut split, is_sent, piece, start);
        }
        assert_eq!(split.verdict(), verdict, "in pieces of {size}");
        for reason in Reason::ALL {
            assert_eq!(split.count(reason), whole.count(reason), "{reason:?} in pieces of {size}");
        }
    }
    // Time forgives, but not what was said.
    feed(&mut whole, is_sent, &bytes, start + Duration::from_secs(u64::from(kind)));
    assert!(verdict == Verdict::Pass || whole.verdict() == verdict);
}

fn feed(meter: &mut Meter, is_sent: bool, bytes: &[u8], now: Instant) -> Verdict {
    if is_sent { meter.sent(bytes, now) } else { meter.received(bytes, now) }
}
