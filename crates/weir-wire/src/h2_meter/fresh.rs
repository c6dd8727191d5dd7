use std::time::{Duration, Instant};

/// How long a request counts as just sent, at most: resets within it are rapid.
pub const FRESH: Duration = Duration::from_millis(250);

/// Streams that can be told apart; of more than the peer may have open, the oldest are forgotten.
const STREAMS: u32 = 1024;

/// The streams that the peer opened a moment ago and that are not answered yet, and those that it ended: a bit each.
#[derive(Debug, Clone)]
pub(super) struct FreshStreams {
    bits: [u64; STREAMS as usize / 64],
    ended: [u64; STREAMS as usize / 64],
    highest: u32,
    since: Instant,
}

impl FreshStreams {
    pub(super) fn new(now: Instant) -> Self {
        Self { bits: [0; STREAMS as usize / 64], ended: [0; STREAMS as usize / 64], highest: 0, since: now }
    }

    /// Whether a HEADERS frame on `stream` opens it, and is no trailer.
    pub(super) fn opens(&self, stream: u32) -> bool {
        stream % 2 == 1 && stream > self.highest
    }

    pub(super) fn open(&mut self, stream: u32, now: Instant) {
        // All at once: a stream is fresh for at most FRESH, and for half of it on average.
        if now.duration_since(self.since) >= FRESH {
            self.bits.fill(0);
            self.since = now;
        }
        self.highest = stream;
        let (word, bit) = place(stream);
        self.bits[word] |= bit;
        self.ended[word] &= !bit;
    }

    /// The peer has said that nothing of it follows on `stream`.
    pub(super) fn end(&mut self, stream: u32) {
        if self.is_known(stream) {
            let (word, bit) = place(stream);
            self.ended[word] |= bit;
        }
    }

    /// Whether the peer has ended `stream`, as far as that is remembered.
    pub(super) fn is_ended(&self, stream: u32) -> bool {
        let (word, bit) = place(stream);
        self.is_known(stream) && self.ended[word] & bit != 0
    }

    /// A bit stands for the newest of the streams that share it.
    fn is_known(&self, stream: u32) -> bool {
        stream % 2 == 1 && stream <= self.highest && self.highest - stream < 2 * STREAMS
    }

    /// Forgets `stream`; true when it was fresh at `now`.
    pub(super) fn take(&mut self, stream: u32, now: Instant) -> bool {
        if !self.is_known(stream) {
            return false;
        }
        let (word, bit) = place(stream);
        let was_set = self.bits[word] & bit != 0;
        self.bits[word] &= !bit;
        was_set && now.duration_since(self.since) < FRESH
    }
}

/// Only odd numbers are the peer's.
fn place(stream: u32) -> (usize, u64) {
    let index = stream / 2 % STREAMS;
    ((index / 64) as usize, 1 << (index % 64))
}
