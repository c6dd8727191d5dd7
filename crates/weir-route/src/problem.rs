use std::collections::HashMap;

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
        let everything =
            host.trie.catch_all().iter().find(|id| candidates[**id as usize].rule.matcher_count() == 0);
        if let Some(&winner) = everything {
            let never = host.expressions.iter().map(|(_, rule)| *rule).chain(host.pathless.iter().copied());
            shadows.extend(never.map(|rule| (rule, winner)));
        }
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
        .filter(|(rule, _)| living.get(&id(*rule)) == Some(&0))
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

/// Judges rules of one host and path, in the order in which they are tried.
fn judge(group: &[u32], candidates: &[Candidate], ties: &mut Vec<(u32, u32)>, shadows: &mut Vec<(u32, u32)>) {
    for (place, &later) in group.iter().enumerate().skip(1) {
        let rule = &candidates[later as usize].rule;
        let window = &group[place.saturating_sub(COMPARED_MAX)..place];
        for &earlier in window.iter().rev() {
            let winner = &candidates[earlier as usize].rule;
            if winner.id == rule.id {
                continue;
            }
            let same_rank =
                winner.matcher_count() == rule.matcher_count() && winner.priority == rule.priority;
            if same_rank && winner.may_overlap(rule) {
                ties.push((earlier, later));
            } else if !same_rank && winner.covers(rule) {
                shadows.push((later, earlier));
                break;
            }
        }
    }
}
