//! The one spelling of a request path: what is matched is what is forwarded.

/// What a byte of a path asks of the scan.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Class {
    /// Stands for itself.
    Plain,
    Slash,
    Percent,
    /// Not allowed by RFC 3986 in a path, but sent by real clients: written percent-encoded.
    Encode,
    Backslash,
    Refuse,
}

const CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut table = [Class::Plain; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'/' => Class::Slash,
            b'%' => Class::Percent,
            b'\\' => Class::Backslash,
            b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80.. => Class::Encode,
            0..=b' ' | 0x7f | b'?' | b'#' => Class::Refuse,
            _ => Class::Plain,
        };
        byte += 1;
    }
    table
}

/// Why a request path has no safe spelling; each is answered with 400.
///
/// Offsets count bytes from the start of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path does not begin with a slash.
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    /// A `%` without two hexadecimal digits after it.
    #[error("the percent-encoding at byte {offset} of the path is not two hexadecimal digits")]
    InvalidEncoding {
        /// Where the `%` stands.
        offset: usize,
    },
    /// `%00`, which ends a name in many servers.
    #[error("the path holds an encoded NUL at byte {offset}")]
    Nul {
        /// Where the `%` stands.
        offset: usize,
    },
    /// A backslash, raw or as `%5C`: some servers take both for a separator.
    #[error("the path holds a backslash at byte {offset}")]
    Backslash {
        /// Where it stands.
        offset: usize,
    },
    /// A control byte, a space, `?` or `#`.
    #[error("the path holds the byte 0x{byte:02x} at byte {offset}")]
    InvalidByte {
        /// Where it stands.
        offset: usize,
        /// The byte.
        byte: u8,
    },
    /// More `..` than there are segments before them.
    #[error("the path climbs above its root at byte {offset}")]
    AboveRoot {
        /// Where the segment after the climbing one begins.
        offset: usize,
    },
    /// A segment such as `..;x`, which some servers cut at the semicolon and then resolve.
    #[error("the path holds a dot segment with a parameter before byte {offset}")]
    DotSegmentWithParameter {
        /// Where the segment ends.
        offset: usize,
    },
    /// An encoded slash or backslash, on a listener that refuses them.
    #[error("the path holds an encoded slash at byte {offset}")]
    EncodedSlash {
        /// Where the `%` stands.
        offset: usize,
    },
    /// A dot segment between encoded slashes, such as `..%2Fx`: a server that decodes them climbs where no rule looks.
    #[error("the path holds a dot segment beside an encoded slash before byte {offset}")]
    DotSegmentBesideEncodedSlash {
        /// Where the segment ends.
        offset: usize,
    },
}

/// How a listener reads the path of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathRules {
    /// Whether paths are normalised before they are matched and forwarded; on by default.
    pub normalize: bool,
    /// What becomes of `%2F`; kept by default.
    pub encoded_slashes: EncodedSlashes,
}

/// What becomes of a path with an encoded slash: one that a server may decode into a path that no rule has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodedSlashes {
    /// It stays as it is and separates nothing.
    Keep,
    /// It is refused, `%5C` too.
    Refuse,
}

impl Default for PathRules {
    fn default() -> Self {
        Self { normalize: true, encoded_slashes: EncodedSlashes::Keep }
    }
}

impl PathRules {
    /// The path that is matched and forwarded: `path` itself, or what was written into `buffer`.
    ///
    /// # Errors
    ///
    /// [`PathError`] where these rules refuse it; see [`normalize_path`].
    pub fn read<'a>(self, path: &'a [u8], buffer: &'a mut Vec<u8>) -> Result<&'a [u8], PathError> {
        if self.encoded_slashes == EncodedSlashes::Refuse
            && let Some(offset) = encoded_slash(path)
        {
            return Err(PathError::EncodedSlash { offset });
        }
        if self.normalize { normalize_path(path, buffer) } else { Ok(path) }
    }
}

fn encoded_slash(path: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'%', path)
        .find(|&at| matches!(path[at + 1..], [b'2', b'F' | b'f', ..] | [b'5', b'C' | b'c', ..]))
}

/// Normalises the path of a request, without its query.
///
/// - Percent-encodings of unreserved bytes are decoded; the others stay, with upper-case digits. So `%2F` is no separator.
/// - Dot segments, encoded ones too, are resolved after repeated slashes became one; beside a `%2F` they are refused.
/// - Bytes that RFC 3986 does not allow in a path but that clients do send (`|`, `{`, UTF-8) are percent-encoded, so
///   that a pattern need not know two spellings. `;` and the other sub-delimiters stand for themselves.
/// - An empty path is `/`.
///
/// Returns `path` itself, and leaves `buffer` alone, when nothing changes; else what it wrote into `buffer`, which is
/// cleared first and should be kept for the next request. Normalising twice is normalising once. One pass, linear.
///
/// # Errors
///
/// [`PathError`], for what servers are known to read in two ways.
pub fn normalize_path<'a>(path: &'a [u8], buffer: &'a mut Vec<u8>) -> Result<&'a [u8], PathError> {
    match path.first() {
        None => return Ok(b"/"),
        Some(b'/') => {}
        Some(_) => return Err(PathError::NotAbsolute),
    }
    if is_normal(path) {
        return Ok(path);
    }
    buffer.clear();
    rewrite(path, buffer)?;
    Ok(buffer)
}

/// Whether [`normalize_path`] would return `path` as it is. `path` begins with a slash.
fn is_normal(path: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        match CLASSES[usize::from(byte)] {
            Class::Plain => at += 1,
            Class::Slash => {
                match path.get(at + 1) {
                    Some(b'/') => return false,
                    Some(b'.') if starts_with_dot_segment(&path[at + 1..]) => return false,
                    _ => {}
                }
                at += 1;
            }
            Class::Percent => match path.get(at + 1..at + 3) {
                Some(b"2F") if starts_with_dot_segment(&path[at + 3..]) => return false,
                Some(&[high, low]) if is_normal_encoding(high, low) => at += 3,
                _ => return false,
            },
            Class::Encode | Class::Backslash | Class::Refuse => return false,
        }
    }
    true
}

fn starts_with_dot_segment(rest: &[u8]) -> bool {
    let after_dots = match rest {
        [b'.', b'.', after @ ..] | [b'.', after @ ..] => after,
        _ => return false,
    };
    matches!(after_dots.first(), None | Some(b'/' | b';')) || after_dots.starts_with(b"%2F")
}

/// Whether one of the pieces that encoded slashes make of a segment is a dot segment.
fn has_encoded_dot_segment(mut segment: &[u8]) -> bool {
    while let Some(at) = segment.windows(3).position(|three| three == b"%2F") {
        if starts_with_dot_segment(segment) {
            return true;
        }
        segment = &segment[at + 3..];
        if starts_with_dot_segment(segment) {
            return true;
        }
    }
    false
}

fn is_normal_encoding(high: u8, low: u8) -> bool {
    let (Some(high_value), Some(low_value)) = (hex(high), hex(low)) else { return false };
    let byte = high_value << 4 | low_value;
    !high.is_ascii_lowercase()
        && !low.is_ascii_lowercase()
        && !is_unreserved(byte)
        && !matches!(byte, 0 | b'\\')
}

fn rewrite(path: &[u8], out: &mut Vec<u8>) -> Result<(), PathError> {
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        match CLASSES[usize::from(byte)] {
            Class::Plain => out.push(byte),
            Class::Slash => {
                end_segment(out, at)?;
                if out.last() != Some(&b'/') {
                    out.push(b'/');
                }
            }
            Class::Encode => push_encoded(out, byte),
            Class::Percent => {
                push_decoded(out, path, at)?;
                at += 2;
            }
            Class::Backslash => return Err(PathError::Backslash { offset: at }),
            Class::Refuse => return Err(PathError::InvalidByte { offset: at, byte }),
        }
        at += 1;
    }
    end_segment(out, at)
}

/// Resolves the segment that `out` ends with, when it is a dot segment; the slash before it stays.
fn end_segment(out: &mut Vec<u8>, offset: usize) -> Result<(), PathError> {
    let Some(slash) = memchr::memrchr(b'/', out) else { return Ok(()) };
    let segment = &out[slash + 1..];
    match segment {
        b"." => out.truncate(slash + 1),
        b".." => {
            let parent = memchr::memrchr(b'/', &out[..slash]).ok_or(PathError::AboveRoot { offset })?;
            out.truncate(parent + 1);
        }
        [b'.', b';', ..] | [b'.', b'.', b';', ..] => {
            return Err(PathError::DotSegmentWithParameter { offset });
        }
        segment if has_encoded_dot_segment(segment) => {
            return Err(PathError::DotSegmentBesideEncodedSlash { offset });
        }
        _ => {}
    }
    Ok(())
}

fn push_decoded(out: &mut Vec<u8>, path: &[u8], offset: usize) -> Result<(), PathError> {
    let digits = path.get(offset + 1..offset + 3).and_then(|two| Some((hex(two[0])?, hex(two[1])?)));
    let Some((high, low)) = digits else { return Err(PathError::InvalidEncoding { offset }) };
    match high << 4 | low {
        0 => return Err(PathError::Nul { offset }),
        b'\\' => return Err(PathError::Backslash { offset }),
        byte if is_unreserved(byte) => out.push(byte),
        byte => push_encoded(out, byte),
    }
    Ok(())
}

fn push_encoded(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The value of a hexadecimal digit.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
