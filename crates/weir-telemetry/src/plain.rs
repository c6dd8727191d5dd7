//! Bytes that stand for themselves inside quotes: nearly every text in a line has no others.

/// Printable ASCII but the quote and the backslash.
pub(crate) static PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        table[byte] = byte != b'"' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    table
};

/// Longest text for [`copy_short`].
pub(crate) const SHORT_MAX: usize = 32;

/// Copies up to [`SHORT_MAX`] bytes to `to`, which is as long, and tells whether every one is plain; what was copied is
/// void if not.
#[inline(always)]
pub(crate) fn copy_short(from: &[u8], to: &mut [u8]) -> bool {
    let odd = match from.len() {
        0..4 => copy_few(from, to),
        4..8 => copy_ends(from, to).map(|[first, last]| {
            odd(u64::from(u32::from_ne_bytes(first)) << 32 | u64::from(u32::from_ne_bytes(last)))
        }),
        8..=16 => copy_ends(from, to).map(|ends| joined(&ends)),
        _ => copy_ends::<16>(from, to).map(|ends| joined(ends.as_flattened().as_chunks().0)),
    };
    odd.is_some_and(|odd| odd & HIGHS == 0)
}

/// The same for at least eight bytes.
#[inline(always)]
pub(crate) fn copy_long(from: &[u8], to: &mut [u8]) -> bool {
    to.copy_from_slice(from);
    // The last eight overlap what came before them.
    from.last_chunk().is_some_and(|last| (joined(from.as_chunks().0) | joined(&[*last])) & HIGHS == 0)
}

/// Copies the first and the last `N` bytes, which meet or overlap, and returns them.
#[inline(always)]
fn copy_ends<const N: usize>(from: &[u8], to: &mut [u8]) -> Option<[[u8; N]; 2]> {
    let (first, last) = (*from.first_chunk()?, *from.last_chunk()?);
    *to.first_chunk_mut()? = first;
    *to.last_chunk_mut()? = last;
    Some([first, last])
}

/// Copies one to three bytes: the first, the middle and the last. Not a loop, which would become a call.
#[inline(always)]
fn copy_few(from: &[u8], to: &mut [u8]) -> Option<u64> {
    let (first, middle, last) = (*from.first()?, *from.get(from.len() / 2)?, *from.last()?);
    *to.get_mut(from.len() / 2)? = middle;
    *to.first_mut()? = first;
    *to.last_mut()? = last;
    Some(odd(u64::from_ne_bytes([first, middle, last, b' ', b' ', b' ', b' ', b' '])))
}

/// The [`odd`] of all.
#[inline(always)]
fn joined(words: &[[u8; 8]]) -> u64 {
    words.iter().fold(0, |found, word| found | odd(u64::from_ne_bytes(*word)))
}

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// Has a high bit ([`HIGHS`]) set where one of the word's bytes is not plain; which, it does not tell.
///
/// As long as all bytes are plain, nothing is carried or borrowed from one to the next. The first that is not, from the
/// lowest, sets its own high bit: beyond ASCII it has it; 0x7f gets it by adding one; control bytes by subtracting a
/// space; quote and backslash by subtracting one from their difference, which is zero.
#[inline(always)]
fn odd(word: u64) -> u64 {
    let is = |byte: u8| (word ^ (ONES * u64::from(byte))).wrapping_sub(ONES);
    word | word.wrapping_add(ONES) | word.wrapping_sub(ONES * 0x20) | is(b'"') | is(b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_told_from_every_other_byte_at_every_place_and_copied() {
        for length in 0..75 {
            for place in 0..length {
                for byte in 0..=255u8 {
                    let mut text: Vec<u8> = (0..length).map(|place| b'a' + place as u8 % 26).collect();
                    text[place] = byte;
                    let mut copy = vec![0; length];
                    let copies = if length > SHORT_MAX { copy_long } else { copy_short };
                    let plain = copies(&text, &mut copy);
                    assert_eq!(plain, PLAIN[usize::from(byte)], "{byte:#x} at {place} of {length}");
                    assert!(copy == text || !plain);
                }
            }
        }
    }
}
