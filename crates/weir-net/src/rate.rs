use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// How many bytes a direction may pass on: a bucket that fills evenly and holds a tenth of a second's worth.
#[derive(Debug)]
pub(crate) struct Rate {
    bytes_per_s: u64,
    /// Bytes that may pass at `at`; negative where more passed than was there.
    level: i64,
    at: Instant,
    wait: Option<Pin<Box<Sleep>>>,
}

/// How long is waited at least, so that a low rate does not become a stream of single bytes.
const PAUSE_MIN: Duration = Duration::from_millis(10);

impl Rate {
    /// A full bucket for that many bytes a second, at least one.
    pub(crate) fn new(bytes_per_s: u64, now: Instant) -> Self {
        let mut rate = Self { bytes_per_s: bytes_per_s.max(1), level: 0, at: now, wait: None };
        rate.level = rate.capacity();
        rate
    }

    fn capacity(&self) -> i64 {
        i64::try_from(self.bytes_per_s / 10).unwrap_or(i64::MAX).max(1)
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_nanos();
        let gained = passed * u128::from(self.bytes_per_s) / 1_000_000_000;
        if gained > 0 {
            self.at = now;
            let gained = i64::try_from(gained).unwrap_or(i64::MAX);
            self.level = self.level.saturating_add(gained).min(self.capacity());
        }
    }

    /// When there will be something to pass, seen from the last refill.
    fn pause(&self) -> Duration {
        let missing = u64::try_from(1 - self.level).unwrap_or(1);
        Duration::from_nanos(missing.saturating_mul(1_000_000_000) / self.bytes_per_s).max(PAUSE_MIN)
    }

    /// How many bytes may be read now; waits while it is none.
    pub(crate) fn poll_allowance(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        loop {
            if let Some(wait) = &mut self.wait {
                if wait.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.wait = None;
            }
            self.refill(tokio::time::Instant::now().into_std());
            if self.level > 0 {
                return Poll::Ready(usize::try_from(self.level).unwrap_or(usize::MAX));
            }
            self.wait = Some(Box::pin(tokio::time::sleep(self.pause())));
        }
    }

    /// Bytes were read.
    pub(crate) fn took(&mut self, count: usize) {
        self.level = self.level.saturating_sub(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn what_passes_keeps_to_the_rate_after_the_first_burst() {
        for rate in [50, 1_000, 1 << 20] {
            let start = tokio::time::Instant::now();
            let mut bucket = Rate::new(rate, start.into_std());
            let mut passed = 0;
            while start.elapsed() < Duration::from_secs(10) {
                let allowed = poll_fn(|cx| bucket.poll_allowance(cx)).await;
                assert!(allowed > 0);
                bucket.took(allowed);
                passed += allowed as u64;
            }
            let most = rate * 10 + 2 * (rate / 10).max(1) + rate / 50;
            assert!((rate * 98 / 10..=most).contains(&passed), "{passed} at {rate} a second");
        }
    }
}
