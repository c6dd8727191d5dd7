//! A request target in a log line: its secrets are starred.

use crate::line::FIELD_BYTES_MAX;
use crate::pen::Pen;
use crate::text::{CUT_MARK, escaped, quoted};

const STARS: &[u8] = b"***";

/// Query parameters whose values nobody may read in a log, in lower case.
const SECRET_PARAMETERS: [&[u8]; 4] = [b"token", b"key", b"api_key", b"access_token"];

/// Writes a request target in quotes, with its secrets starred.
pub(crate) fn target<'a>(pen: Pen<'a>, target: &[u8]) -> Option<Pen<'a>> {
    if is_open(target) { quoted(pen, target) } else { starred(pen, target) }
}

/// Whether there cannot be a secret: no spelling to undo, no segment that begins like `internal`, and no parameter that
/// begins like one of [`SECRET_PARAMETERS`]. Nearly every target is told apart so.
#[inline]
fn is_open(target: &[u8]) -> bool {
    // A segment may begin where the target does.
    let (mut found, mut before) = (0, SEGMENT << 4);
    for byte in target {
        let mark = MARKS[usize::from(*byte)];
        found |= mark & (before >> 4 | SPELLING);
        before = mark;
    }
    found == 0
}

const SPELLING: u8 = 1;
const SEGMENT: u8 = 2;
const PARAMETER: u8 = 4;

/// What a byte means to [`is_open`]: a low bit counts where the byte before has the one that is four higher.
static MARKS: [u8; 256] = {
    let mut marks = [0; 256];
    let lists: [(&[u8], u8); 5] = [
        (b"%\\", SPELLING),
        (b"/", SEGMENT << 4),
        (b"iI", SEGMENT),
        (b"?&;", PARAMETER << 4),
        (b"tTkKaA", PARAMETER),
    ];
    let mut list = 0;
    while list < lists.len() {
        let (mut bytes, mark) = lists[list];
        while let Some((first, rest)) = bytes.split_first() {
            marks[*first as usize] = mark;
            bytes = rest;
        }
        list += 1;
    }
    marks
};

fn starred<'a>(pen: Pen<'a>, target: &[u8]) -> Option<Pen<'a>> {
    let cut = target.len() > FIELD_BYTES_MAX;
    let target = &target[..target.len().min(FIELD_BYTES_MAX)];
    let path_end = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(path_end);
    let mut pen = pen.put(b"\"")?;
    pen = match session_token(path) {
        Some(token) => escaped(pen, &path[..token])?.put(STARS)?,
        None => escaped(pen, path)?,
    };
    pen = starred_query(pen, query)?;
    if cut {
        pen = pen.put(CUT_MARK)?;
    }
    pen.put(b"\"")
}

/// `query` with its `?`, or empty.
fn starred_query<'a>(mut pen: Pen<'a>, mut query: &[u8]) -> Option<Pen<'a>> {
    while let Some((&separator, rest)) = query.split_first() {
        pen = pen.put(&[separator])?;
        // A `?` within starts the query of a nested address; `;` separates for some servers.
        let end = memchr::memchr3(b'&', b';', b'?', rest).unwrap_or(rest.len());
        let (pair, next) = rest.split_at(end);
        pen = match memchr::memchr(b'=', pair) {
            Some(equals) if SECRET_PARAMETERS.iter().any(|name| means(&pair[..equals], name)) => {
                escaped(pen, &pair[..=equals])?.put(STARS)?
            }
            _ => escaped(pen, pair)?,
        };
        query = next;
    }
    Some(pen)
}

/// Where what follows `/internal/session/` starts, however the path is spelt.
///
/// Masks rather too much than too little: encodings are undone as often as there are any, dot segments and whatever
/// else stands between the two words are passed over, and so is what follows a `;` in a segment.
fn session_token(path: &[u8]) -> Option<usize> {
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
    use crate::text::tests::written;
    use proptest::prelude::*;

    fn target_of(text: &str) -> String {
        written(target, text.as_bytes())
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
    fn a_long_target_is_cut_with_a_mark() {
        for unit in ["/", "/i", "/?", "%"] {
            let text = target_of(&unit.repeat(9_000));
            let start = &unit.repeat(FIELD_BYTES_MAX)[..FIELD_BYTES_MAX];
            assert_eq!(text, format!("\"{start}…\""));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_json_string_of_one_line(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = written(target, &bytes);
            prop_assert!(!text.contains(char::is_control));
            prop_assert!(serde_json::from_str::<String>(&text).is_ok());
        }

        #[test]
        fn a_target_taken_for_open_reads_as_one_that_was_searched(pieces in proptest::collection::vec(piece(), 0..30)) {
            let text = pieces.concat();
            prop_assert_eq!(target_of(&text), written(starred, text.as_bytes()));
        }
    }

    /// What may hide a secret, and what only looks like it.
    fn piece() -> impl Strategy<Value = String> {
        const WORDS: &[&str] =
            &["token=x", "a=b", "internal/", "session/", "/internal/session/x", "%69nternal", "api_%6bey="];
        prop_oneof![
            4 => "[a-z/?&;%=iItTkKaA\\\\.]",
            2 => proptest::sample::select(WORDS).prop_map(str::to_owned),
            1 => "\\PC",
        ]
    }
}
