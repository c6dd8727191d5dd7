use std::time::Duration;

use super::Tally;

/// Upper bounds of the buckets in microseconds.
const BOUNDS_US: [u64; 18] = [
    500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
    5_000_000, 10_000_000, 15_000_000, 30_000_000, 45_000_000, 60_000_000,
];

/// The same bounds as they are written, in seconds.
const BOUNDS_TEXT: [&str; 18] = [
    "0.0005", "0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10",
    "15", "30", "45", "60",
];

/// How long things took, in fixed buckets from half a millisecond to a minute; one writer, like [`Tally`].
#[derive(Debug, Default)]
pub struct Histogram {
    /// Not cumulative; the last is for what no bound holds.
    buckets: [Tally; BOUNDS_US.len() + 1],
    sum_ns: Tally,
}

/// Several histograms added up.
#[derive(Debug, Default)]
pub(super) struct Merged {
    buckets: [u64; BOUNDS_US.len() + 1],
    sum_ns: u64,
}

impl Histogram {
    /// Counts one that took `duration`.
    pub fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // Rounded up, so that what is longer than a bound is never counted below it.
        let micros = nanos.div_ceil(1_000);
        self.buckets[BOUNDS_US.partition_point(|&bound| bound < micros)].add(1);
        self.sum_ns.add(nanos);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Tally::get).sum()
    }
}

impl Merged {
    pub(super) fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Self {
        let mut merged = Self::default();
        for histogram in histograms {
            for (sum, bucket) in merged.buckets.iter_mut().zip(&histogram.buckets) {
                *sum = sum.wrapping_add(bucket.get());
            }
            merged.sum_ns = merged.sum_ns.wrapping_add(histogram.sum_ns.get());
        }
        merged
    }

    /// Bounds with the count of all that are not above them; `+Inf` is last and counts all.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let bounds = BOUNDS_TEXT.iter().copied().chain(std::iter::once("+Inf"));
        bounds.zip(&self.buckets).scan(0, |total, (bound, count)| {
            *total += count;
            Some((bound, *total))
        })
    }

    pub(super) fn sum_seconds(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_micros(500));
        histogram.record(Duration::from_nanos(500_001));
        histogram.record(Duration::from_secs(60));
        histogram.record(Duration::from_secs(61));
        let counts: Vec<_> = Merged::of([&histogram].into_iter()).cumulative().collect();
        assert_eq!(counts[0], ("0.0005", 1));
        assert_eq!(counts[1], ("0.001", 2));
        assert_eq!(counts[17], ("60", 3));
        assert_eq!(counts[18], ("+Inf", 4));
    }

    #[test]
    fn shards_add_up() {
        let (a, b) = (Histogram::default(), Histogram::default());
        a.record(Duration::from_millis(3));
        b.record(Duration::from_millis(4));
        let merged = Merged::of([&a, &b].into_iter());
        assert_eq!(merged.cumulative().last(), Some(("+Inf", 2)));
        assert!((merged.sum_seconds() - 0.007).abs() < 1e-12);
    }

    #[test]
    fn the_written_bounds_are_the_ones_that_count() {
        for (micros, text) in BOUNDS_US.iter().zip(BOUNDS_TEXT) {
            let seconds: f64 = text.parse().unwrap();
            assert_eq!((seconds * 1e6).round() as u64, *micros);
        }
    }
}
