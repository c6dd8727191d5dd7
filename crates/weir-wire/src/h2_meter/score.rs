/// A count that fades; below zero it is credit, which does not fade.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Score(i32);

impl Score {
    /// Most credit that can be saved up.
    const CREDIT_MAX: i32 = 10_000;

    pub(super) fn add(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    /// Takes `count` off, and saves none of it up.
    pub(super) fn forgive(&mut self, count: i32) {
        self.0 = (self.0 - count).max(self.0.min(0));
    }

    /// Takes `count` off, and saves up what is left of it.
    pub(super) fn credit(&mut self, count: i32) {
        self.0 = (self.0 - count).max(-Self::CREDIT_MAX);
    }

    pub(super) fn halve(&mut self, times: u32) {
        if self.0 > 0 {
            self.0 = self.0.checked_shr(times).unwrap_or(0);
        }
    }

    pub(super) fn value(self) -> u32 {
        self.0.max(0).unsigned_abs()
    }
}
