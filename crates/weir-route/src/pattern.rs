//! What is written in a route's `match`, as values that cannot be wrong.

mod expression;
mod host;
mod media;
mod method;
mod path;

use std::ops::Range;

pub use expression::{EXPRESSION_BYTES_MAX, Expression};
pub use host::HostPattern;
pub use media::MediaRange;
pub use method::Method;
pub use path::{PARAMS_MAX, PathPattern, SEGMENTS_MAX, Segment};

/// Why a text is no pattern, and which part of it is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct PatternError {
    /// The bytes of the text that are wrong; may be empty at its end.
    pub range: Range<usize>,
    /// What is wrong with them.
    pub kind: PatternErrorKind,
}

impl PatternError {
    fn new(range: Range<usize>, kind: PatternErrorKind) -> Self {
        Self { range, kind }
    }

    /// One sentence that says what to write instead.
    pub fn help(&self) -> String {
        self.kind.help()
    }
}

/// What is wrong with a pattern's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternErrorKind {
    /// The text is empty.
    #[error("the pattern is empty")]
    Empty,
    /// A host with a port.
    #[error("a host pattern has no port")]
    HostHasPort,
    /// A host in which something other than a leading `*.` is a wildcard.
    #[error("`*` stands for whole labels at the beginning of a host only")]
    HostWildcardMisplaced,
    /// A host that no request can name.
    #[error("not a host name: {0}")]
    InvalidHost(crate::HostError),
    /// A path that does not begin with `/`.
    #[error("a path pattern begins with `/`")]
    PathNotAbsolute,
    /// A path with a query or a fragment in it.
    #[error("a path pattern holds neither `?` nor `#`")]
    PathHasQuery,
    /// A path that no normalised request path equals, though another spelling of it does.
    #[error("requests are matched in their normal form, which is `{normal}`")]
    PathNotNormal {
        /// The spelling to write.
        normal: String,
    },
    /// A path that is refused in a request, too.
    #[error("no request has this path: {0}")]
    InvalidPath(crate::PathError),
    /// A `*` that is not the beginning of the last segment.
    #[error("`*` begins the last segment of a path only")]
    PathWildcardMisplaced,
    /// A parameter in the braces of other gateways.
    #[error("a parameter is written `:name`, without braces")]
    BracedParam,
    /// A parameter without a name, or with one that is no identifier.
    #[error("a parameter's name is a letter or `_`, then letters, digits or `_`")]
    InvalidParamName,
    /// A name that an earlier segment has.
    #[error("the parameter `{name}` is named twice")]
    RepeatedParam {
        /// The name.
        name: String,
    },
    /// More than [`PARAMS_MAX`] parameters.
    #[error("a path has at most {PARAMS_MAX} parameters")]
    TooManyParams,
    /// More than [`SEGMENTS_MAX`] segments.
    #[error("a path has at most {SEGMENTS_MAX} segments")]
    TooManySegments,
    /// A regular expression that does not parse.
    #[error("not a regular expression: {0}")]
    InvalidExpression(String),
    /// A regular expression whose program is larger than [`EXPRESSION_BYTES_MAX`].
    #[error("the regular expression compiles to more than {EXPRESSION_BYTES_MAX} bytes")]
    ExpressionTooLarge,
    /// A method that is no token.
    #[error("a method is letters, digits and `-`")]
    InvalidMethod,
    /// Neither a media type nor all of one type.
    #[error("a media type is `TYPE/SUBTYPE` or `TYPE/*`")]
    InvalidMediaType,
    /// A known method in lower case.
    #[error("methods are case-sensitive")]
    MethodCase {
        /// The method in upper case.
        upper: String,
    },
}

impl PatternErrorKind {
    fn help(&self) -> String {
        match self {
            Self::Empty => "write a pattern, or remove the key to match everything".into(),
            Self::HostHasPort => "remove the port: to tell ports apart, name listeners".into(),
            Self::HostWildcardMisplaced => {
                "write `*.example.com`, which covers one or more labels; leave `host` out to match every host".into()
            }
            Self::InvalidHost(_) => {
                "a host is letters, digits, `-`, `_` and `.`, or an IPv6 address in brackets; write international names \
                 as `xn--…`"
                    .into()
            }
            Self::PathNotAbsolute => "put a `/` in front".into(),
            Self::PathHasQuery => "match the query with `query`".into(),
            Self::PathNotNormal { normal } => format!("write `{normal}`"),
            Self::InvalidPath(_) => "such a request is answered with 400 before it is matched".into(),
            Self::PathWildcardMisplaced => {
                "end the path with `/*` or `/*rest`, name a segment with `/:name`, or use `{ regex: … }`".into()
            }
            Self::BracedParam => "write `/:name` for one segment and `/*name` for all that follow".into(),
            Self::InvalidParamName => "write for example `:id` or `*rest`".into(),
            Self::RepeatedParam { .. } => "give each parameter a name of its own".into(),
            Self::TooManyParams | Self::TooManySegments => "end the path earlier with `/*rest`".into(),
            Self::InvalidExpression(_) => {
                "the syntax is that of Rust's regex crate: no look-around, no back-references".into()
            }
            Self::ExpressionTooLarge => "use smaller counted repetitions such as `{1,100}`".into(),
            Self::InvalidMethod => "write for example `GET`".into(),
            Self::InvalidMediaType => {
                "write for example `application/json` or `text/*`, without parameters; leave `accept` out to match every \
                 request"
                    .into()
            }
            Self::MethodCase { upper } => format!("write `{upper}`"),
        }
    }
}
