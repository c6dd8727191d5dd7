use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use weir_config::{Code, Key, Node, Object, Problem, Problems, Section, Shape};
use weir_http::{
    PolicyPlan, REDIRECT, RESPOND, RedirectPlan, RespondPlan, SHARE, Scope, decode_forward, policy_kinds,
};

use super::matching::Matched;
use super::{matching, root};
use crate::plan::{ActionPlan, RoutePlan};

pub(super) static ROUTE: Object = Object::new(
    "route",
    "What becomes of the requests that match.",
    &[
        Key::new(
            "name",
            Shape::Text,
            "A unique name for logs, metrics and messages; by default made of the place in the list.",
        ),
        Key::new("match", Shape::Object(&matching::MATCH), "Which requests; every request by default."),
        Key::new(
            "policies",
            Shape::List(&Shape::Kind(policy_kinds)),
            "What is done before the action, in this order, and to the answer, in reverse.",
        ),
        Key::new(
            "forward",
            Shape::OneOf(&[Shape::Text, Shape::List(&Shape::Object(&SHARE))]),
            "To an upstream, or to several by weight.",
        ),
        Key::new("redirect", Shape::Object(&REDIRECT), "To another place."),
        Key::new("respond", Shape::Object(&RESPOND), "An answer of the gateway's own."),
        Key::new("tunnel_connect", Shape::Any, "Not there yet: offers `/tunnel/connect`."),
        Key::new(
            "timeout",
            Shape::duration_or_off(1, 86_400_000),
            "For the whole request, retries included; it ends with an upgrade.",
        )
        .default("off"),
    ],
)
.exactly_one(&["forward", "redirect", "respond", "tunnel_connect"]);

/// What routes may refer to.
pub(super) struct Names<'a> {
    /// Those that take HTTP requests.
    pub(super) listeners: HashSet<&'a str>,
    /// Those that do not.
    pub(super) others: HashSet<&'a str>,
    pub(super) upstreams: HashSet<&'a str>,
}

pub(super) fn decode_all(root: &Section, names: &Names, problems: &Problems) -> Vec<RoutePlan> {
    let nodes = root.list("routes");
    let mut taken: HashMap<&str, &Node> = HashMap::with_capacity(nodes.len());
    let mut plans = Vec::with_capacity(nodes.len());
    for (at, node) in nodes.iter().enumerate() {
        let errors_before = problems.errors();
        let section = ROUTE.open(node, problems);
        if let Some(name) = section.node("name") {
            let text = name.text().unwrap_or_default();
            if let Some(first) = taken.insert(text, name) {
                let message = format!("two routes have the name `{text}`");
                problems.push(Problem::error(Code::NAME_TAKEN, name, message).also(first, "the first one"));
            } else if text.is_empty() {
                problems.push(Problem::error(Code::MALFORMED, name, "a route's name is not empty"));
            }
        }
        let matched = matching::decode(&section, names, problems);
        // A match with a fault has lost a part, and would tie with routes that it has nothing to do with.
        let is_whole = problems.errors() == errors_before;
        let rules = if is_whole { matched.rules } else { Vec::new() };
        plans.push(decode(&section, at, Matched { rules, ..matched }, names, problems));
    }
    plans
}

fn decode(section: &Section, at: usize, matched: Matched, names: &Names, problems: &Problems) -> RoutePlan {
    let scope = Scope { problems, params: &matched.params };
    let name: Arc<str> = match section.opt_text("name") {
        Some(name) => name.into(),
        None => format!("routes[{at}]").into(),
    };
    let policies =
        section.list("policies").iter().filter_map(|node| PolicyPlan::decode(node, scope)).collect();
    let action = action(section, &name, names, scope);
    RoutePlan {
        place: section.this().place().to_string(),
        policies,
        // A route without a usable action has a problem, and the plan is thrown away.
        action: action.unwrap_or(ActionPlan::Forward(Vec::new())),
        timeout: section.duration_or_off("timeout"),
        listeners: matched.listeners,
        rules: matched.rules,
        name,
    }
}

fn action(section: &Section, name: &str, names: &Names, scope: Scope) -> Option<ActionPlan> {
    Some(match section.chosen()? {
        ("forward", node) => ActionPlan::Forward(forward(node, name, names, scope.problems)),
        ("redirect", node) => ActionPlan::Redirect(RedirectPlan::decode(node, scope)?),
        ("respond", node) => ActionPlan::Respond(RespondPlan::decode(node, scope)?),
        _ => {
            root::not_yet(section, "tunnel_connect", "tunnels are not there yet", scope.problems);
            return None;
        }
    })
}

fn forward(node: &Node, route: &str, names: &Names, problems: &Problems) -> Vec<(Arc<str>, u32)> {
    let shares = decode_forward(node, problems);
    for share in shares.iter().filter(|share| !names.upstreams.contains(&*share.upstream)) {
        let upstream = &share.upstream;
        let message = format!("route `{route}` forwards to upstream `{upstream}`, which does not exist");
        problems.push(unknown(message, upstream, "upstreams", &names.upstreams, share.node, problems));
    }
    shares.into_iter().map(|share| (share.upstream, share.weight)).collect()
}

/// A reference to nothing, with what it may have meant.
pub(super) fn unknown(
    message: String,
    name: &str,
    what: &str,
    names: &HashSet<&str>,
    node: &Node,
    problems: &Problems,
) -> Problem {
    const LISTED_MAX: usize = 20;
    // Nobody reads that far, and likenesses to thousands of names cost time.
    const HELPED_MAX: usize = 100;
    if problems.errors() >= HELPED_MAX {
        return Problem::error(Code::UNKNOWN_NAME, node, message);
    }
    let mut sorted: Vec<&str> = names.iter().copied().collect();
    sorted.sort_unstable();
    let problem =
        Problem::error(Code::UNKNOWN_NAME, node, message).did_you_mean(name, sorted.iter().copied());
    let more = sorted.len().saturating_sub(LISTED_MAX);
    let listed = sorted[..sorted.len() - more].join(", ");
    problem.help(match (sorted.is_empty(), more) {
        (true, _) => format!("there are no {what}"),
        (_, 0) => format!("{what} are: {listed}"),
        _ => format!("{what} are: {listed} and {more} more"),
    })
}
