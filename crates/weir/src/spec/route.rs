use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use weir_config::{Code, Key, Node, Object, Problem, Problems, Section, Shape};
use weir_http::{
    PolicyPlan, REDIRECT, RESPOND, RedirectPlan, RespondPlan, SHARE, Scope, decode_forward, policy_kinds,
};
use weir_route::Rule;

use super::matching::{self, Matched};
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
        Key::new(
            "tunnel_connect",
            Shape::Any,
            "Not there yet: takes agents on a listener. They connect to the address of `tunnel`.",
        ),
        Key::new(
            "timeout",
            Shape::duration_or_off(1, 86_400_000),
            "For the whole request, retries included; it ends with an upgrade.",
        )
        .default("off"),
    ],
)
.exactly_one(&["forward", "redirect", "respond", "tunnel_connect"]);

/// What routes may refer to; sorted.
pub(super) struct Names {
    /// Those that take HTTP requests.
    pub(super) listeners: Vec<Arc<str>>,
    /// Those that do not, too.
    pub(super) all_listeners: Vec<Arc<str>>,
    pub(super) upstreams: Vec<Arc<str>>,
}

/// The place of a name among sorted ones.
pub(super) fn place_of(name: &str, names: &[Arc<str>]) -> Option<usize> {
    names.binary_search_by(|known| (**known).cmp(name)).ok()
}

/// The routes, and the rules of all of them, whose ids are the routes' places.
pub(super) fn decode_all(root: &Section, names: &Names, problems: &Problems) -> (Vec<RoutePlan>, Vec<Rule>) {
    let nodes = root.list("routes");
    let mut taken: HashMap<&str, &Node> = HashMap::new();
    let mut plans = Vec::with_capacity(nodes.len());
    let mut rules = Vec::with_capacity(nodes.len());
    let mut default_name = String::new();
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
        default_name.clear();
        let _infallible = write!(default_name, "routes[{at}]");
        let length = rules.len();
        let matched = matching::decode(&section, at as u32, names, &mut rules, problems);
        if problems.errors() > errors_before {
            // A match with a fault has lost a part, and would tie with routes that it has nothing to do with.
            rules.truncate(length);
        }
        let plan = decode(&section, &default_name, matched, names, problems);
        if plan.policies.iter().any(PolicyPlan::answers_preflights) {
            rules.iter_mut().skip(length).for_each(|rule| rule.preflights = true);
        }
        plans.push(plan);
    }
    (plans, rules)
}

fn decode(
    section: &Section,
    default_name: &str,
    matched: Matched,
    names: &Names,
    problems: &Problems,
) -> RoutePlan {
    let scope = Scope { problems, params: &matched.params };
    let name: Arc<str> = section.opt_text("name").unwrap_or(default_name).into();
    let policies = policies(section, scope);
    let action = action(section, &name, names, scope);
    RoutePlan {
        place: section.this().place().position(),
        policies,
        // A route without a usable action has a problem, and the plan is thrown away.
        action: action.unwrap_or(ActionPlan::Forward(Vec::new())),
        timeout: section.duration_or_off("timeout"),
        listeners: matched.listeners,
        name,
    }
}

fn policies(section: &Section, scope: Scope) -> Vec<PolicyPlan> {
    let mut cors: Vec<&Node> = Vec::new();
    let mut plans = Vec::new();
    for node in section.list("policies") {
        let Some(plan) = PolicyPlan::decode(node, scope) else { continue };
        if plan.answers_preflights() {
            cors.push(node);
        }
        plans.push(plan);
    }
    if let [first, second, ..] = cors[..] {
        // An answer names one origin: what one grants would be written with the credentials of the other.
        let problem = Problem::error(Code::CONFLICT, second, "a route has one `cors`");
        scope.problems.push(problem.also(first, "the first one").help("list all origins there"));
    }
    plans
}

fn action(section: &Section, name: &str, names: &Names, scope: Scope) -> Option<ActionPlan> {
    Some(match section.chosen()? {
        ("forward", node) => ActionPlan::Forward(forward(node, name, names, scope.problems)),
        ("redirect", node) => ActionPlan::Redirect(RedirectPlan::decode(node, scope)?),
        ("respond", node) => ActionPlan::Respond(RespondPlan::decode(node, scope)?),
        (_, node) => {
            let message = "routes that take agents are not there yet";
            let problem = Problem::error(Code::NOT_YET, node, message);
            scope
                .problems
                .push(problem.help("agents connect to the address of `tunnel`; remove `tunnel_connect`"));
            return None;
        }
    })
}

fn forward(node: &Node, route: &str, names: &Names, problems: &Problems) -> Vec<(Arc<str>, u32)> {
    let upstream = |share: weir_http::Share| match place_of(share.upstream, &names.upstreams) {
        Some(place) => Some((Arc::clone(&names.upstreams[place]), share.weight)),
        None => {
            let upstream = share.upstream;
            let message = format!("route `{route}` forwards to upstream `{upstream}`, which does not exist");
            problems.push(unknown(message, upstream, "upstreams", &names.upstreams, share.node, problems));
            None
        }
    };
    decode_forward(node, problems).into_iter().filter_map(upstream).collect()
}

/// A reference to none of the sorted `names`, with what it may have meant.
pub(super) fn unknown(
    message: String,
    name: &str,
    what: &str,
    names: &[Arc<str>],
    node: &Node,
    problems: &Problems,
) -> Problem {
    const LISTED_MAX: usize = 20;
    // Nobody reads that far, and likenesses to thousands of names cost time.
    const HELPED_MAX: usize = 100;
    if problems.errors() >= HELPED_MAX {
        return Problem::error(Code::UNKNOWN_NAME, node, message);
    }
    let problem = Problem::error(Code::UNKNOWN_NAME, node, message)
        .did_you_mean(name, names.iter().map(|name| &**name));
    let more = names.len().saturating_sub(LISTED_MAX);
    let listed = names[..names.len() - more].join(", ");
    problem.help(match (names.is_empty(), more) {
        (true, _) => format!("there are no {what}"),
        (_, 0) => format!("{what} are: {listed}"),
        _ => format!("{what} are: {listed} and {more} more"),
    })
}
