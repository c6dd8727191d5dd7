use weir_config::{Code, Key, KindRow, Node, Object, Problem, Section, Shape};

use super::{IpRule, IpRulesPlan};
use crate::policy::PolicyPlan;
use crate::policy::registry::PolicyKind;
use crate::spec::{Scope, network};

pub(crate) const KIND: PolicyKind = PolicyKind {
    row: KindRow {
        name: "ip_rules",
        doc: "Lets client addresses through or answers 403; the most specific network decides.",
        shape: Shape::Object(&IP_RULES),
    },
    decode,
};

static IP_RULES: Object = Object::new(
    "ip_rules",
    "Lets client addresses through or answers 403. The most specific network that holds the address decides.",
    &[
        Key::new("allow", Shape::OneOrMany(&Shape::Text), "Networks or addresses that are let through."),
        Key::new("deny", Shape::OneOrMany(&Shape::Text), "Networks or addresses that are not."),
        Key::new(
            "default",
            Shape::Enum(&["allow", "deny"]),
            "What becomes of all others, and of clients without an address. By default `deny` where there is an `allow`, else `allow`.",
        ),
    ],
);

fn decode(node: &Node, scope: Scope) -> Option<PolicyPlan> {
    let section = IP_RULES.open(node, scope.problems);
    let mut rules: Vec<(IpRule, &Node)> = Vec::new();
    for allow in [true, false] {
        for (rule, node) in listed(&section, allow, scope) {
            match rules.iter().find(|(known, _)| known.network == rule.network) {
                Some((known, first)) if known.allow != allow => {
                    let message = format!("`{}` is both allowed and denied", rule.network);
                    let problem = Problem::error(Code::CONFLICT, node, message);
                    scope.problems.push(problem.also(*first, "allowed here"));
                }
                _ => rules.push((rule, node)),
            }
        }
    }
    if section.node("allow").is_none() && section.node("deny").is_none() && section.node("default").is_none()
    {
        scope.refuse(Code::MISSING_KEY, node, "`ip_rules` needs `allow` or `deny`", "");
    }
    let allow_others = match section.opt_text("default") {
        Some(word) => word == "allow",
        None => section.node("allow").is_none(),
    };
    let rules = rules.into_iter().map(|(rule, _)| rule).collect();
    Some(PolicyPlan::IpRules(IpRulesPlan::new(rules, allow_others)))
}

fn listed<'n>(section: &Section<'n>, allow: bool, scope: Scope) -> Vec<(IpRule, &'n Node)> {
    let nodes = section.list(if allow { "allow" } else { "deny" }).iter();
    nodes.filter_map(|node| Some((IpRule { network: network(node, scope.problems)?, allow }, node))).collect()
}
