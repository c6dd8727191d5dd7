use super::{HelloError, Stop};

/// Reads a part whose length was declared and of which perhaps only a beginning is there.
///
/// What reaches beyond the declared length is malformed, even when it has not come yet; what stays within it and is not
/// there is incomplete.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    /// What is there; never longer than `left`.
    bytes: &'a [u8],
    /// What was declared, less what was read.
    left: usize,
}

impl<'a> Reader<'a> {
    /// Over a beginning of something without a declared length.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, left: usize::MAX }
    }

    /// Whether all that was declared has been read.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let left = self.left.checked_sub(count).ok_or(HelloError::Length)?;
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Stop::Incomplete)?;
        *self = Self { bytes: rest, left };
        Ok(taken)
    }

    /// A number of one to three bytes, the first being the highest.
    pub(super) fn number(&mut self, width: usize) -> Result<usize, Stop> {
        Ok(self.take(width)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    /// A part that begins with its length, which takes `width` bytes and must be within `range`.
    pub(super) fn part(
        &mut self,
        width: usize,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<Self, Stop> {
        let length = self.number(width)?;
        let left = self.left.checked_sub(length).filter(|_| range.contains(&length));
        let left = left.ok_or(HelloError::Length)?;
        let (bytes, rest) = self.bytes.split_at(length.min(self.bytes.len()));
        *self = Self { bytes: rest, left };
        Ok(Self { bytes, left: length })
    }

    /// All that is left, once it is there.
    pub(super) fn rest(&mut self) -> Result<&'a [u8], Stop> {
        self.take(self.left)
    }

    /// That nothing is left.
    pub(super) fn end(&self) -> Result<(), Stop> {
        if self.is_done() { Ok(()) } else { Err(HelloError::Length.into()) }
    }
}
