//! A route's `match`.

use std::sync::Arc;

use weir_config::{Code, Key, Node, Object, Place, Problem, Problems, Section, Shape};
use weir_route::{Expression, HostPattern, MediaRange, Method, PathPattern, PatternError, Rule, ValueTest};

use super::route::{Names, place_of, unknown};

/// Hosts times paths of one route; each combination is a rule of its own.
const COMBINATIONS_MAX: usize = 4_096;

pub(super) static MATCH: Object = Object::new(
    "match",
    "Which requests a route is for: those for which all of this holds. Of several routes that match, the one with the \
     more specific host wins, then path, then the one with more further matchers, then `priority`.",
    &[
        Key::new("listeners", Shape::Names, "Names of listeners; every one by default."),
        Key::new(
            "host",
            Shape::OneOrMany(&Shape::Text),
            "Names, or `*.example.com` for one or more labels before a name; without case or port.",
        ),
        Key::new(
            "path",
            Shape::OneOrMany(&PATH),
            "`/literal`, `/:param`, and a last `/*rest`; `/v1/*` is `/v1` and all below. An expression must match the whole path.",
        ),
        Key::new(
            "params",
            Shape::Map(&Shape::Text),
            "Expressions that must match the whole value of a path parameter.",
        ),
        Key::new(
            "methods",
            Shape::OneOrMany(&Shape::Text),
            "Methods in upper case; `GET` does not imply `HEAD`. With the policy `cors`, CORS preflights for them match too.",
        ),
        Key::new(
            "accept",
            Shape::OneOrMany(&Shape::Text),
            "Media types that the route offers, `application/json` or `text/*`: the request's `Accept` must take one, or be \
             absent. Of routes that nothing before `priority` orders, the one that the client gives the higher `q` wins.",
        ),
        Key::new(
            "headers",
            Shape::Map(&VALUE),
            "By name: the value, `{ regex: … }` over the whole value, or `{ present: true }`.",
        ),
        Key::new(
            "query",
            Shape::Map(&VALUE),
            "The same for entries of the query; values are compared decoded.",
        ),
        Key::new(
            "priority",
            Shape::Integer { min: -1_000_000, max: 1_000_000 },
            "Decides between routes that nothing else orders; the larger wins.",
        )
        .default("0"),
    ],
);

const PATH: Shape = Shape::OneOf(&[Shape::Text, Shape::Object(&PATH_REGEX)]);
const VALUE: Shape = Shape::OneOf(&[Shape::Text, Shape::Object(&VALUE_TEST)]);

static PATH_REGEX: Object = Object::new(
    "path_regex",
    "A path as a regular expression; tried after all literal and parameter patterns.",
    &[Key::new("regex", Shape::Text, "Must match the whole path.").required()],
);

static VALUE_TEST: Object = Object::new(
    "value_test",
    "What the value of a header or of a query entry must be.",
    &[
        Key::new("regex", Shape::Text, "Must match the whole value."),
        Key::new("present", Shape::Bool, "`true`: there, whatever its value."),
    ],
)
.exactly_one(&["regex", "present"]);

/// A `match` as read.
pub(super) struct Matched {
    pub(super) listeners: Vec<Arc<str>>,
    /// The path parameters that every path pattern binds.
    pub(super) params: Vec<String>,
}

/// Reads the `match` of the route at place `id`, and appends its rules.
pub(super) fn decode(
    route: &Section,
    id: u32,
    names: &Names,
    rules: &mut Vec<Rule>,
    problems: &Problems,
) -> Matched {
    let Some(section) = route.object("match", &MATCH, problems) else {
        rules.push(Rule::any(id));
        return Matched { listeners: Vec::new(), params: Vec::new() };
    };
    let hosts: Vec<HostPattern> =
        section.list("host").iter().filter_map(|node| parsed(node, HostPattern::parse, problems)).collect();
    let paths: Vec<PathPattern> =
        section.list("path").iter().filter_map(|node| path(node, problems)).collect();
    let bound = bound_by_all(&paths);
    let listeners = listeners(&section, names, problems);
    let base = Rule {
        listeners: Arc::clone(&listeners),
        params: params(&section, &bound, problems),
        methods: distinct(&section, "methods", Method::parse, problems),
        accept: distinct(&section, "accept", MediaRange::parse, problems),
        headers: values(&section, "headers", problems),
        query: values(&section, "query", problems),
        priority: section.integer("priority"),
        ..Rule::any(id)
    };
    combine(&section, hosts, paths, base, rules, problems);
    let listeners = listeners.iter().map(|place| Arc::clone(&names.all_listeners[*place as usize])).collect();
    Matched { listeners, params: bound }
}

/// One rule for each host and path; those without a host or path stand for all.
fn combine(
    section: &Section,
    mut hosts: Vec<HostPattern>,
    mut paths: Vec<PathPattern>,
    base: Rule,
    rules: &mut Vec<Rule>,
    problems: &Problems,
) {
    if hosts.len() <= 1 && paths.len() <= 1 {
        rules.push(Rule { host: hosts.pop(), path: paths.pop(), ..base });
        return;
    }
    if hosts.len().max(1) * paths.len().max(1) > COMBINATIONS_MAX {
        let message = format!("{} hosts and {} paths are too many for one route", hosts.len(), paths.len());
        let problem = Problem::error(Code::OUT_OF_RANGE, section.this(), message);
        problems.push(problem.help(format!("at most {COMBINATIONS_MAX} combinations; split the route")));
        return;
    }
    let hosts = some_or_any(hosts);
    let paths = some_or_any(paths);
    let with = |host: &Option<HostPattern>, path: &Option<PathPattern>| Rule {
        host: host.clone(),
        path: path.clone(),
        ..base.clone()
    };
    rules.extend(hosts.iter().flat_map(|host| paths.iter().map(move |path| with(host, path))));
}

fn some_or_any<T: PartialEq>(patterns: Vec<T>) -> Vec<Option<T>> {
    let mut distinct: Vec<Option<T>> = Vec::with_capacity(patterns.len().max(1));
    for pattern in patterns.into_iter().map(Some) {
        if !distinct.contains(&pattern) {
            distinct.push(pattern);
        }
    }
    if distinct.is_empty() {
        distinct.push(None);
    }
    distinct
}

fn path(node: &Node, problems: &Problems) -> Option<PathPattern> {
    if node.text().is_some() {
        return parsed(node, PathPattern::parse, problems);
    }
    let section = PATH_REGEX.open(node, problems);
    parsed(section.node("regex")?, PathPattern::parse_expression, problems)
}

/// What a pattern's parser makes of a text; its error points at the part that is to blame.
fn parsed<T>(node: &Node, parse: impl Fn(&str) -> Result<T, PatternError>, problems: &Problems) -> Option<T> {
    match parse(node.text()?) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let place: Place = match error.range.is_empty() {
                true => node.place(),
                false => node.part(error.range.clone()),
            };
            problems.push(Problem::error(Code::PATTERN, place, error.to_string()).help(error.help()));
            None
        }
    }
}

fn bound_by_all(paths: &[PathPattern]) -> Vec<String> {
    let Some((first, rest)) = paths.split_first() else { return Vec::new() };
    let everywhere =
        |name: &&str| *name != "*" && rest.iter().all(|path| path.param_names().any(|other| other == *name));
    first.param_names().filter(everywhere).map(str::to_owned).collect()
}

fn params(section: &Section, bound: &[String], problems: &Problems) -> Vec<(String, Expression)> {
    let mut found = Vec::new();
    for entry in section.map("params") {
        let name = entry.name();
        let expression = parsed(&entry.value, Expression::parse, problems);
        // A path that is wrong binds nothing, which is no fault of the parameters.
        if !bound.iter().any(|known| known == name) {
            let message = format!("the path has no parameter `{name}`");
            let problem = Problem::error(Code::UNKNOWN_NAME, &entry.key, message);
            problems.push(problem.did_you_mean(name, bound.iter().map(String::as_str)).help(match bound {
                [] => "write a parameter as `/:name` in every `path` of the route".to_owned(),
                _ => format!("parameters here are: {}", bound.join(", ")),
            }));
        } else if let Some(expression) = expression {
            found.push((name.to_owned(), expression));
        }
    }
    found
}

/// The items of a list as their parser reads them, each once.
fn distinct<T: PartialEq>(
    section: &Section,
    key: &str,
    parse: impl Fn(&str) -> Result<T, PatternError>,
    problems: &Problems,
) -> Vec<T> {
    let mut found = Vec::new();
    for item in section.list(key).iter().filter_map(|node| parsed(node, &parse, problems)) {
        if !found.contains(&item) {
            found.push(item);
        }
    }
    found
}

fn values(section: &Section, key: &str, problems: &Problems) -> Vec<(String, ValueTest)> {
    let mut found: Vec<(String, ValueTest)> = Vec::new();
    for entry in section.map(key) {
        let is_header = key == "headers";
        let name = if is_header { entry.name().to_ascii_lowercase() } else { entry.name().to_owned() };
        let is_name = if is_header { weir_wire::http1::is_token(name.as_bytes()) } else { !name.is_empty() };
        let test = value_test(&entry.value, problems);
        let wrong = if !is_name {
            Some((Code::MALFORMED, format!("{} is no name for one of `{key}`", entry.key.describe())))
        } else if found.iter().any(|(known, _)| *known == name) {
            Some((Code::REPEATED_KEY, format!("`{name}` is named twice; names are compared without case")))
        } else {
            None
        };
        match (wrong, test) {
            (Some((code, message)), _) => problems.push(Problem::error(code, &entry.key, message)),
            (None, Some(test)) => found.push((name, test)),
            (None, None) => {}
        }
    }
    found
}

fn value_test(node: &Node, problems: &Problems) -> Option<ValueTest> {
    if let Some(text) = node.text() {
        return Some(ValueTest::Exact(text.to_owned()));
    }
    let section = VALUE_TEST.open(node, problems);
    match section.chosen()? {
        ("regex", node) => parsed(node, Expression::parse, problems).map(ValueTest::Expression),
        (_, node) if node.boolean() == Some(false) => {
            let problem = Problem::error(Code::OUT_OF_RANGE, node, "`present` can only be `true`");
            problems.push(
                problem.help("what lacks it is for a route without this matcher: it is tried after this one"),
            );
            None
        }
        _ => Some(ValueTest::Present),
    }
}

/// The places of the listeners among all by name, which are their ids.
fn listeners(section: &Section, names: &Names, problems: &Problems) -> Arc<[u32]> {
    let mut found: Vec<u32> = Vec::new();
    for (name, node) in section.texts("listeners") {
        match place_of(name, &names.listeners) {
            Some(_) => {
                let id = place_of(name, &names.all_listeners).map_or(u32::MAX, |place| place as u32);
                if !found.contains(&id) {
                    found.push(id);
                }
            }
            None if place_of(name, &names.all_listeners).is_some() => {
                let message = format!("the listener `{name}` takes no HTTP requests");
                let problem = Problem::error(Code::CONFLICT, node, message);
                problems.push(
                    problem.help("routes are for `http` listeners; a `tcp` listener has `routes` of its own"),
                );
            }
            None => {
                let message = format!("there is no listener `{name}`");
                problems.push(unknown(message, name, "listeners", &names.listeners, node, problems));
            }
        }
    }
    if found.is_empty() { Arc::default() } else { found.into() }
}
