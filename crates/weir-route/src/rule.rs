use std::sync::Arc;

use crate::request::RequestView;
use crate::{Expression, HostPattern, MediaRange, Method, PathPattern};

/// One way to match: a host, a path and further matchers, all of which must hold.
///
/// A route with several hosts or paths is several rules with one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What a lookup answers with: the route's place.
    pub id: u32,
    /// Ids of the listeners it is restricted to; empty for all.
    pub listeners: Arc<[u32]>,
    /// None for any host.
    pub host: Option<HostPattern>,
    /// None for any path.
    pub path: Option<PathPattern>,
    /// Expressions for path parameters, by name.
    pub params: Vec<(String, Expression)>,
    /// Empty for all; `GET` does not imply `HEAD`.
    pub methods: Vec<Method>,
    /// Whether it stands for the CORS preflights of its methods too, which are sent as `OPTIONS`.
    pub preflights: bool,
    /// What it offers: a request must accept one of them. Empty for all.
    pub accept: Vec<MediaRange>,
    /// By field name; any of several lines may match.
    pub headers: Vec<(String, ValueTest)>,
    /// By name of a query entry; values are percent-decoded before they are compared.
    pub query: Vec<(String, ValueTest)>,
    /// Decides between rules that nothing else orders; the larger wins.
    pub priority: i32,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueTest {
    /// This text.
    Exact(String),
    /// A match of the whole value.
    Expression(Expression),
    /// Anything, but there.
    Present,
}

impl Rule {
    /// A rule that matches everything.
    pub fn any(id: u32) -> Self {
        Self {
            id,
            listeners: Arc::default(),
            host: None,
            path: None,
            params: Vec::new(),
            methods: Vec::new(),
            preflights: false,
            accept: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
            priority: 0,
        }
    }

    /// The number of further matchers, which decides between rules with the same host and path: one each for the
    /// listeners, the methods, what is accepted, every parameter expression, every field and every query entry.
    pub fn matcher_count(&self) -> usize {
        usize::from(!self.listeners.is_empty())
            + usize::from(!self.methods.is_empty())
            + usize::from(!self.accept.is_empty())
            + self.params.len()
            + self.headers.len()
            + self.query.len()
    }

    /// Whether the methods, or those that a preflight asks for, hold.
    pub(crate) fn takes_method(&self, request: &RequestView<'_>) -> bool {
        let is_listed = |method: &[u8]| self.methods.iter().any(|own| own.as_str().as_bytes() == method);
        self.methods.is_empty()
            || is_listed(request.method)
            || (self.preflights
                && request.method == b"OPTIONS"
                && request.fields.any("origin", &mut |_| true)
                && request.fields.any("access-control-request-method", &mut |method| is_listed(method)))
    }

    /// Whether both can hold for one request of the same host and path, as far as that can be told cheaply:
    /// different exact values of one name cannot, and different expressions are given the benefit of the doubt. What
    /// is accepted never keeps two apart: a client may accept both.
    pub(crate) fn may_overlap(&self, other: &Self) -> bool {
        let listeners_apart = !self.listeners.is_empty()
            && !other.listeners.is_empty()
            && !self.listeners.iter().any(|id| other.listeners.contains(id));
        let methods_apart = !self.methods.is_empty()
            && !other.methods.is_empty()
            && !self.methods.iter().any(|method| other.methods.contains(method))
            && !self.preflights_meet(other)
            && !other.preflights_meet(self);
        let params_apart = self
            .placed_params()
            .any(|(place, a)| other.placed_params().any(|(other_place, b)| place == other_place && a != b));
        !listeners_apart
            && !methods_apart
            && !params_apart
            && !values_apart(&self.headers, &other.headers, same_field)
            && !values_apart(&self.query, &other.query, same_text)
    }

    /// Whether everything that matches `other` matches this rule too, given the same host and path.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let listeners = self.listeners.is_empty()
            || (!other.listeners.is_empty() && other.listeners.iter().all(|id| self.listeners.contains(id)));
        let methods = self.methods.is_empty()
            || (!other.methods.is_empty()
                && other.methods.iter().all(|method| self.methods.contains(method))
                && (self.preflights || !other.preflights));
        let accept = self.accept.is_empty()
            || (!other.accept.is_empty()
                && other.accept.iter().all(|theirs| self.accept.iter().any(|own| own.includes(theirs))));
        listeners
            && methods
            && accept
            && self.placed_params().all(|own| other.placed_params().any(|theirs| own == theirs))
            && values_cover(&self.headers, &other.headers, same_field)
            && values_cover(&self.query, &other.query, same_text)
    }

    /// Whether a preflight for this rule is an `OPTIONS` request of the other.
    fn preflights_meet(&self, other: &Self) -> bool {
        self.preflights && other.methods.iter().any(|method| method.as_str() == "OPTIONS")
    }

    /// Parameter expressions by the parameter's place: what a segment is called tells two rules apart in nothing.
    pub(crate) fn placed_params(&self) -> impl Iterator<Item = (Option<usize>, &Expression)> {
        self.params.iter().map(|(name, expression)| {
            let place =
                self.path.as_ref().and_then(|path| path.param_names().position(|known| known == name));
            (place, expression)
        })
    }
}

fn same_field(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn same_text(a: &str, b: &str) -> bool {
    a == b
}

type Named = (String, ValueTest);

fn values_apart(a: &[Named], b: &[Named], same: fn(&str, &str) -> bool) -> bool {
    a.iter().any(|(name, test)| {
        b.iter().any(|(other, other_test)| {
            same(name, other)
                && match (test, other_test) {
                    (ValueTest::Exact(x), ValueTest::Exact(y)) => x != y,
                    (ValueTest::Expression(x), ValueTest::Expression(y)) => x != y,
                    (ValueTest::Exact(x), ValueTest::Expression(y))
                    | (ValueTest::Expression(y), ValueTest::Exact(x)) => !y.is_match(x.as_bytes()),
                    (ValueTest::Present, _) | (_, ValueTest::Present) => false,
                }
        })
    })
}

fn values_cover(own: &[Named], theirs: &[Named], same: fn(&str, &str) -> bool) -> bool {
    own.iter().all(|(name, test)| {
        theirs.iter().any(|(other, other_test)| {
            same(name, other)
                && match (test, other_test) {
                    (ValueTest::Present, _) => true,
                    (ValueTest::Expression(x), ValueTest::Exact(y)) => x.is_match(y.as_bytes()),
                    _ => test == other_test,
                }
        })
    })
}
