use std::time::{Duration, Instant};

use super::budget::SessionBudget;
use super::{INITIAL_WINDOW_BYTES, YamuxError};

/// Largest window of a stream: 2.2 Gbit/s over a path of 60 ms.
pub(super) const WINDOW_BYTES_MAX: u32 = 16 << 20;

/// How much the peer may send on one stream.
///
/// The window follows what the reader takes: twice the bytes of one round trip, so that an update is back before the
/// peer runs out. It grows within the budgets, and what is not used any more is taken back at a review.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    /// What it is meant to be.
    size: u32,
    /// What the peer may still send.
    granted: u32,
    /// What came and was not taken by the reader.
    held: u32,
    /// What it takes of the budgets.
    charged: u32,
    /// Since when `taken` counts.
    since: Instant,
    taken: u64,
    /// The largest need since the last review.
    peak: u32,
}

impl ReceiveWindow {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            size: INITIAL_WINDOW_BYTES,
            granted: INITIAL_WINDOW_BYTES,
            held: 0,
            charged: 0,
            since: now,
            taken: 0,
            peak: 0,
        }
    }

    /// A frame with so much data begins.
    pub(super) fn receive(&mut self, bytes: u32) -> Result<(), YamuxError> {
        self.granted = self.granted.checked_sub(bytes).ok_or(YamuxError::WindowExceeded)?;
        self.held += bytes;
        Ok(())
    }

    /// The reader took so much of it.
    pub(super) fn consume(
        &mut self,
        now: Instant,
        round_trip: Option<Duration>,
        bytes: u32,
        budget: &mut SessionBudget,
    ) {
        self.held = self.held.saturating_sub(bytes);
        self.taken += u64::from(bytes);
        if let Some(round_trip) = round_trip {
            self.measure(now, round_trip, budget);
        }
        self.settle(budget);
    }

    /// The window update that is due: none before half the window was taken.
    pub(super) const fn due(&self) -> u32 {
        let missing = self.size.saturating_sub(self.granted + self.held);
        if missing >= self.size / 2 { missing } else { 0 }
    }

    /// The update that is due is sent.
    pub(super) const fn grant(&mut self) -> u32 {
        let due = self.due();
        self.granted += due;
        due
    }

    /// The peer sends no more; returns what it could have sent.
    pub(super) const fn close(&mut self) -> u32 {
        self.size = 0;
        std::mem::replace(&mut self.granted, 0)
    }

    /// Takes back what was not used since the last review.
    pub(super) fn review(&mut self, budget: &mut SessionBudget) {
        let peak = std::mem::take(&mut self.peak).max(INITIAL_WINDOW_BYTES);
        if peak <= self.size / 2 {
            self.size = peak;
        }
        self.settle(budget);
    }

    /// Gives back all that it took.
    pub(super) fn release(&mut self, budget: &mut SessionBudget) {
        budget.put(std::mem::take(&mut self.charged));
    }

    fn measure(&mut self, now: Instant, round_trip: Duration, budget: &mut SessionBudget) {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < round_trip || elapsed.is_zero() {
            return;
        }
        let in_a_round_trip = self.taken as f64 * round_trip.as_secs_f64() / elapsed.as_secs_f64();
        // Saturates, as floats become integers.
        let wanted = ((in_a_round_trip * 2.0) as u32).min(WINDOW_BYTES_MAX);
        self.since = now;
        self.taken = 0;
        self.peak = self.peak.max(wanted);
        if self.size > 0 && wanted > self.size {
            let taken = budget.take(wanted - self.size);
            self.charged += taken;
            self.size += taken;
        }
    }

    /// Gives back what neither the size nor what the peer may still use accounts for.
    fn settle(&mut self, budget: &mut SessionBudget) {
        let exposed = self.size.max(self.granted + self.held).saturating_sub(INITIAL_WINDOW_BYTES);
        if exposed < self.charged {
            budget.put(self.charged - exposed);
            self.charged = exposed;
        }
    }
}
