//! Text in a log line: escaped and cut.

use crate::line::FIELD_BYTES_MAX;
use crate::pen::Pen;
use crate::plain::{PLAIN, SHORT_MAX, copy_long, copy_short};

/// What a text that was cut ends in.
pub(crate) const CUT_MARK: &[u8] = "…".as_bytes();

/// Writes `bytes` in double quotes as JSON wants it, cut at [`FIELD_BYTES_MAX`].
pub(crate) fn quoted<'a>(pen: Pen<'a>, bytes: &[u8]) -> Option<Pen<'a>> {
    if bytes.len() > SHORT_MAX {
        return long(pen, bytes);
    }
    let whole = |place: &mut [u8]| between_quotes(place, |inner| copy_short(bytes, inner));
    match pen.try_fill(bytes.len() + 2, whole) {
        Ok(pen) => Some(pen),
        Err(pen) => searched(pen, bytes),
    }
}

/// Apart, as is [`searched`], so that a short plain text needs no stack.
#[inline(never)]
fn long<'a>(pen: Pen<'a>, bytes: &[u8]) -> Option<Pen<'a>> {
    if bytes.len() > FIELD_BYTES_MAX {
        let pen = escaped(pen.put(b"\"")?, &bytes[..FIELD_BYTES_MAX])?;
        return pen.put(CUT_MARK)?.put(b"\"");
    }
    let whole = |place: &mut [u8]| between_quotes(place, |inner| copy_long(bytes, inner));
    match pen.try_fill(bytes.len() + 2, whole) {
        Ok(pen) => Some(pen),
        Err(pen) => searched(pen, bytes),
    }
}

/// Writes what has something to escape, or finds too little room.
#[cold]
#[inline(never)]
fn searched<'a>(pen: Pen<'a>, bytes: &[u8]) -> Option<Pen<'a>> {
    by_runs(pen.put(b"\"")?, bytes)?.put(b"\"")
}

#[inline(always)]
fn between_quotes(place: &mut [u8], fill: impl FnOnce(&mut [u8]) -> bool) -> bool {
    let [open, inner @ .., close] = place else { return false };
    (*open, *close) = (b'"', b'"');
    fill(inner)
}

/// Writes `bytes` bare where they are one plain word, else quoted.
pub(crate) fn word<'a>(pen: Pen<'a>, bytes: &[u8]) -> Option<Pen<'a>> {
    let bare = |byte: &u8| PLAIN[usize::from(*byte)] && *byte != b' ' && *byte != b'=';
    if !bytes.is_empty() && bytes.len() <= FIELD_BYTES_MAX && bytes != b"-" && bytes.iter().all(bare) {
        pen.put(bytes)
    } else {
        quoted(pen, bytes)
    }
}

/// Writes `bytes` without quotes, escaped as they are inside them.
pub(crate) fn escaped<'a>(pen: Pen<'a>, bytes: &[u8]) -> Option<Pen<'a>> {
    let whole = |place: &mut [u8]| match bytes.len() {
        0..=SHORT_MAX => copy_short(bytes, place),
        _ => copy_long(bytes, place),
    };
    match pen.try_fill(bytes.len(), whole) {
        Ok(pen) => Some(pen),
        Err(pen) => by_runs(pen, bytes),
    }
}

/// Writes each run of plain bytes, of others, and of what is beyond ASCII by itself.
fn by_runs<'a>(mut pen: Pen<'a>, mut bytes: &[u8]) -> Option<Pen<'a>> {
    loop {
        let run = bytes.iter().position(|byte| !PLAIN[usize::from(*byte)]).unwrap_or(bytes.len());
        pen = pen.put(&bytes[..run])?;
        bytes = &bytes[run..];
        let Some(&byte) = bytes.first() else { return Some(pen) };
        if byte < 0x80 {
            pen = ascii_escape(pen, byte)?;
            bytes = &bytes[1..];
        } else {
            let run = bytes.iter().position(u8::is_ascii).unwrap_or(bytes.len());
            pen = beyond_ascii(pen, &bytes[..run])?;
            bytes = &bytes[run..];
        }
    }
}

fn ascii_escape(pen: Pen<'_>, byte: u8) -> Option<Pen<'_>> {
    match byte {
        b'"' | b'\\' => pen.put(&[b'\\', byte]),
        b'\n' => pen.put(b"\\n"),
        b'\r' => pen.put(b"\\r"),
        b'\t' => pen.put(b"\\t"),
        _ => code_point(pen, u32::from(byte)),
    }
}

fn beyond_ascii<'a>(mut pen: Pen<'a>, bytes: &[u8]) -> Option<Pen<'a>> {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            pen = if is_deceptive(c) {
                code_point(pen, u32::from(c))?
            } else {
                pen.put(c.encode_utf8(&mut [0; 4]).as_bytes())?
            };
        }
        if !chunk.invalid().is_empty() {
            pen = code_point(pen, 0xfffd)?;
        }
    }
    Some(pen)
}

/// What a terminal obeys, a reader takes for a line end, or turns the order of the text around.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// All that is escaped so lies below U+10000.
fn code_point(pen: Pen<'_>, code: u32) -> Option<Pen<'_>> {
    let digit = |shift: u32| b"0123456789abcdef"[(code >> shift & 15) as usize];
    pen.put(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)])
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `write` makes of `bytes`, which must be UTF-8.
    pub(crate) fn written(write: for<'a> fn(Pen<'a>, &[u8]) -> Option<Pen<'a>>, bytes: &[u8]) -> String {
        let mut room = vec![0; 8 * bytes.len() + 8];
        let size = room.len();
        let left = write(Pen::new(&mut room), bytes).expect("no byte becomes more than six").left();
        room.truncate(size - left);
        String::from_utf8(room).expect("lines are UTF-8")
    }

    /// Character by character, as one would write it first.
    fn naive(bytes: &[u8]) -> String {
        let mut out = String::from("\"");
        for chunk in bytes[..bytes.len().min(FIELD_BYTES_MAX)].utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '"' | '\\' => out.extend(['\\', c]),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    _ if c < ' ' || c == '\u{7f}' || is_deceptive(c) => {
                        out.push_str(&format!("\\u{:04x}", u32::from(c)));
                    }
                    _ => out.push(c),
                }
            }
            if !chunk.invalid().is_empty() {
                out.push_str("\\ufffd");
            }
        }
        out + if bytes.len() > FIELD_BYTES_MAX { "…\"" } else { "\"" }
    }

    /// Mostly plain, as texts are, with anything in between.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![20 => 0x20..0x7fu8, 1 => any::<u8>()];
        let piece = prop_oneof![
            proptest::collection::vec(byte, 0..40),
            "\\PC{0,6}".prop_map(String::into_bytes),
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            (0..0x3000u32).prop_filter_map("a char", char::from_u32).prop_map(|c| c.to_string().into_bytes()),
        ];
        proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    #[test]
    fn a_long_field_is_cut_with_a_mark() {
        let text = "a".repeat(FIELD_BYTES_MAX);
        assert_eq!(written(quoted, text.as_bytes()), format!("\"{text}\""));
        assert_eq!(written(quoted, format!("{text}b").as_bytes()), format!("\"{text}…\""));
    }

    #[test]
    fn deceptive_characters_are_escaped() {
        assert_eq!(
            written(quoted, "é\u{1b}[31m\u{9b}\u{2028}\u{202e}\"\\\u{7f}\0".as_bytes()),
            "\"é\\u001b[31m\\u009b\\u2028\\u202e\\\"\\\\\\u007f\\u0000\""
        );
        assert_eq!(written(quoted, b"a\xff\xc3("), "\"a\\ufffd\\ufffd(\"");
    }

    #[test]
    fn a_plain_word_stands_bare() {
        for (text, wanted) in
            [("GET", "GET"), ("", "\"\""), ("a b", "\"a b\""), ("a=b", "\"a=b\""), ("-", "\"-\"")]
        {
            assert_eq!(written(word, text.as_bytes()), wanted);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_one_would_write_character_by_character(text in texts()) {
            prop_assert_eq!(written(quoted, &text), naive(&text));
        }

        #[test]
        fn a_long_text_is_cut_where_one_would_cut_it(text in texts(), length in 2_000..2_100usize) {
            let text: Vec<u8> = text.iter().copied().cycle().take(if text.is_empty() { 0 } else { length }).collect();
            prop_assert_eq!(written(quoted, &text), naive(&text));
        }

        #[test]
        fn any_bytes_make_one_json_string_of_one_line(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = written(quoted, &bytes);
            prop_assert!(!text.contains(char::is_control));
            prop_assert!(serde_json::from_str::<String>(&text).is_ok());
        }

        #[test]
        fn plain_utf8_reads_back_as_it_was(text in ".{0,60}") {
            let json = written(quoted, text.as_bytes());
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn with_too_little_room_nothing_is_written_behind_it(text in texts()) {
            let needed = written(quoted, &text).len();
            for size in 0..needed {
                let mut room = vec![b'.'; needed];
                prop_assert!(quoted(Pen::new(&mut room[..size]), &text).is_none());
                prop_assert!(room[size..].iter().all(|byte| *byte == b'.'));
            }
        }
    }
}
