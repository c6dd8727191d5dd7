//! Why a request takes the route it takes, and why the routes beside it do not.

mod fit;
mod show;

use crate::request::{Params, RequestView};
use crate::table::{Candidate, Refusal, RouteTable};
use crate::{HostPattern, PathPattern, Segment, ValueTest};

/// Most near misses that an explanation names.
pub const NEAR_MISSES_MAX: usize = 20;

/// What a request meets in the table. [`Display`](std::fmt::Display) writes one line for each rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The rule that wins; the same that [`RouteTable::lookup`] answers with.
    pub winner: Option<Winner>,
    /// The rules beside it, the nearest first, one for each other id, at most [`NEAR_MISSES_MAX`].
    pub near_misses: Vec<NearMiss>,
}

/// The rule that wins, and what ranks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Winner {
    /// The rule's id.
    pub id: u32,
    /// How specific it is.
    pub rank: Rank,
    /// The path parameters with their values, in the order of the path.
    pub params: Vec<(String, String)>,
}

/// What orders the rules that match one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rank {
    /// The host pattern, and with it how specific it is; none for any host.
    pub host: Option<HostPattern>,
    /// How the path is matched.
    pub path_kind: PathKind,
    /// The path pattern as it is written; none for any path.
    pub path: Option<String>,
    /// The number of further matchers.
    pub matcher_count: usize,
    /// The rule's priority.
    pub priority: i32,
}

/// The kinds of path patterns, the least specific last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathKind {
    /// Text only.
    Literal,
    /// With parameters of one segment.
    Param,
    /// With a `*` at its end.
    Rest,
    /// A whole-path expression.
    Expression,
    /// No path is asked.
    Any,
}

/// A rule that does not win.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss {
    /// The rule's id.
    pub id: u32,
    /// How specific it is.
    pub rank: Rank,
    /// Why it does not win.
    pub reason: Reason,
}

/// Why a rule does not win: that the winner goes before it, or the first matcher that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It matches too, but the winner goes first.
    Outranked(Advantage),
    /// Another host.
    Host {
        /// The pattern.
        wanted: HostPattern,
        /// The request's.
        got: String,
    },
    /// Another path.
    Path {
        /// The pattern as it is written.
        wanted: String,
        /// The request's.
        got: String,
    },
    /// Another listener.
    Listener {
        /// Ids of the rule's.
        wanted: Vec<u32>,
        /// Id of the request's.
        got: u32,
    },
    /// Another method.
    Method {
        /// The rule's.
        wanted: Vec<String>,
        /// The request's.
        got: String,
    },
    /// A path parameter of another form.
    Param {
        /// Its name.
        name: String,
        /// The expression.
        wanted: String,
        /// The segment.
        got: String,
    },
    /// A header field that is missing or has another value.
    Header {
        /// Its name.
        name: String,
        /// What its value must be.
        wanted: ValueTest,
        /// The first line's value; none where there is no such field.
        got: Option<String>,
    },
    /// A query entry that is missing or has another value.
    Query {
        /// Its name.
        name: String,
        /// What its value must be.
        wanted: ValueTest,
        /// The first entry's value as it stands in the request; none where there is no such entry.
        got: Option<String>,
    },
    /// A client that accepts nothing of what is offered.
    Accept {
        /// The rule's.
        wanted: Vec<String>,
        /// The request's.
        got: String,
    },
}

/// What puts the winner before another rule that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advantage {
    /// A more specific host.
    Host,
    /// A more specific path.
    Path,
    /// More further matchers.
    Matchers,
    /// The client would rather accept what it offers.
    Accept,
    /// A higher priority.
    Priority,
    /// Nothing that is configured: expressions that differ are tried in one fixed order.
    Order,
}

impl RouteTable {
    /// Says which rule wins for a request and why the near ones do not.
    ///
    /// Looks at every rule: for people, not for the path of a request.
    pub fn explain(&self, request: &RequestView<'_>) -> Explanation {
        let mut params = Params::default();
        let winner = self.win(request, &mut params).map(|place| &self.candidates()[place as usize]);
        let id = winner.map(|candidate| candidate.rule.id);
        let mut misses: Vec<(fit::Distance, NearMiss)> = self
            .candidates()
            .iter()
            .filter(|candidate| Some(candidate.rule.id) != id)
            .filter_map(|candidate| miss(candidate, winner, request))
            .collect();
        misses.sort_by(|(a, x), (b, y)| a.cmp(b).then(x.id.cmp(&y.id)));
        let mut near_misses: Vec<NearMiss> = Vec::new();
        for (_, miss) in misses {
            if near_misses.len() == NEAR_MISSES_MAX {
                break;
            }
            if near_misses.iter().all(|nearer| nearer.id != miss.id) {
                near_misses.push(miss);
            }
        }
        let winner = winner.map(|candidate| Winner {
            id: candidate.rule.id,
            rank: Rank::of(candidate),
            params: params.iter(request.path).map(|(name, value)| (name.to_owned(), text(value))).collect(),
        });
        Explanation { winner, near_misses }
    }
}

/// How far a rule that does not win is from winning; none when neither host nor path fits.
fn miss(
    candidate: &Candidate,
    winner: Option<&Candidate>,
    request: &RequestView<'_>,
) -> Option<(fit::Distance, NearMiss)> {
    let fit = fit::fit(candidate, request);
    let rule = &candidate.rule;
    let reason = match (fit.refusal, &rule.host, &rule.path) {
        (None, ..) => Reason::Outranked(advantage(winner?, candidate, request)),
        (Some(Refusal::Host), Some(wanted), _) => {
            Reason::Host { wanted: wanted.clone(), got: text(request.host) }
        }
        (Some(Refusal::Path), _, Some(wanted)) => {
            Reason::Path { wanted: wanted.to_string(), got: text(request.path) }
        }
        (Some(Refusal::Host | Refusal::Path), ..) => return None,
        (Some(Refusal::Listener), ..) => {
            Reason::Listener { wanted: rule.listeners.to_vec(), got: request.listener }
        }
        (Some(Refusal::Method), ..) => Reason::Method {
            wanted: rule.methods.iter().map(ToString::to_string).collect(),
            got: text(request.method),
        },
        (Some(Refusal::Param(name)), ..) => {
            let (_, wanted) = rule.params.iter().find(|(known, _)| known == name)?;
            let got = candidate.param(name, &fit.spans, request.path).unwrap_or_default();
            Reason::Param { name: name.to_owned(), wanted: wanted.to_string(), got: text(got) }
        }
        (Some(Refusal::Header(name)), ..) => {
            let (_, wanted) = rule
                .headers
                .iter()
                .find(|(known, test)| known == name && !test.holds_for_field(name, request.fields))?;
            let mut got = None;
            request.fields.any(name, &mut |value| {
                got = Some(text(value));
                true
            });
            Reason::Header { name: name.to_owned(), wanted: wanted.clone(), got }
        }
        (Some(Refusal::Query(name)), ..) => {
            let (_, wanted) = rule
                .query
                .iter()
                .find(|(known, test)| known == name && !test.holds_for_query(name, request.query))?;
            let got = crate::request::query_value(name, request.query).map(text);
            Reason::Query { name: name.to_owned(), wanted: wanted.clone(), got }
        }
        (Some(Refusal::Accept), ..) => {
            let mut got = Vec::new();
            request.fields.any("accept", &mut |value| {
                got.push(text(value));
                false
            });
            Reason::Accept {
                wanted: rule.accept.iter().map(ToString::to_string).collect(),
                got: got.join(", "),
            }
        }
    };
    Some((fit.distance?, NearMiss { id: rule.id, rank: Rank::of(candidate), reason }))
}

/// What puts `winner` before `other`, both of which match.
fn advantage(winner: &Candidate, other: &Candidate, request: &RequestView<'_>) -> Advantage {
    let (ours, theirs) = (&winner.rule, &other.rule);
    if ours.host != theirs.host {
        Advantage::Host
    } else if !fit::same_path_rank(ours.path.as_ref(), theirs.path.as_ref()) {
        Advantage::Path
    } else if ours.matcher_count() != theirs.matcher_count() {
        Advantage::Matchers
    } else if winner.quality(request) != other.quality(request) {
        Advantage::Accept
    } else if ours.priority != theirs.priority {
        Advantage::Priority
    } else {
        Advantage::Order
    }
}

impl Rank {
    fn of(candidate: &Candidate) -> Self {
        let rule = &candidate.rule;
        Self {
            host: rule.host.clone(),
            path_kind: PathKind::of(rule.path.as_ref()),
            path: rule.path.as_ref().map(ToString::to_string),
            matcher_count: rule.matcher_count(),
            priority: rule.priority,
        }
    }
}

impl PathKind {
    /// The kind of a pattern; none stands for any path.
    pub fn of(path: Option<&PathPattern>) -> Self {
        let segments = match path {
            None => return Self::Any,
            Some(PathPattern::Expression(_)) => return Self::Expression,
            Some(PathPattern::Segments(segments)) => segments,
        };
        let is_param = |segment: &Segment| matches!(segment, Segment::Param(_));
        match segments.last() {
            Some(Segment::Rest(_)) => Self::Rest,
            _ if segments.iter().any(is_param) => Self::Param,
            _ => Self::Literal,
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
