//! Writing into room of a known size.

/// The room that is left for a line.
///
/// Each method gives the pen back behind what it wrote, `None` where the room ended: then the line is written once more,
/// where there is more of it. Taken and given by value, a pen stays in registers from the first field to the last.
#[derive(Debug)]
pub(crate) struct Pen<'a>(&'a mut [u8]);

/// The two digits of each number below a hundred.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

/// The two digits of a number below a hundred.
#[inline(always)]
pub(crate) fn pair(value: u64) -> [u8; 2] {
    PAIRS[value as usize % 100]
}

impl<'a> Pen<'a> {
    pub(crate) fn new(room: &'a mut [u8]) -> Self {
        Self(room)
    }

    /// Bytes of room that are left.
    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    /// Writes `bytes` as they are.
    #[inline(always)]
    pub(crate) fn put(self, bytes: &[u8]) -> Option<Self> {
        let (place, rest) = self.0.split_at_mut_checked(bytes.len())?;
        place.copy_from_slice(bytes);
        Some(Self(rest))
    }

    /// Writes what `fill` makes of `count` bytes of room, or nothing: then `Err` has the pen where it was.
    #[inline(always)]
    pub(crate) fn try_fill(self, count: usize, fill: impl FnOnce(&mut [u8]) -> bool) -> Result<Self, Self> {
        let room = self.0;
        if room.get_mut(..count).is_some_and(fill) { Ok(Self(&mut room[count..])) } else { Err(Self(room)) }
    }

    /// Writes a number in decimal.
    pub(crate) fn number(self, value: u64) -> Option<Self> {
        match value {
            0..10 => self.put(&[b'0' + value as u8]),
            10..100 => self.put(&pair(value)),
            100..1_000 => {
                let [tens, ones] = pair(value % 100);
                self.put(&[b'0' + (value / 100) as u8, tens, ones])
            }
            1_000..10_000 => {
                let ([thousands, hundreds], [tens, ones]) = (pair(value / 100), pair(value % 100));
                self.put(&[thousands, hundreds, tens, ones])
            }
            _ => self.put(itoa::Buffer::new().format(value).as_bytes()),
        }
    }

    /// Writes microseconds as milliseconds with three digits behind the point.
    pub(crate) fn millis(self, micros: u64) -> Option<Self> {
        let rest = micros % 1_000;
        let [tens, ones] = pair(rest % 100);
        self.number(micros / 1_000)?.put(&[b'.', b'0' + (rest / 100) as u8, tens, ones])
    }

    /// Writes whatever has a text of its own.
    pub(crate) fn display(mut self, value: impl std::fmt::Display) -> Option<Self> {
        use std::io::Write as _;
        write!(self.0, "{value}").ok()?;
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl Fn(Pen<'_>) -> Option<Pen<'_>>) -> String {
        let mut room = [0; 64];
        let left = write(Pen::new(&mut room)).expect("there is room").left();
        str::from_utf8(&room[..64 - left]).unwrap().to_owned()
    }

    #[test]
    fn a_pen_writes_up_to_the_last_byte_of_its_room_and_no_further() {
        let mut room = [b'.'; 6];
        assert!(Pen::new(&mut room).put(b"abc").and_then(|pen| pen.put(b"def")).is_some());
        assert_eq!(&room, b"abcdef");
        assert!(Pen::new(&mut room[..5]).number(123_456).is_none());
        assert!(Pen::new(&mut room[..5]).millis(12_345).is_none());
        assert!(Pen::new(&mut room[..5]).display("ghijkl").is_none());
        assert_eq!(room[5], b'f');
    }

    proptest! {
        #[test]
        fn numbers_are_decimal(bits in 0..64u32, value: u64) {
            let value = value >> bits;
            prop_assert_eq!(written(|pen| pen.number(value)), value.to_string());
            let millis = format!("{}.{:03}", value / 1_000, value % 1_000);
            prop_assert_eq!(written(|pen| pen.millis(value)), millis);
        }
    }
}
