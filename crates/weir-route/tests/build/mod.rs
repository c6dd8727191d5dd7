//! Rules and requests in one line each.
#![allow(dead_code, reason = "each test file takes what it needs")]
#![allow(clippy::unwrap_used, reason = "texts of tests are written well")]

use weir_route::{
    Expression, FieldLookup, HostPattern, MediaRange, Method, Params, PathPattern, RequestView, RouteTable,
    Rule, ValueTest,
};

/// Words of a rule: `host=`, `path=`, `re=`, `m=GET,HEAD`, `h:NAME=VALUE`, `q:NAME=VALUE`, `p:NAME=REGEX`, `l=1,2`,
/// `a=text/*,a/b`, `preflights=`, `prio=N`; a VALUE of `~…` is an expression, `?` is presence.
pub(crate) fn rule(id: u32, words: &str) -> Rule {
    try_rule(id, words).unwrap_or_else(|| panic!("no rule: {words}"))
}

/// None where a word is not known or its pattern is refused.
pub(crate) fn try_rule(id: u32, words: &str) -> Option<Rule> {
    let mut rule = Rule::any(id);
    for word in words.split_whitespace() {
        let (key, value) = word.split_once('=')?;
        match key.split_once(':').unwrap_or((key, "")) {
            ("host", _) => rule.host = Some(HostPattern::parse(value).ok()?),
            ("path", _) => rule.path = Some(PathPattern::parse(value).ok()?),
            ("re", _) => rule.path = Some(PathPattern::parse_expression(value).ok()?),
            ("m", _) => {
                rule.methods = value.split(',').map(|m| Method::parse(m).ok()).collect::<Option<_>>()?;
            }
            ("h", name) => rule.headers.push((name.into(), test(value)?)),
            ("q", name) => rule.query.push((name.into(), test(value)?)),
            ("p", name) => rule.params.push((name.into(), Expression::parse(value).ok()?)),
            ("l", _) => {
                rule.listeners = value.split(',').map(|l| l.parse::<u32>().ok()).collect::<Option<_>>()?;
            }
            ("a", _) => {
                rule.accept = value.split(',').map(|a| MediaRange::parse(a).ok()).collect::<Option<_>>()?;
            }
            ("preflights", _) => rule.preflights = true,
            ("prio", _) => rule.priority = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(rule)
}

fn test(value: &str) -> Option<ValueTest> {
    Some(match value.strip_prefix('~') {
        Some(expression) => ValueTest::Expression(Expression::parse(expression).ok()?),
        None if value == "?" => ValueTest::Present,
        None => ValueTest::Exact(value.replace('_', " ")),
    })
}

pub(crate) fn rules(words: &[&str]) -> Vec<Rule> {
    (0..).zip(words).map(|(id, words)| rule(id, words)).collect()
}

pub(crate) fn table(words: &[&str]) -> RouteTable {
    RouteTable::compile(rules(words)).unwrap()
}

/// A request that is taken apart as `METHOD [LISTENER@]HOST/PATH?QUERY name:value…`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) listener: u32,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) fields: Fields,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(pub(crate) Vec<(String, String)>);

impl FieldLookup for Fields {
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.iter().any(|(known, value)| known.eq_ignore_ascii_case(name) && test(value.as_bytes()))
    }
}

pub(crate) fn request(text: &str) -> Request {
    try_request(text).unwrap_or_else(|| panic!("no request: {text}"))
}

/// None where a part is missing.
pub(crate) fn try_request(text: &str) -> Option<Request> {
    let mut words = text.split_whitespace();
    let method = words.next()?.into();
    let target = words.next()?;
    let (listener, target) = target.split_once('@').unwrap_or(("0", target));
    let (target, query) = target.split_once('?').unwrap_or((target, ""));
    let (host, path) = target.split_at(target.find('/')?);
    let fields = words.map(|word| word.split_once(':').map(|(n, v)| (n.into(), v.into())));
    Some(Request {
        method,
        listener: listener.parse().ok()?,
        host: host.into(),
        path: path.into(),
        query: query.into(),
        fields: Fields(fields.collect::<Option<_>>()?),
    })
}

impl Request {
    pub(crate) fn view(&self) -> RequestView<'_> {
        RequestView {
            listener: self.listener,
            host: self.host.as_bytes(),
            path: self.path.as_bytes(),
            query: self.query.as_bytes(),
            method: self.method.as_bytes(),
            fields: &self.fields,
        }
    }
}

/// The winner's id for a request in words.
pub(crate) fn winner(table: &RouteTable, text: &str) -> Option<u32> {
    table.lookup(&request(text).view(), &mut Params::default())
}

/// Asks for each request the id of its winner; `-` for none.
#[track_caller]
pub(crate) fn expect(words: &[&str], requests: &[(&str, i32)]) {
    let table = table(words);
    for (text, wanted) in requests {
        assert_eq!(winner(&table, text), u32::try_from(*wanted).ok(), "{text}");
    }
}
