use std::sync::{Arc, Mutex, PoisonError};

/// Size of one pooled buffer: a TLS record's worth, and large enough that a system call is cheap per byte.
pub const BUFFER_BYTES: usize = 16 << 10;

/// Size of a large pooled buffer: four whole TLS records, so that a system call moves 64 KiB of their content.
pub const LARGE_BUFFER_BYTES: usize = 4 * (BUFFER_BYTES + 512);

/// Most unused buffers that a worker keeps: 4 MiB.
const KEPT_MAX: usize = 256;

/// Most unused large buffers that a worker keeps: 2 MiB.
const LARGE_KEPT_MAX: usize = 32;

/// Bytes that were read and not yet used: `start..end` of an initialised block.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new(size: usize) -> Self {
        Self { bytes: vec![0; size].into_boxed_slice(), start: 0, end: 0 }
    }

    /// The bytes that were read and not yet used.
    #[inline]
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The same, to be changed in place.
    #[inline]
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Bytes that it holds at most, without growing.
    #[inline]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// A buffer of just these bytes, without room for more.
    pub fn exact(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), start: 0, end: bytes.len() }
    }

    /// Whether all that was read has been used.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Marks `count` bytes as used.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start, "no more is used than was read");
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Room to read into; moves unused bytes to the front where the room behind them is used up.
    #[inline]
    pub fn room(&mut self) -> &mut [u8] {
        if self.end == self.bytes.len() && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// Marks `count` bytes of the [`room`](Self::room) as read.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        self.end += count;
        assert!(self.end <= self.bytes.len(), "no more is read than there was room");
    }

    /// Appends bytes, growing without bound but what the caller has bounded.
    pub fn extend(&mut self, bytes: &[u8]) {
        while self.room().len() < bytes.len() {
            let grown = self.grow(usize::MAX);
            assert!(grown, "an unbounded buffer grows");
        }
        self.room()[..bytes.len()].copy_from_slice(bytes);
        self.advance(bytes.len());
    }

    /// Replaces filled bytes, `at` bytes behind the first.
    pub fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        let at = self.start + at;
        assert!(at + bytes.len() <= self.end, "only filled bytes are replaced");
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Doubles the size, up to `max`; whether there is more room now.
    pub fn grow(&mut self, max: usize) -> bool {
        let size = self.bytes.len().saturating_mul(2).min(max);
        if size <= self.bytes.len() {
            return false;
        }
        let mut bytes = vec![0; size];
        let filled = self.end - self.start;
        bytes[..filled].copy_from_slice(self.filled());
        self.bytes = bytes.into_boxed_slice();
        self.start = 0;
        self.end = filled;
        true
    }
}

/// Unused buffers of one worker. A connection holds a buffer only while there is something in it.
///
/// A clone is the same stock.
#[derive(Debug, Default, Clone)]
pub struct Buffers(Arc<Stock>);

#[derive(Debug, Default)]
struct Stock {
    ordinary: Shelf,
    large: Shelf,
}

#[derive(Debug, Default)]
struct Shelf(Mutex<Vec<Buffer>>);

impl Shelf {
    fn take(&self, size: usize) -> Buffer {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| Buffer::new(size))
    }

    fn put(&self, mut buffer: Buffer, max: usize) {
        buffer.start = 0;
        buffer.end = 0;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < max {
            kept.push(buffer);
        }
    }

    fn shrink(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let half = kept.len() / 2;
        kept.truncate(half);
        kept.shrink_to(half * 2);
    }
}

impl Buffers {
    /// An empty buffer of [`BUFFER_BYTES`].
    pub fn take(&self) -> Buffer {
        self.0.ordinary.take(BUFFER_BYTES)
    }

    /// An empty buffer of [`LARGE_BUFFER_BYTES`]: for what comes or goes in bulk.
    pub fn take_large(&self) -> Buffer {
        self.0.large.take(LARGE_BUFFER_BYTES)
    }

    /// Takes a buffer back; its bytes are forgotten. One of another size is freed instead.
    pub fn put(&self, buffer: Buffer) {
        match buffer.size() {
            BUFFER_BYTES => self.0.ordinary.put(buffer, KEPT_MAX),
            LARGE_BUFFER_BYTES => self.0.large.put(buffer, LARGE_KEPT_MAX),
            _ => {}
        }
    }

    /// Frees half of the unused buffers; called now and then, so that a burst's memory goes back.
    pub fn shrink(&self) {
        self.0.ordinary.shrink();
        self.0.large.shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_keeps_what_was_not_used_when_it_moves_and_grows() {
        let mut buffer = Buffer::new(8);
        buffer.room()[..8].copy_from_slice(b"abcdefgh");
        buffer.advance(8);
        buffer.consume(6);
        assert_eq!(buffer.room().len(), 6);
        assert_eq!(buffer.filled(), b"gh");
        buffer.room()[..6].copy_from_slice(b"ijklmn");
        buffer.advance(6);
        assert!(buffer.room().is_empty());
        assert!(buffer.grow(12));
        assert_eq!(buffer.filled(), b"ghijklmn");
        assert_eq!(buffer.room().len(), 4);
        assert!(!buffer.grow(12));
        buffer.consume(8);
        assert!(buffer.is_empty());
    }

    #[test]
    fn the_pool_gives_back_empty_buffers_of_one_size() {
        let pool = Buffers::default();
        let mut buffer = pool.take();
        buffer.advance(5);
        pool.put(buffer);
        assert!(pool.take().is_empty());
        let mut large = pool.take();
        large.grow(BUFFER_BYTES * 2);
        pool.put(large);
        assert_eq!(pool.take().size(), BUFFER_BYTES);
        let mut large = pool.take_large();
        large.advance(7);
        pool.put(large);
        let again = pool.take_large();
        assert!(again.is_empty() && again.size() == LARGE_BUFFER_BYTES);
    }
}
