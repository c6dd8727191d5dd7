//! Character classes of RFC 9110 section 5.6 as tables: one load a byte.

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        i += 1;
    }
    table
};

/// Visible characters, space, tab and obs-text: what a field value may hold.
const VALUE: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = b == b'\t' || (b >= 0x20 && b != 0x7f);
        i += 1;
    }
    table
};

/// Whether `b` may stand in a token.
#[inline]
pub(super) fn is_token_byte(b: u8) -> bool {
    TOKEN[b as usize]
}

/// Whether `b` may stand in a field value.
#[inline]
pub(super) fn is_value_byte(b: u8) -> bool {
    VALUE[b as usize]
}

/// Whether the whole of `text` is one token (RFC 9110 section 5.6.2); empty is none.
#[inline]
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| TOKEN[b as usize])
}

/// Whether every byte may stand in a field value (RFC 9110 section 5.5): no CR, LF, NUL or other control.
#[inline]
pub fn is_field_value(text: &[u8]) -> bool {
    // Without an early exit, so that the compiler may look at many bytes at once.
    text.chunks(32).all(|chunk| chunk.iter().fold(true, |good, &b| good & VALUE[b as usize]))
}

/// Cuts spaces and tabs from both ends.
#[inline]
pub fn trim_ows(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The non-empty items of a comma-separated list, trimmed (RFC 9110 section 5.6.1).
pub fn list_items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim_ows).filter(|item| !item.is_empty())
}

/// A number of plain decimal digits, at most 2^63 - 1: no sign, no space, no list.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    let mut value: u64 = 0;
    for &b in text {
        if !b.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u64::from(b - b'0');
    }
    (value <= i64::MAX as u64).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_plain_digits_within_63_bits() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"9223372036854775807"), Some(i64::MAX as u64));
        for bad in
            ["", "+5", "-5", " 5", "5 ", "5,5", "0x5", "9223372036854775808", "99999999999999999999", "5_0"]
        {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn field_values_hold_no_controls_but_tab() {
        assert!(is_field_value("plain \t text, caf\u{e9}".as_bytes()));
        for control in (0..32u8).filter(|b| *b != b'\t').chain([0x7f]) {
            let mut value = vec![b'a'; 70];
            value[50] = control;
            assert!(!is_field_value(&value), "{control:#x}");
        }
    }

    #[test]
    fn lists_are_split_and_trimmed() {
        let items: Vec<_> = list_items(b" a, ,\tb ,c").collect();
        assert_eq!(items, [b"a", b"b", b"c"]);
    }
}
