use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use crate::accept::{self, QUALITY_MAX, Quality};
use crate::hash::Fx;
use crate::problem::{self, RuleProblem};
use crate::request::{Params, RequestView};
use crate::rule::Rule;
use crate::trie::Trie;
use crate::{Expression, HostPattern, PathPattern};

/// All rules, arranged for lookup; immutable.
///
/// A lookup costs a hash of the host, one of each suffix that some wildcard may have, and a walk down a trie that
/// visits a node once at most. It depends on the depth of the path, not on the number of rules.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact: HashMap<Box<[u8]>, HostRules, Fx>,
    /// By the name after `*.`.
    wildcard: HashMap<Box<[u8]>, HostRules, Fx>,
    /// Most labels of a wildcard's name: longer suffixes are not looked for.
    wildcard_labels_max: usize,
    any: HostRules,
    candidates: Vec<Candidate>,
}

/// The rules of one host pattern.
#[derive(Debug, Default)]
pub(crate) struct HostRules {
    pub(crate) trie: Trie,
    /// Whole-path expressions with their rules, in the order in which they are tried.
    pub(crate) expressions: Vec<(Expression, u32)>,
    /// Rules without a path.
    pub(crate) pathless: Vec<u32>,
}

/// One rule as it runs.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) rule: Rule,
    /// Names of the path parameters in order; none where there are none.
    pub(crate) names: Option<Arc<[Box<str>]>>,
    /// Whether nothing but host and path is asked.
    is_plain: bool,
}

impl RouteTable {
    /// Arranges the rules.
    ///
    /// # Errors
    ///
    /// Every tie and every rule that can never win. Costs about n log n.
    pub fn compile(mut rules: Vec<Rule>) -> Result<Self, Vec<RuleProblem>> {
        // Within one host and path: more matchers first, then priority; the id only makes the order reproducible.
        rules.sort_by_key(|rule| (Reverse(rule.matcher_count()), Reverse(rule.priority), rule.id));
        let mut table = Self { candidates: Vec::with_capacity(rules.len()), ..Self::default() };
        for rule in rules {
            table.add(rule);
        }
        let problems = problem::find(table.hosts(), &table.candidates);
        if problems.is_empty() { Ok(table) } else { Err(problems) }
    }

    fn add(&mut self, rule: Rule) {
        let id = self.candidates.len() as u32;
        let host = match &rule.host {
            None => &mut self.any,
            Some(HostPattern::Exact(name)) => host_rules(&mut self.exact, name),
            Some(HostPattern::Wildcard(name)) => {
                self.wildcard_labels_max = self.wildcard_labels_max.max(name.split('.').count());
                host_rules(&mut self.wildcard, name)
            }
        };
        match &rule.path {
            None => host.pathless.push(id),
            Some(PathPattern::Expression(expression)) => host.expressions.push((expression.clone(), id)),
            Some(PathPattern::Segments(segments)) => host.trie.insert(segments, id),
        }
        let names = || rule.path.iter().flat_map(PathPattern::param_names);
        let names = names().next().is_some().then(|| names().map(Into::into).collect());
        self.candidates.push(Candidate { is_plain: rule.matcher_count() == 0, names, rule });
    }

    fn hosts(&self) -> impl Iterator<Item = &HostRules> {
        self.exact.values().chain(self.wildcard.values()).chain([&self.any])
    }

    /// The id of the rule that wins; its parameters are in `params`. Never allocates, but for an expression on a
    /// percent-encoded query value.
    #[inline]
    pub fn lookup(&self, request: &RequestView<'_>, params: &mut Params) -> Option<u32> {
        let winner = self.win(request, params)?;
        Some(self.candidates[winner as usize].rule.id)
    }

    /// The place of the candidate that wins.
    pub(crate) fn win(&self, request: &RequestView<'_>, params: &mut Params) -> Option<u32> {
        params.names = None;
        let winner =
            self.matching_hosts(request.host).find_map(|host| self.lookup_host(host, request, params))?;
        params.names.clone_from(&self.candidates[winner as usize].names);
        Some(winner)
    }

    /// The host patterns that cover a host, the most specific first.
    pub(crate) fn matching_hosts(&self, host: &[u8]) -> impl Iterator<Item = &HostRules> {
        let exact = self.exact.get(host);
        let wildcards =
            Suffixes::of(host, self.wildcard_labels_max).filter_map(|suffix| self.wildcard.get(suffix));
        exact.into_iter().chain(wildcards).chain([&self.any])
    }

    fn lookup_host(&self, host: &HostRules, request: &RequestView<'_>, params: &mut Params) -> Option<u32> {
        let judge = |id: u32, spans: &[(u32, u32)]| self.candidates[id as usize].judge(request, spans).ok();
        let mut choose = |group: &[u32], spans: &[(u32, u32)]| {
            self.best(group.iter().map(|id| (*id, id)), |id| judge(*id, spans))
        };
        host.trie
            .find(request.path, &mut params.spans, &mut choose)
            .or_else(|| {
                self.best(host.expressions.iter().map(|rule| (rule.1, rule)), |(expression, id)| {
                    judge(*id, &[]).filter(|_| expression.is_match(request.path))
                })
            })
            .or_else(|| choose(&host.pathless, &[]))
    }

    /// Of rules in the order in which they are tried the one that wins: the first with the most matchers that hold,
    /// unless the client would rather accept what another of as many offers.
    #[inline]
    fn best<T>(
        &self,
        rules: impl Iterator<Item = (u32, T)>,
        mut judge: impl FnMut(T) -> Option<Quality>,
    ) -> Option<u32> {
        let mut best: Option<(u32, Quality)> = None;
        for (id, rule) in rules {
            let matchers = |id: u32| self.candidates[id as usize].rule.matcher_count();
            if best.is_some_and(|(found, _)| matchers(found) > matchers(id)) {
                break;
            }
            match judge(rule) {
                Some(QUALITY_MAX) => return Some(id),
                Some(quality) if best.is_none_or(|(_, most)| quality > most) => best = Some((id, quality)),
                _ => {}
            }
        }
        best.map(|(id, _)| id)
    }

    /// All rules, in the order in which they are tried.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.candidates.iter().map(|candidate| &candidate.rule)
    }

    /// The rule that a candidate is.
    pub(crate) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }
}

/// The rules of a host that may be there already: its name is copied only when it is not.
fn host_rules<'t>(hosts: &'t mut HashMap<Box<[u8]>, HostRules, Fx>, name: &str) -> &'t mut HostRules {
    if !hosts.contains_key(name.as_bytes()) {
        hosts.insert(name.as_bytes().into(), HostRules::default());
    }
    hosts.get_mut(name.as_bytes()).expect("it was inserted where it was not there")
}

impl Candidate {
    /// How much the client wants what the rule offers, or the first further matcher that does not hold.
    #[inline]
    pub(crate) fn judge(
        &self,
        request: &RequestView<'_>,
        spans: &[(u32, u32)],
    ) -> Result<Quality, Refusal<'_>> {
        if self.is_plain { Ok(QUALITY_MAX) } else { self.judge_matchers(request, spans) }
    }

    fn judge_matchers(
        &self,
        request: &RequestView<'_>,
        spans: &[(u32, u32)],
    ) -> Result<Quality, Refusal<'_>> {
        let rule = &self.rule;
        if !rule.listeners.is_empty() && !rule.listeners.contains(&request.listener) {
            return Err(Refusal::Listener);
        }
        if !rule.takes_method(request) {
            return Err(Refusal::Method);
        }
        for (name, expression) in &rule.params {
            let value = self.param(name, spans, request.path);
            if !value.is_some_and(|value| expression.is_match(value)) {
                return Err(Refusal::Param(name));
            }
        }
        for (name, test) in &rule.headers {
            if !test.holds_for_field(name, request.fields) {
                return Err(Refusal::Header(name));
            }
        }
        let failing = rule.query.iter().find(|(name, test)| !test.holds_for_query(name, request.query));
        if let Some((name, _)) = failing {
            return Err(Refusal::Query(name));
        }
        match self.quality(request) {
            0 => Err(Refusal::Accept),
            quality => Ok(quality),
        }
    }

    /// How much the client wants what the rule offers, whatever else it asks.
    pub(crate) fn quality(&self, request: &RequestView<'_>) -> Quality {
        if self.rule.accept.is_empty() {
            QUALITY_MAX
        } else {
            accept::quality(&self.rule.accept, request.fields)
        }
    }

    /// The value of a path parameter.
    pub(crate) fn param<'a>(&self, name: &str, spans: &[(u32, u32)], path: &'a [u8]) -> Option<&'a [u8]> {
        let place = self.names.iter().flat_map(|names| names.iter()).position(|known| **known == *name)?;
        let (start, end) = *spans.get(place)?;
        path.get(start as usize..end as usize)
    }
}

/// Which matcher of a rule did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// The host pattern.
    Host,
    /// The path pattern.
    Path,
    /// The listeners.
    Listener,
    /// The methods.
    Method,
    /// A path parameter's expression.
    Param(&'a str),
    /// A header field.
    Header(&'a str),
    /// A query entry.
    Query(&'a str),
    /// What is accepted.
    Accept,
}

/// What stands behind each dot of a host name, the longest first, as far as some wildcard may have as many labels.
struct Suffixes<'a> {
    rest: &'a [u8],
    labels_max: usize,
    labels: usize,
}

impl<'a> Suffixes<'a> {
    fn of(host: &'a [u8], labels_max: usize) -> Self {
        // Where there is no wildcard at all, the dots need not be counted.
        let labels = if labels_max == 0 { 0 } else { memchr::memchr_iter(b'.', host).count() };
        Self { rest: host, labels_max, labels }
    }
}

impl<'a> Iterator for Suffixes<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        while self.labels > 0 {
            let dot = memchr::memchr(b'.', self.rest)?;
            self.rest = &self.rest[dot + 1..];
            self.labels -= 1;
            // `labels` counts the dots left, so what is left has one label more.
            if self.labels < self.labels_max {
                return Some(self.rest);
            }
        }
        None
    }
}
