use crate::pen::Pen;

/// Whole lines on their way to the writer.
///
/// The room is made once and stays; a chunk that is emptied is filled again from its front.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    room: Vec<u8>,
    filled: usize,
    lines: u64,
}

/// A line that finds too little room gets as much more as there is, within these bounds.
const GROWTH: std::ops::RangeInclusive<usize> = 512..=16 << 10;

impl Chunk {
    /// The lines.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.room[..self.filled]
    }

    /// How many lines it has.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// Whether it has no lines.
    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Bytes that the lines and later ones may fill before more room is made.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.room.len()
    }

    /// Sees to room for so many bytes in all.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        if self.room.is_empty() {
            self.room = vec![0; bytes];
        } else if self.room.len() < bytes {
            self.room.resize(bytes, 0);
        }
    }

    /// Appends the line that `write` writes. It returns the room that it left, or `None` where there was too little:
    /// then it is called again with more.
    #[inline(always)]
    pub(crate) fn push(&mut self, write: impl Fn(Pen<'_>) -> Option<usize>) {
        loop {
            if let Some(left) = write(Pen::new(&mut self.room[self.filled..])) {
                self.filled = self.room.len() - left;
                self.lines += 1;
                return;
            }
            self.grow();
        }
    }

    /// The same room without lines.
    pub(crate) fn emptied(self) -> Self {
        Self { room: self.room, filled: 0, lines: 0 }
    }

    #[cold]
    fn grow(&mut self) {
        let size = self.room.len();
        self.reserve(size + size.clamp(*GROWTH.start(), *GROWTH.end()));
    }
}

#[cfg(test)]
impl From<&str> for Chunk {
    fn from(text: &str) -> Self {
        Self { room: text.into(), filled: text.len(), lines: text.lines().count() as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_for_a_line_that_finds_too_little_and_kept() {
        let mut chunk = Chunk::default();
        for size in [1, 600, 100_000] {
            chunk.push(|pen| Some(pen.put(&vec![b'x'; size])?.put(b"\n")?.left()));
        }
        assert_eq!((chunk.bytes().len(), chunk.lines()), (100_604, 3));
        assert!(chunk.bytes().starts_with(b"x\nxx") && chunk.room() < 120_000);
        let (room, chunk) = (chunk.room(), chunk.emptied());
        assert!(chunk.is_empty() && chunk.lines() == 0 && chunk.room() == room);
    }
}
