use std::collections::HashMap;

use crate::Expression;
use crate::table::{Candidate, HostRules};

/// What is wrong with rules taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleProblem {
    /// Two rules that nothing orders and that one request can match.
    Tie {
        /// The id of one.
        first: u32,
        /// The id of the other.
        second: u32,
    },
    /// A rule that another wins over whenever it matches.
    Unreachable {
        /// The id of the rule that never wins.
        rule: u32,
        /// The id of the rule that always wins.
        shadowed_by: u32,
    },
}

/// Most rules of one host, path and rank that are compared pair by pair; of further ones only equal ones are found.
const COMPARED_MAX: usize = 64;

/// Finds every tie, and every id none of whose rules can ever win.
pub(crate) fn find<'a>(
    hosts: impl Iterator<Item = &'a HostRules>,
    candidates: &[Candidate],
) -> Vec<RuleProblem> {
    let mut ties = Vec::new();
    let mut shadows: Vec<(u32, u32)> = Vec::new();
    for host in hosts {
        for group in host.trie.groups().chain([&host.pathless[..]]) {
            judge(group, candidates, &mut ties, &mut shadows);
        }
        let mut same: HashMap<&str, Vec<u32>> = HashMap::new();
        for (expression, rule) in &host.expressions {
            same.entry(expression.as_str()).or_default().push(*rule);
        }
        for group in same.values().filter(|group| group.len() > 1) {
            judge(group, candidates, &mut ties, &mut shadows);
        }
        judge_expressions(&host.expressions, candidates, &mut ties);
        shadow_after_catch_all(host, candidates, &mut shadows);
    }
    let id = |candidate: u32| candidates[candidate as usize].rule.id;
    let mut living: HashMap<u32, usize> = HashMap::new();
    for candidate in candidates {
        *living.entry(candidate.rule.id).or_insert(0) += 1;
    }
    shadows.sort_unstable();
    shadows.dedup_by_key(|(rule, _)| *rule);
    for (rule, _) in &shadows {
        if let Some(left) = living.get_mut(&id(*rule)) {
            *left -= 1;
        }
    }
    let unreachable = shadows
        .iter()
        .filter(|(rule, by)| id(*rule) != id(*by) && living.get(&id(*rule)) == Some(&0))
        .map(|(rule, by)| RuleProblem::Unreachable { rule: id(*rule), shadowed_by: id(*by) });
    let tied = ties.iter().map(|(a, b)| {
        let (first, second) = (id(*a).min(id(*b)), id(*a).max(id(*b)));
        RuleProblem::Tie { first, second }
    });
    let mut problems: Vec<RuleProblem> = unreachable.chain(tied).collect();
    problems.sort_unstable();
    problems.dedup();
    problems
}

/// What `/*` takes never comes to the expressions and the rules without a path.
fn shadow_after_catch_all(host: &HostRules, candidates: &[Candidate], shadows: &mut Vec<(u32, u32)>) {
    let rule = |candidate: u32| &candidates[candidate as usize].rule;
    let winners: Vec<u32> =
        host.trie.catch_all().iter().copied().filter(|id| rule(*id).params.is_empty()).collect();
    // The ones with the fewest matchers, which cover the most, are the last.
    let winners = &winners[winners.len().saturating_sub(COMPARED_MAX)..];
    for loser in host.expressions.iter().map(|(_, rule)| *rule).chain(host.pathless.iter().copied()) {
        if let Some(winner) = winners.iter().rev().find(|winner| rule(**winner).covers(rule(loser))) {
            shadows.push((loser, *winner));
        }
    }
}

/// Judges rules of one host and path, in the order in which they are tried.
fn judge(group: &[u32], candidates: &[Candidate], ties: &mut Vec<(u32, u32)>, shadows: &mut Vec<(u32, u32)>) {
    judge_neighbours(group, candidates, ties, shadows);
    if group.len() <= COMPARED_MAX {
        return;
    }
    let mut equal: HashMap<String, Vec<u32>> = HashMap::new();
    for &place in group {
        equal.entry(signature(&candidates[place as usize])).or_default().push(place);
    }
    for bucket in equal.values().filter(|bucket| bucket.len() > 1) {
        judge_neighbours(bucket, candidates, ties, shadows);
    }
}

/// Finds the ties between different whole-path expressions of one host: nothing says which of them is tried first, so two
/// of one rank tie unless their paths or their further matchers are plainly apart.
fn judge_expressions(rules: &[(Expression, u32)], candidates: &[Candidate], ties: &mut Vec<(u32, u32)>) {
    let rule = |candidate: u32| &candidates[candidate as usize].rule;
    let rank = |candidate: u32| (rule(candidate).matcher_count(), rule(candidate).priority);
    // Expressions that may both match have one prefix in common, so they come to stand side by side.
    let mut sorted: Vec<&(Expression, u32)> = rules.iter().collect();
    sorted.sort_by(|(a, first), (b, second)| {
        rank(*first).cmp(&rank(*second)).then_with(|| a.prefix().cmp(b.prefix())).then(first.cmp(second))
    });
    for (place, &(expression, later)) in sorted.iter().enumerate() {
        for &(other, earlier) in &sorted[place.saturating_sub(COMPARED_MAX)..place] {
            let (winner, loser) = (rule(*earlier), rule(*later));
            if winner.id != loser.id
                && rank(*earlier) == rank(*later)
                && winner.may_overlap(loser)
                && !expression.is_apart(other)
            {
                ties.push((*earlier, *later));
            }
        }
    }
}

/// What a rule asks of values; the same for rules that ask the same in another order.
fn signature(candidate: &Candidate) -> String {
    let rule = &candidate.rule;
    let mut params: Vec<_> = rule.placed_params().map(|(place, test)| (place, test.as_str())).collect();
    let mut headers: Vec<String> =
        rule.headers.iter().map(|(name, test)| format!("{} {test:?}", name.to_ascii_lowercase())).collect();
    let mut query: Vec<String> = rule.query.iter().map(|(name, test)| format!("{name} {test:?}")).collect();
    let mut accept: Vec<&_> = rule.accept.iter().collect();
    params.sort_unstable();
    accept.sort_unstable();
    headers.sort_unstable();
    query.sort_unstable();
    format!("{params:?} {headers:?} {query:?} {accept:?}")
}

fn judge_neighbours(
    group: &[u32],
    candidates: &[Candidate],
    ties: &mut Vec<(u32, u32)>,
    shadows: &mut Vec<(u32, u32)>,
) {
    for (place, &later) in group.iter().enumerate().skip(1) {
        let rule = &candidates[later as usize].rule;
        let window = &group[place.saturating_sub(COMPARED_MAX)..place];
        for &earlier in window.iter().rev() {
            let winner = &candidates[earlier as usize].rule;
            if winner.id == rule.id || winner.matcher_count() != rule.matcher_count() {
                // More matchers never cover fewer, and fewer come later.
                continue;
            }
            if winner.priority == rule.priority {
                if winner.may_overlap(rule) {
                    ties.push((earlier, later));
                }
            } else if winner.covers(rule) {
                shadows.push((later, earlier));
                break;
            }
        }
    }
}
