//! Ties and routes that are never reached, found by compiling the routes' rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_config::{Code, Node, Problem, Problems, Section};
use weir_route::{RouteTable, Rule, RuleProblem};

use crate::plan::{ListenerPlan, RoutePlan};

/// Arranges the routes' rules, whose ids are the routes' places, and reports what is wrong with them taken together;
/// empty where something is.
pub(super) fn check(
    root: &Section,
    routes: &[RoutePlan],
    rules: Vec<Rule>,
    problems: &Problems,
) -> Arc<RouteTable> {
    match RouteTable::compile(rules) {
        Ok(table) => Arc::new(table),
        Err(found) => {
            let nodes = root.list("routes");
            for problem in found {
                report(problem, routes, nodes, problems);
            }
            Arc::default()
        }
    }
}

/// What the table knows a listener by: its place by name.
pub(crate) fn listener_id(name: &str, listeners: &BTreeMap<Arc<str>, ListenerPlan>) -> Option<u32> {
    let at = listeners.keys().position(|known| **known == *name)?;
    u32::try_from(at).ok()
}

fn report(problem: RuleProblem, routes: &[RoutePlan], nodes: &[Node], problems: &Problems) {
    let at = |id: u32| Some((&routes.get(id as usize)?.name, nodes.get(id as usize).map(place)?));
    match problem {
        RuleProblem::Tie { first, second } => {
            let (Some((first, first_node)), Some((second, node))) = (at(first), at(second)) else { return };
            let message = format!(
                "the routes `{first}` and `{second}` can match the same request, and no rule says which wins"
            );
            let problem = Problem::error(Code::TIE, node, message).also(first_node, format!("`{first}`"));
            problems.push(problem.help("give one of them a `priority`, or make one match more specific"));
        }
        RuleProblem::Unreachable { rule, shadowed_by } => {
            let (Some((rule, node)), Some((winner, winner_node))) = (at(rule), at(shadowed_by)) else {
                return;
            };
            let message =
                format!("the route `{rule}` is never reached: `{winner}` wins every request that it matches");
            let problem =
                Problem::error(Code::UNREACHABLE, node, message).also(winner_node, format!("`{winner}`"));
            problems.push(problem.help("remove one of the two, or make its match more specific"));
        }
    }
}

/// What to point at for a whole route: its match, else its name, else its first key.
fn place(route: &Node) -> &Node {
    let first = || route.entries().and_then(<[_]>::first).map(|entry| &entry.key);
    route.get("match").or_else(|| route.get("name")).or_else(first).unwrap_or(route)
}
