use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::pen::pair;

/// Microseconds since 1970 by the wall clock; 0 where the clock stands before that.
pub fn now_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// A moment as `2026-11-21T04:40:41Z`; the beginning of 1970 for anything before.
pub fn date_time(at: SystemTime) -> String {
    let micros = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    let mut timestamp = Timestamp::new();
    let text = timestamp.text(u64::try_from(micros).unwrap_or(u64::MAX));
    format!("{}Z", String::from_utf8_lossy(&text[..19]))
}

/// How long a change of the wall clock may stay unseen by a [`WallClock`].
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Tells what the wall clock says at moments that were taken already, looking at it once in [`LOOK_PAUSE`].
#[derive(Debug)]
pub(crate) struct WallClock {
    looked: Instant,
    micros: u64,
}

impl WallClock {
    pub(crate) fn new() -> Self {
        Self { looked: Instant::now(), micros: now_micros() }
    }

    /// Microseconds since 1970 at `at`.
    pub(crate) fn micros(&mut self, at: Instant) -> u64 {
        match at.checked_duration_since(self.looked) {
            Some(since) if since < LOOK_PAUSE => self.micros + u64::from(since.subsec_micros()),
            Some(_) => {
                *self = Self::new();
                self.micros_before(at)
            }
            None => self.micros_before(at),
        }
    }

    /// The same for a moment that is not later than the look.
    fn micros_before(&self, at: Instant) -> u64 {
        let before = self.looked.saturating_duration_since(at);
        self.micros.saturating_sub(before.as_micros() as u64)
    }
}

/// Writes RFC 3339 times, keeping the text of the second that it wrote last.
#[derive(Debug)]
pub(crate) struct Timestamp {
    second: u64,
    text: [u8; 27],
}

impl Timestamp {
    pub(crate) fn new() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00.000000Z" }
    }

    /// `2026-11-21T04:40:41.000123Z` for microseconds since 1970.
    pub(crate) fn text(&mut self, micros: u64) -> &[u8; 27] {
        let second = micros / 1_000_000;
        if second != self.second {
            self.second = second;
            self.write_second();
        }
        let fraction = micros % 1_000_000;
        let pairs = [fraction / 10_000, fraction / 100 % 100, fraction % 100].map(pair);
        self.text[20..26].copy_from_slice(pairs.as_flattened());
        &self.text
    }

    fn write_second(&mut self) {
        let (year, month, day) = date(self.second / 86_400);
        let of_day = self.second % 86_400;
        let places = [
            (year, 0..4),
            (month, 5..7),
            (day, 8..10),
            (of_day / 3_600, 11..13),
            (of_day / 60 % 60, 14..16),
            (of_day % 60, 17..19),
        ];
        for (value, place) in places {
            digits(value, &mut self.text[place]);
        }
    }
}

fn digits(mut value: u64, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day of a day counted from 1970. Years are counted from March, so that the leap day is the last
/// of its year, in cycles of 400 years (146,097 days).
fn date(days: u64) -> (u64, u64, u64) {
    let from_march = days + 719_468;
    let (cycle, day) = (from_march / 146_097, from_march % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        let mut timestamp = Timestamp::new();
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199_999_999, "2024-02-29T23:59:59.999999Z"),
            (1_709_251_200_000_000, "2024-03-01T00:00:00.000000Z"),
            (4_102_444_799_000_001, "2099-12-31T23:59:59.000001Z"),
        ] {
            assert_eq!(timestamp.text(micros), text.as_bytes());
        }
    }

    #[test]
    fn moments_are_told_by_one_look_at_the_wall_clock_until_it_is_old() {
        let start = Instant::now() - 10 * LOOK_PAUSE;
        let mut clock = WallClock { looked: start, micros: 5_000_000 };
        assert_eq!(clock.micros(start + Duration::from_micros(150_001)), 5_150_001);
        assert_eq!(clock.micros(start - Duration::from_secs(2)), 3_000_000);
        assert_eq!(clock.micros(start - Duration::from_secs(9)), 0);
        assert_eq!(clock.looked, start);

        let told = clock.micros(start + LOOK_PAUSE);
        assert!(clock.looked > start + LOOK_PAUSE);
        let since = clock.looked - (start + LOOK_PAUSE);
        assert_eq!(told, clock.micros - since.as_micros() as u64);
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut before = date(0);
        for day in 1..146_097 {
            let (year, month, of_month) = date(day);
            let next = if of_month > 1 { (year, month, of_month - 1) == before } else { of_month == 1 };
            assert!(next && (1..=12).contains(&month) && of_month <= 31, "{day}");
            before = (year, month, of_month);
        }
        assert_eq!(date(146_097), (2370, 1, 1));
    }
}
