use std::fmt;

use super::{Expression, PatternError, PatternErrorKind as Kind};
use crate::path::{PathError, normalize_path};

/// Most segments of one pattern; bounds the depth of a lookup.
pub const SEGMENTS_MAX: usize = 64;

/// Most parameters of one pattern, the last `*rest` included.
pub const PARAMS_MAX: usize = 16;

/// Which paths a route answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPattern {
    /// Segment by segment, as in `/users/:id/*rest`. Never empty; only the last may be [`Segment::Rest`].
    Segments(Box<[Segment]>),
    /// An expression that matches the whole path.
    Expression(Expression),
}

/// What one segment of a path may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This text, in normal form. Empty only as the last one: the path ends with a slash.
    Literal(Box<str>),
    /// Any segment of at least one byte.
    Param(Box<str>),
    /// All that follows, also nothing and also without the slash: `/v1/*` covers `/v1`, `/v1/` and `/v1/a/b`.
    Rest(Option<Box<str>>),
}

impl PathPattern {
    /// Reads `/users/:id/*rest`.
    ///
    /// A `:` inside a segment is a literal one. `/a` and `/a/` are two paths. A literal that is not in the normal form
    /// of [`normalize_path`] would never match and is a problem that names the normal form, but plain UTF-8 text
    /// (`/café`) is understood.
    ///
    /// # Errors
    ///
    /// [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        check_shape(text)?;
        let mut segments =
            Vec::with_capacity(text.bytes().filter(|byte| *byte == b'/').count().min(SEGMENTS_MAX));
        let mut start = 1;
        for part in text[1..].split('/') {
            let range = start..start + part.len();
            let segment = parse_segment(part, text.len() == range.end)
                .map_err(|kind| PatternError::new(range.clone(), kind))?;
            check_name(&segments, &segment).map_err(|kind| PatternError::new(range.clone(), kind))?;
            start = range.end + 1;
            segments.push(segment);
            if segments.len() > SEGMENTS_MAX {
                return Err(PatternError::new(range.start..text.len(), Kind::TooManySegments));
            }
        }
        check_normal(text, &mut segments)?;
        Ok(Self::Segments(segments.into()))
    }

    /// Reads a regular expression over the whole path, as in `^/r[0-9]+/.*$`.
    ///
    /// # Errors
    ///
    /// [`PatternError`].
    pub fn parse_expression(text: &str) -> Result<Self, PatternError> {
        Expression::parse(text).map(Self::Expression)
    }

    /// The names of the parameters, in the order of their segments; an unnamed `*` has the name `*`.
    pub fn param_names(&self) -> impl Iterator<Item = &str> {
        let segments: &[Segment] = match self {
            Self::Segments(segments) => segments,
            Self::Expression(_) => &[],
        };
        segments.iter().filter_map(Segment::name)
    }
}

impl Segment {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Param(name) => Some(name),
            Self::Rest(name) => Some(name.as_deref().unwrap_or("*")),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segments(segments) => segments.iter().try_for_each(|segment| write!(f, "/{segment}")),
            Self::Expression(expression) => write!(f, "{expression}"),
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Param(name) => write!(f, ":{name}"),
            Self::Rest(name) => write!(f, "*{}", name.as_deref().unwrap_or("")),
        }
    }
}

fn check_shape(text: &str) -> Result<(), PatternError> {
    if text.is_empty() {
        return Err(PatternError::new(0..0, Kind::Empty));
    }
    if !text.starts_with('/') {
        return Err(PatternError::new(0..0, Kind::PathNotAbsolute));
    }
    match text.bytes().position(|byte| matches!(byte, b'?' | b'#')) {
        Some(at) => Err(PatternError::new(at..text.len(), Kind::PathHasQuery)),
        None => Ok(()),
    }
}

fn parse_segment(part: &str, is_last: bool) -> Result<Segment, Kind> {
    if let Some(name) = part.strip_prefix(':') {
        return identifier(name).map(Segment::Param);
    }
    match part.strip_prefix('*') {
        Some(_) if !is_last => Err(Kind::PathWildcardMisplaced),
        Some("") => Ok(Segment::Rest(None)),
        Some(name) => identifier(name).map(|name| Segment::Rest(Some(name))),
        None if part.as_bytes().contains(&b'*') => Err(Kind::PathWildcardMisplaced),
        None if part.starts_with('{') && part.ends_with('}') => Err(Kind::BracedParam),
        None => Ok(Segment::Literal(part.into())),
    }
}

fn identifier(name: &str) -> Result<Box<str>, Kind> {
    let mut chars = name.chars();
    let good = chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if good { Ok(name.into()) } else { Err(Kind::InvalidParamName) }
}

fn check_name(before: &[Segment], segment: &Segment) -> Result<(), Kind> {
    let Some(name) = segment.name() else { return Ok(()) };
    let mut count = 0;
    for earlier in before.iter().filter_map(Segment::name) {
        if earlier == name {
            return Err(Kind::RepeatedParam { name: name.into() });
        }
        count += 1;
    }
    if count < PARAMS_MAX { Ok(()) } else { Err(Kind::TooManyParams) }
}

/// Holds the whole text against its normal form, and writes plain text segments the way requests spell them.
fn check_normal(text: &str, segments: &mut [Segment]) -> Result<(), PatternError> {
    let mut buffer = Vec::new();
    let normal = normalize_path(text.as_bytes(), &mut buffer)
        .map_err(|error| PatternError::new(blamed(error, text), Kind::InvalidPath(error)))?;
    if normal == text.as_bytes() {
        return Ok(());
    }
    let encoded = encode_plain(text);
    let normal = String::from_utf8_lossy(normal);
    if normal != encoded {
        return Err(PatternError::new(0..text.len(), Kind::PathNotNormal { normal: normal.into_owned() }));
    }
    for segment in segments {
        if let Segment::Literal(literal) = segment {
            *literal = encode_plain(literal).into();
        }
    }
    Ok(())
}

/// Percent-encodes what no request path holds raw, and nothing else.
fn encode_plain(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii() && !b"\"<>[]^`{|}".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn blamed(error: PathError, text: &str) -> std::ops::Range<usize> {
    match error {
        PathError::NotAbsolute => 0..0,
        PathError::InvalidEncoding { offset }
        | PathError::Nul { offset }
        | PathError::Backslash { offset }
        | PathError::EncodedSlash { offset }
        | PathError::InvalidByte { offset, .. } => offset..offset + 1,
        PathError::AboveRoot { .. }
        | PathError::DotSegmentWithParameter { .. }
        | PathError::DotSegmentBesideEncodedSlash { .. } => 0..text.len(),
    }
}
