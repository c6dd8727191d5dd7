use std::time::Duration;

/// Steps into which each power of two is divided: percentiles are right to 1.6 %.
const STEPS: u64 = 64;

/// How often each latency was seen, in buckets that widen with the latency.
pub(super) struct Latencies {
    buckets: Vec<u64>,
}

impl Latencies {
    pub(super) fn new() -> Self {
        Self { buckets: vec![0; bucket(u64::MAX) + 1] }
    }

    pub(super) fn record(&mut self, latency: Duration) {
        self.buckets[bucket(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX))] += 1;
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The latency that this share of all stayed below; nothing when there are none.
    pub(super) fn percentile(&self, percent: f64) -> Duration {
        let wanted = (self.count() as f64 * percent / 100.0).ceil() as u64;
        let mut seen = 0;
        let reached = self.buckets.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        Duration::from_nanos(reached.map_or(0, floor))
    }
}

fn bucket(nanoseconds: u64) -> usize {
    if nanoseconds < STEPS {
        return nanoseconds as usize;
    }
    let power = u64::from(nanoseconds.ilog2() - STEPS.ilog2());
    (power * STEPS + (nanoseconds >> power)) as usize
}

/// The least latency of a bucket.
fn floor(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let power = bucket / STEPS - 1;
    (bucket - power * STEPS) << power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_begins_at_most_one_step_below_its_latency() {
        for nanoseconds in [0, 1, 63, 64, 65, 127, 128, 1_000, 123_456, 1 << 40, u64::MAX] {
            let least = floor(bucket(nanoseconds));
            assert!(least <= nanoseconds && nanoseconds - least <= nanoseconds / STEPS, "{nanoseconds}");
        }
    }

    #[test]
    fn percentiles_count_from_below() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.percentile(50.0), Duration::ZERO);
        (1..=100).for_each(|us| latencies.record(Duration::from_nanos(us * 1024)));
        let us = |percent| latencies.percentile(percent).as_nanos() / 1024;
        assert_eq!((latencies.count(), us(50.0), us(99.0)), (100, 50, 99));
    }
}
