use crate::request::RequestView;
use crate::table::{Candidate, Refusal};
use crate::{PathPattern, Segment};

/// How far a rule is from matching; the smaller is the nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Distance {
    /// It matches.
    Matches,
    /// Host and path fit.
    FurtherMatcher,
    /// The path fits.
    Host,
    /// The host fits; ordered by how many segments at the beginning do not.
    Path {
        /// [`usize::MAX`] less the segments that fit, so that more of them come first.
        unfit: usize,
    },
}

/// How a rule stands to a request.
pub(super) struct Fit<'a> {
    /// The first matcher that does not hold: host, path, then the rule's own order.
    pub(super) refusal: Option<Refusal<'a>>,
    /// None when neither host nor path fits.
    pub(super) distance: Option<Distance>,
    /// Where the parameters stand, when the path fits.
    pub(super) spans: Vec<(u32, u32)>,
}

pub(super) fn fit<'a>(candidate: &'a Candidate, request: &RequestView<'_>) -> Fit<'a> {
    let rule = &candidate.rule;
    let host = rule.host.as_ref().is_none_or(|pattern| pattern.covers(request.host));
    let path = fit_path(rule.path.as_ref(), request.path);
    match (host, path) {
        (true, Ok(spans)) => {
            let refusal = candidate.judge(request, &spans).err();
            let distance = if refusal.is_none() { Distance::Matches } else { Distance::FurtherMatcher };
            Fit { refusal, distance: Some(distance), spans }
        }
        (true, Err(fitting)) => {
            let distance = Some(Distance::Path { unfit: usize::MAX - fitting });
            Fit { refusal: Some(Refusal::Path), distance, spans: Vec::new() }
        }
        (false, Ok(spans)) => Fit { refusal: Some(Refusal::Host), distance: Some(Distance::Host), spans },
        (false, Err(_)) => Fit { refusal: Some(Refusal::Host), distance: None, spans: Vec::new() },
    }
}

/// Where the parameters stand, or how many segments fit at the beginning.
fn fit_path(pattern: Option<&PathPattern>, path: &[u8]) -> Result<Vec<(u32, u32)>, usize> {
    let segments = match pattern {
        None => return Ok(Vec::new()),
        Some(PathPattern::Expression(expression)) if expression.is_match(path) => return Ok(Vec::new()),
        Some(PathPattern::Expression(_)) => return Err(0),
        Some(PathPattern::Segments(segments)) => segments,
    };
    let mut spans = Vec::new();
    let mut at = 0;
    for (place, segment) in segments.iter().enumerate() {
        if matches!(segment, Segment::Rest(_)) {
            let start = (at + 1).min(path.len());
            spans.push((start as u32, path.len() as u32));
            return Ok(spans);
        }
        if at >= path.len() {
            return Err(place);
        }
        let start = at + 1;
        at = memchr::memchr(b'/', &path[start..]).map_or(path.len(), |length| start + length);
        match segment {
            Segment::Literal(text) if text.as_bytes() == &path[start..at] => {}
            Segment::Param(_) if at > start => spans.push((start as u32, at as u32)),
            _ => return Err(place),
        }
    }
    if at < path.len() { Err(segments.len()) } else { Ok(spans) }
}

/// Whether two patterns that both match have the same rank: the same kinds, segment by segment.
pub(super) fn same_path_rank(a: Option<&PathPattern>, b: Option<&PathPattern>) -> bool {
    match (a, b) {
        (Some(PathPattern::Segments(a)), Some(PathPattern::Segments(b))) => {
            a.len() == b.len() && a.iter().map(kind).eq(b.iter().map(kind))
        }
        (Some(PathPattern::Expression(_)), Some(PathPattern::Expression(_))) | (None, None) => true,
        _ => false,
    }
}

fn kind(segment: &Segment) -> u8 {
    match segment {
        Segment::Literal(_) => 0,
        Segment::Param(_) => 1,
        Segment::Rest(_) => 2,
    }
}
