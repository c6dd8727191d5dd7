//! What is sent through the contestants.

pub(super) mod exchange;
pub(super) mod h2load;
pub(super) mod handshake;
pub(super) mod iperf3;
pub(super) mod wrk;

use std::net::SocketAddr;
use std::time::Duration;

use super::seen::Seen;

/// A load that can be applied to one contestant after the other.
pub(super) trait Load {
    /// Applies it and waits for its end. `duration` is rounded up to seconds, as some loads have no finer ones.
    fn apply(&self, to: SocketAddr, duration: Duration) -> anyhow::Result<Seen>;
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> String {
    format!("{}", duration.as_secs_f64().ceil())
}
