//! Text in a log line: escaped, starred and cut.

/// Most bytes of one field that are written; what is cut ends in `…`.
pub const FIELD_BYTES_MAX: usize = 2_048;

const CUT_MARK: &[u8] = "…".as_bytes();
const STARS: &[u8] = b"***";

/// Query parameters whose values nobody may read in a log, in lower case.
const SECRET_PARAMETERS: [&[u8]; 4] = [b"token", b"key", b"api_key", b"access_token"];

/// Bytes that stand for themselves inside quotes.
static PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        table[byte] = byte != b'"' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    table
};

/// Writes `bytes` in double quotes as JSON wants it, cut at [`FIELD_BYTES_MAX`].
pub(crate) fn quoted(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    match bytes.get(..FIELD_BYTES_MAX) {
        Some(start) if bytes.len() > FIELD_BYTES_MAX => {
            escaped(start, out);
            out.extend_from_slice(CUT_MARK);
        }
        _ => escaped(bytes, out),
    }
    out.push(b'"');
}

/// Writes `bytes` bare where they are one plain word, else quoted.
pub(crate) fn word(bytes: &[u8], out: &mut Vec<u8>) {
    let bare = |byte: &u8| PLAIN[usize::from(*byte)] && *byte != b' ' && *byte != b'=';
    if !bytes.is_empty() && bytes.len() <= FIELD_BYTES_MAX && bytes != b"-" && bytes.iter().all(bare) {
        out.extend_from_slice(bytes);
    } else {
        quoted(bytes, out);
    }
}

/// Whether every byte stands for itself, looked at eight at a time: nearly every text in a line is plain.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // The high bit of each byte that is zero; exact as long as it is only asked whether there is one.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let odd = |eight: &[u8; 8]| {
        let word = u64::from_le_bytes(*eight);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let special = zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c)) | zero(word ^ (ONES * 0x7f));
        control | special | word & HIGHS
    };
    match bytes.last_chunk::<8>() {
        // The last eight overlap what came before them.
        Some(last) => bytes.as_chunks::<8>().0.iter().fold(odd(last), |found, eight| found | odd(eight)) == 0,
        None => bytes.iter().all(|byte| PLAIN[usize::from(*byte)]),
    }
}

fn escaped(mut bytes: &[u8], out: &mut Vec<u8>) {
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
        return;
    }
    loop {
        let run = bytes.iter().position(|byte| !PLAIN[usize::from(*byte)]).unwrap_or(bytes.len());
        out.extend_from_slice(&bytes[..run]);
        bytes = &bytes[run..];
        let Some(&byte) = bytes.first() else { return };
        if byte < 0x80 {
            ascii_escape(byte, out);
            bytes = &bytes[1..];
        } else {
            let run = bytes.iter().position(u8::is_ascii).unwrap_or(bytes.len());
            beyond_ascii(&bytes[..run], out);
            bytes = &bytes[run..];
        }
    }
}

#[cold]
fn ascii_escape(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => code_point(u32::from(byte), out),
    }
}

#[cold]
fn beyond_ascii(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_deceptive(c) {
                code_point(u32::from(c), out);
            } else {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        if !chunk.invalid().is_empty() {
            code_point(0xfffd, out);
        }
    }
}

/// What a terminal obeys, a reader takes for a line end, or turns the order of the text around.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// All that is escaped so lies below U+10000.
fn code_point(code: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(b"0123456789abcdef"[(code >> shift & 15) as usize]);
    }
}

/// Writes a request target in quotes, with its secrets starred.
pub(crate) fn target(target: &[u8], out: &mut Vec<u8>) {
    let cut = target.len() > FIELD_BYTES_MAX;
    let target = &target[..target.len().min(FIELD_BYTES_MAX)];
    let path_end = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(path_end);
    out.push(b'"');
    match session_token(path) {
        Some(token) => {
            escaped(&path[..token], out);
            out.extend_from_slice(STARS);
        }
        None => escaped(path, out),
    }
    starred_query(query, out);
    if cut {
        out.extend_from_slice(CUT_MARK);
    }
    out.push(b'"');
}

/// `query` with its `?`, or empty.
fn starred_query(mut query: &[u8], out: &mut Vec<u8>) {
    while let Some((&separator, rest)) = query.split_first() {
        out.push(separator);
        // A `?` within starts the query of a nested address; `;` separates for some servers.
        let end = memchr::memchr3(b'&', b';', b'?', rest).unwrap_or(rest.len());
        let (pair, next) = rest.split_at(end);
        match memchr::memchr(b'=', pair) {
            Some(equals) if SECRET_PARAMETERS.iter().any(|name| means(&pair[..equals], name)) => {
                escaped(&pair[..=equals], out);
                out.extend_from_slice(STARS);
            }
            _ => escaped(pair, out),
        }
        query = next;
    }
}

/// Where what follows `/internal/session/` starts, however the path is spelt.
///
/// Masks rather too much than too little: encodings are undone as often as there are any, dot segments and whatever
/// else stands between the two words are passed over, and so is what follows a `;` in a segment.
fn session_token(path: &[u8]) -> Option<usize> {
    // Nearly every path is told apart here.
    let encoded = memchr::memchr2(b'%', b'\\', path).is_some();
    if !encoded
        && !memchr::memchr_iter(b'/', path).any(|at| path.get(at + 1).is_some_and(|b| b | 0x20 == b'i'))
    {
        return None;
    }
    let mut inside = false;
    let mut rest = path;
    while !rest.is_empty() {
        let (word, after) = segment(rest);
        if inside && word == *b"session\0" {
            return (!after.is_empty()).then(|| path.len() - after.len());
        }
        inside |= word == *b"internal";
        rest = after;
    }
    None
}

/// The first eight bytes of the next segment in lower case, and what follows its separator. A longer word has its
/// last byte set to one that neither word has.
fn segment(mut bytes: &[u8]) -> ([u8; 8], &[u8]) {
    let (mut word, mut length, mut is_name) = ([0; 8], 0, true);
    while let Some((byte, after)) = decoded(bytes) {
        bytes = after;
        match byte {
            b'/' | b'\\' => break,
            b';' => is_name = false,
            _ if !is_name => {}
            _ => {
                match word.get_mut(length) {
                    Some(place) => *place = byte.to_ascii_lowercase(),
                    None => word[7] = 0xff,
                }
                length += 1;
            }
        }
    }
    (word, bytes)
}

/// Whether `written`, percent-decoded and in lower case, is `name`.
fn means(written: &[u8], name: &[u8]) -> bool {
    if written.len() < name.len() {
        return false;
    }
    let mut rest = written;
    for &wanted in name {
        match decoded(rest) {
            Some((byte, after)) if byte.to_ascii_lowercase() == wanted => rest = after,
            _ => return false,
        }
    }
    rest.is_empty()
}

/// The next byte with its percent-encoding undone, and that of the encoding.
fn decoded(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&first, mut rest) = bytes.split_first()?;
    let mut byte = first;
    while byte == b'%' {
        let [high, low, after @ ..] = rest else { break };
        let (Some(high), Some(low)) = (nibble(*high), nibble(*low)) else { break };
        (byte, rest) = (high << 4 | low, after);
    }
    Some((byte, rest))
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_told_from_every_other_byte_at_every_place() {
        for length in 0..20 {
            for place in 0..length {
                for byte in 0..=255u8 {
                    let mut text = vec![b'a'; length];
                    text[place] = byte;
                    assert_eq!(is_plain(&text), PLAIN[usize::from(byte)], "{byte:#x} at {place} of {length}");
                }
            }
        }
    }
    use proptest::prelude::*;

    fn target_of(text: &str) -> String {
        let mut out = Vec::new();
        target(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn secret_parameters_are_starred_however_they_are_spelt() {
        for name in [
            "token",
            "key",
            "api_key",
            "access_token",
            "TOKEN",
            "to%6ben",
            "to%256ben",
            "%41PI_key",
            "%6B%65%79",
        ] {
            let text = target_of(&format!("/p?a=b&{name}=s3cret&c=d"));
            assert_eq!(text, format!("\"/p?a=b&{name}=***&c=d\""));
        }
        assert_eq!(target_of("/p?monkey=1&keys=2&tokens"), "\"/p?monkey=1&keys=2&tokens\"");
        assert_eq!(target_of("/p?to=http://x/?token=s;key=t"), "\"/p?to=http://x/?token=***;key=***\"");
    }

    #[test]
    fn session_tokens_are_starred_however_the_path_is_spelt() {
        for path in [
            "/internal/session/",
            "//internal/./session/",
            "/Internal/sess%69on/",
            "http://h/internal/session/",
            "/x/../internal/session/",
            "/internal/x/../session/",
            "/internal/%2e%2E/internal/session/",
            "/internal%2Fsession%2f",
            "/internal%252Fsess%2569on%25252f",
            "/internal\\session%5c",
            "/internal;a=b/session;c/",
            "/a/b/internal/v1/session/",
        ] {
            let shown = path.replace('\\', "\\\\");
            assert_eq!(target_of(&format!("{path}s3cret/more?x=1")), format!("\"{shown}***?x=1\""));
        }
        for open in [
            "/internal/sessio/x",
            "/internals/session/x",
            "/session/internal/x",
            "/index/session/%2",
            "/internal%",
        ] {
            assert_eq!(target_of(open), format!("\"{open}\""));
        }
        assert_eq!(target_of("/internal/sessions/x"), "\"/internal/sessions/x\"");
        assert_eq!(target_of("/internal/session"), "\"/internal/session\"");
    }

    #[test]
    fn a_long_field_is_cut_with_a_mark() {
        let mut out = Vec::new();
        quoted(&vec![b'a'; FIELD_BYTES_MAX + 1], &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("\"{}…\"", "a".repeat(FIELD_BYTES_MAX)));
        assert!(target_of(&"/".repeat(9_000)).len() < FIELD_BYTES_MAX + 8);
    }

    #[test]
    fn deceptive_characters_are_escaped() {
        let mut out = Vec::new();
        quoted("é\u{1b}[31m\u{9b}\u{2028}\u{202e}\"\\\u{7f}\0".as_bytes(), &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\"é\\u001b[31m\\u009b\\u2028\\u202e\\\"\\\\\\u007f\\u0000\""
        );
        let mut out = Vec::new();
        quoted(b"a\xff\xc3(", &mut out);
        assert_eq!(out, b"\"a\\ufffd\\ufffd(\"");
    }

    #[test]
    fn a_plain_word_stands_bare() {
        for (text, wanted) in
            [("GET", "GET"), ("", "\"\""), ("a b", "\"a b\""), ("a=b", "\"a=b\""), ("-", "\"-\"")]
        {
            let mut out = Vec::new();
            word(text.as_bytes(), &mut out);
            assert_eq!(out, wanted.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_json_string_of_one_line(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for write in [quoted, target] {
                let mut out = Vec::new();
                write(&bytes, &mut out);
                let text = std::str::from_utf8(&out).unwrap();
                prop_assert!(!text.contains(char::is_control));
                prop_assert!(serde_json::from_str::<String>(text).is_ok());
            }
        }

        #[test]
        fn plain_utf8_reads_back_as_it_was(text in "[^?/]{0,60}") {
            let mut out = Vec::new();
            quoted(text.as_bytes(), &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
