//! The matching rules as they are written, without regard to cost.

use std::cmp::Reverse;

use weir_route::{HostPattern, PathPattern, RouteTable, Rule, Segment, ValueTest};

use super::build::Request;

/// Whether a rule matches, read from the documentation and without any of the product's matching code but `is_match`.
pub(crate) fn matches(rule: &Rule, request: &Request) -> bool {
    let host = match &rule.host {
        None => true,
        Some(HostPattern::Exact(name)) => request.host == **name,
        Some(HostPattern::Wildcard(name)) => {
            request.host.len() > name.len() + 1 && request.host.ends_with(&format!(".{name}"))
        }
    };
    let params = match &rule.path {
        None => Some(Vec::new()),
        Some(PathPattern::Expression(expression)) => {
            expression.is_match(request.path.as_bytes()).then(Vec::new)
        }
        Some(PathPattern::Segments(segments)) => {
            let parts: Vec<&str> = request.path[1..].split('/').collect();
            match_segments(segments, &parts)
        }
    };
    let Some(params) = params else { return false };
    let holds = |test: &ValueTest, value: &[u8]| match test {
        ValueTest::Present => true,
        ValueTest::Exact(text) => text.as_bytes() == value,
        ValueTest::Expression(expression) => expression.is_match(value),
    };
    host && (rule.listeners.is_empty() || rule.listeners.contains(&request.listener))
        && (rule.methods.is_empty() || rule.methods.iter().any(|method| method.as_str() == request.method))
        && rule.params.iter().all(|(name, expression)| {
            params.iter().any(|(known, value)| known == name && expression.is_match(value.as_bytes()))
        })
        && rule.headers.iter().all(|(name, test)| {
            request
                .fields
                .0
                .iter()
                .any(|(known, value)| known.eq_ignore_ascii_case(name) && holds(test, value.as_bytes()))
        })
        && quality(rule, request) > 0
        && rule.query.iter().all(|(name, test)| {
            let pairs = request
                .query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            pairs
                .into_iter()
                .any(|(known, value)| decode(known) == name.as_bytes() && holds(test, &decode(value)))
        })
}

fn match_segments(segments: &[Segment], parts: &[&str]) -> Option<Vec<(String, String)>> {
    match (segments, parts) {
        ([], []) => Some(Vec::new()),
        ([Segment::Rest(name)], parts) => {
            Some(vec![(name.as_deref().unwrap_or("*").to_owned(), parts.join("/"))])
        }
        ([Segment::Literal(text), segments @ ..], [part, parts @ ..]) if **text == **part => {
            match_segments(segments, parts)
        }
        ([Segment::Param(name), segments @ ..], [part, parts @ ..]) if !part.is_empty() => {
            let mut params = match_segments(segments, parts)?;
            params.insert(0, (name.to_string(), (*part).to_owned()));
            Some(params)
        }
        _ => None,
    }
}

/// Where a rule stands among those that match: the smallest wins.
pub(crate) fn rank(rule: &Rule, request: &Request) -> impl Ord + use<> {
    let host = match &rule.host {
        Some(HostPattern::Exact(_)) => (0, Reverse(0)),
        Some(HostPattern::Wildcard(name)) => (1, Reverse(name.len())),
        None => (2, Reverse(0)),
    };
    let path = match &rule.path {
        Some(PathPattern::Segments(segments)) => {
            let kind = |segment: &Segment| match segment {
                Segment::Literal(_) => 0,
                Segment::Param(_) => 1,
                Segment::Rest(_) => 2,
            };
            (0, segments.iter().map(kind).collect())
        }
        Some(PathPattern::Expression(_)) => (1, Vec::new()),
        None => (2, Vec::new()),
    };
    let accept = Reverse(quality(rule, request));
    (host, path, Reverse(rule.matcher_count()), accept, Reverse(rule.priority))
}

/// How much a request wants what a rule offers, in thousandths, for fields without quotes and parameters.
fn quality(rule: &Rule, request: &Request) -> u32 {
    let asked: Vec<(&str, u32)> = request
        .fields
        .0
        .iter()
        .filter(|(name, _)| name == "accept")
        .flat_map(|(_, value)| value.split(','))
        .map(|item| match item.split_once(";q=") {
            Some((range, weight)) => (range, (weight.parse::<f64>().unwrap_or_default() * 1000.0) as u32),
            None => (item, 1000),
        })
        .collect();
    if rule.accept.is_empty() || asked.is_empty() {
        return 1000;
    }
    let of = |wanted: &dyn Fn(&str) -> bool| {
        asked.iter().filter(|(range, _)| wanted(range)).map(|(_, weight)| *weight).max()
    };
    let offered = rule.accept.iter().map(|offer| {
        let all = format!("{}/*", offer.kind());
        let wide = of(&|range| range == all).or_else(|| of(&|range| range == "*/*")).unwrap_or(0);
        match offer.subtype() {
            Some(_) => of(&|range| range == offer.to_string()).unwrap_or(wide),
            None => {
                of(&|range| range != all && range.starts_with(&all[..all.len() - 1])).unwrap_or(0).max(wide)
            }
        }
    });
    offered.max().unwrap_or(1000)
}

fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let two = after.get(..2).filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        let value = two.and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match (first, value) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = &after[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
        rest = after;
    }
    bytes
}

/// The rules without those that the table calls tied or unreachable.
pub(crate) fn compile(mut rules: Vec<Rule>) -> (RouteTable, Vec<Rule>) {
    loop {
        match RouteTable::compile(rules.clone()) {
            Ok(table) => return (table, rules),
            Err(problems) => {
                for problem in problems {
                    let (weir_route::RuleProblem::Tie { second: bad, .. }
                    | weir_route::RuleProblem::Unreachable { rule: bad, .. }) = problem;
                    rules.retain(|rule| rule.id != bad);
                }
            }
        }
    }
}
