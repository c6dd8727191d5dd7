use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time in which a measurement loses about two thirds of its say.
const DECAY: Duration = Duration::from_secs(10);

/// A latency that jumps up with a slow answer and comes down slowly with fast ones or with silence.
#[derive(Debug)]
pub(crate) struct Ewma {
    /// The average in µs (`f32` bits, high half) and its time in ms since `born` (low half); 0 is unmeasured.
    packed: AtomicU64,
    born: Instant,
}

impl Ewma {
    pub(crate) fn new(born: Instant) -> Self {
        Self { packed: AtomicU64::new(0), born }
    }

    /// Takes a measurement into account.
    pub(crate) fn observe(&self, latency: Duration, now: Instant) {
        let sample = (latency.as_secs_f32() * 1e6).max(1.0);
        let stamp = self.stamp(now);
        // Relaxed: the value stands alone. A lost race is retried with the newer average.
        let _ = self.packed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
            let average = match unpack(packed) {
                Some((average, since)) if sample < average => {
                    let keep = fading(stamp.saturating_sub(since));
                    average * keep + sample * (1.0 - keep)
                }
                _ => sample,
            };
            Some(u64::from(average.to_bits()) << 32 | u64::from(stamp))
        });
    }

    /// The average in µs, faded by the silence since the last measurement; `None` if never measured.
    pub(crate) fn read(&self, now: Instant) -> Option<f32> {
        let (average, since) = unpack(self.packed.load(Ordering::Relaxed))?;
        match self.stamp(now).saturating_sub(since) {
            0 => Some(average),
            silence => Some(average * fading(silence)),
        }
    }

    /// Milliseconds since `born`, stuck at 49 days, when every measurement counts as fresh.
    fn stamp(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u32::MAX)
    }
}

fn unpack(packed: u64) -> Option<(f32, u32)> {
    (packed != 0).then(|| (f32::from_bits((packed >> 32) as u32), packed as u32))
}

fn fading(silence_ms: u32) -> f32 {
    (-(silence_ms as f32) / DECAY.as_millis() as f32).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_fast_ones_slowly() {
        let born = Instant::now();
        let ewma = Ewma::new(born);
        assert_eq!(ewma.read(born), None);
        ewma.observe(ms(10), born);
        ewma.observe(ms(100), born);
        assert_eq!(ewma.read(born), Some(100_000.0));
        ewma.observe(ms(10), born + ms(100));
        let after = ewma.read(born + ms(100)).unwrap();
        assert!((99_000.0..100_000.0).contains(&after), "{after}");
    }

    #[test]
    fn silence_fades_the_average() {
        let born = Instant::now();
        let ewma = Ewma::new(born);
        ewma.observe(ms(100), born);
        let after = ewma.read(born + DECAY).unwrap();
        assert!((36_000.0..37_000.0).contains(&after), "{after}");
    }
}
