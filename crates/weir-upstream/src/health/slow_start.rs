use std::time::Duration;

/// Share of its weight that an endpoint begins with, in per cent.
const SHARE_MIN: u32 = 10;
/// The ramp rises in steps of this many per cent: a step rebuilds the balancer, so it is not done for each request.
const STEP: u32 = 5;

/// The share of its weight, in per cent, that an endpoint has `elapsed` after it came up, and how long that holds.
///
/// Linear over `window`, 10 % at least; `None` once the ramp is over.
pub(crate) fn share(elapsed: Duration, window: Duration) -> Option<(u32, Duration)> {
    if elapsed >= window {
        return None;
    }
    let exact = (elapsed.as_nanos() * 100 / window.as_nanos()) as u32;
    let next = (exact / STEP + 1) * STEP;
    // Rounded up, so that the step is reached when its time has come.
    let reached = Duration::from_nanos((window.as_nanos() * u128::from(next)).div_ceil(100) as u64);
    Some(((exact / STEP * STEP).max(SHARE_MIN), reached - elapsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_rises_linearly_from_a_tenth() {
        let window = Duration::from_secs(10);
        let at = |ms| share(Duration::from_millis(ms), window).map(|(share, _)| share);
        assert_eq!(at(0), Some(10));
        assert_eq!(at(1_000), Some(10));
        assert_eq!(at(5_000), Some(50));
        assert_eq!(at(9_999), Some(95));
        assert_eq!(at(10_000), None);
    }

    #[test]
    fn a_ramp_says_when_its_next_step_comes() {
        for window in [Duration::from_nanos(7), Duration::from_millis(333), Duration::from_secs(60)] {
            let (mut elapsed, mut steps, mut last) = (Duration::ZERO, 0, 0);
            while let Some((share, wait)) = share(elapsed, window) {
                assert!(share >= last && wait > Duration::ZERO);
                (last, elapsed, steps) = (share, elapsed + wait, steps + 1);
            }
            assert!(steps <= 20, "{steps} steps over {window:?}");
        }
    }
}
