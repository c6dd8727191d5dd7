use weir_config::{Code, Key, KindRow, Node, Object, Problem, Section, Shape};

use super::{CorsPlan, Granted, OriginPattern, Origins};
use crate::policy::PolicyPlan;
use crate::policy::registry::PolicyKind;
use crate::spec::Scope;

pub(crate) const KIND: PolicyKind = PolicyKind {
    row: KindRow {
        name: "cors",
        doc: "Lets pages of other origins read answers, and answers their preflights.",
        shape: Shape::Object(&CORS),
    },
    decode,
};

static CORS: Object = Object::new(
    "cors",
    "Lets pages of the listed origins read answers; `Vary: Origin` is added, and the upstream's own `Access-Control-*` \
     fields are replaced. Preflights are answered 204 without asking the upstream; a route that matches `methods` \
     takes those that ask for one of them. Put it before policies that refuse requests: a preflight has no credentials.",
    &[
        Key::new(
            "origins",
            Shape::OneOrMany(&Shape::Text),
            "Origins as browsers send them, such as `https://app.example.com`; `https://*.example.com` is one label \
             before the name, `null` is what sandboxed pages send, and `*` alone is every origin, without credentials.",
        )
        .required(),
        Key::new(
            "methods",
            Shape::OneOrMany(&Shape::Text),
            "Methods that pages may use, `GET`, `HEAD` and `POST` by default; `*` grants what is asked for.",
        ),
        Key::new(
            "headers",
            Shape::OneOrMany(&Shape::Text),
            "Request headers that pages may set beyond those that browsers always let them; `*` grants what is asked for.",
        ),
        Key::new(
            "expose",
            Shape::OneOrMany(&Shape::Text),
            "Headers of answers that pages may read beyond those that browsers always let them; `*` is every one, \
             without credentials.",
        ),
        Key::new(
            "credentials",
            Shape::Bool,
            "Let pages send cookies, client certificates and `Authorization` along.",
        )
        .default("false"),
        Key::new(
            "max_age",
            Shape::duration(0, 86_400_000),
            "How long a browser may remember the answer to a preflight; browsers have limits of their own, 2 h in Chromium.",
        )
        .default("10m"),
        Key::new(
            "private_network",
            Shape::Bool,
            "Let pages of public addresses send requests here where this is a private one.",
        )
        .default("false"),
    ],
);

fn decode(node: &Node, scope: Scope) -> Option<PolicyPlan> {
    let section = CORS.open(node, scope.problems);
    let credentials = section.boolean("credentials");
    let origins = origins(&section, credentials, scope);
    let expose = names(&section, "expose", scope);
    if credentials && expose.iter().any(|name| name == "*") {
        let message = "`expose: \"*\"` has no meaning with credentials";
        scope.refuse(Code::CONFLICT, section.at("expose"), message, "list the headers by name");
    }
    let methods = match section.node("methods") {
        Some(_) => granted(methods(&section, scope)),
        None => Granted::Listed(["GET", "HEAD", "POST"].map(str::to_owned).to_vec()),
    };
    Some(PolicyPlan::Cors(Box::new(CorsPlan {
        origins: origins?,
        methods,
        headers: granted(names(&section, "headers", scope)),
        expose,
        credentials,
        max_age: section.duration("max_age"),
        private_network: section.boolean("private_network"),
    })))
}

fn origins(section: &Section, credentials: bool, scope: Scope) -> Option<Origins> {
    let mut listed = Vec::new();
    let nodes = section.list("origins");
    if let Some(star) = nodes.iter().find(|node| node.text() == Some("*")) {
        if credentials {
            let help = "list the origins: with credentials, every page could read what its visitor may";
            scope.refuse(Code::CONFLICT, star, "`*` is not possible with `credentials`", help);
        }
        if nodes.len() > 1 {
            scope.refuse(
                Code::CONFLICT,
                star,
                "`*` already stands for the other origins",
                "remove it, or them",
            );
        }
        return Some(Origins::Any);
    }
    for node in nodes {
        let text = node.text()?;
        match OriginPattern::parse(text) {
            Ok(pattern) => {
                if text.eq_ignore_ascii_case("null") && credentials {
                    let message = "every sandboxed page of anybody has the origin `null`";
                    let problem = Problem::warning(Code::CONFLICT, node, message);
                    scope.problems.push(problem.help("remove it, or set `credentials: false`"));
                }
                if !listed.contains(&pattern) {
                    listed.push(pattern);
                }
            }
            Err(help) => {
                let message =
                    format!("an origin is `SCHEME://HOST` with or without a port, got {}", node.describe());
                scope.refuse(Code::MALFORMED, node, message, help);
            }
        }
    }
    if nodes.is_empty() && section.node("origins").is_some() {
        scope.refuse(Code::MISSING_KEY, section.at("origins"), "no origin is listed", "");
    }
    Some(Origins::Listed(listed))
}

fn granted(names: Vec<String>) -> Granted {
    if names.iter().any(|name| name == "*") { Granted::Any } else { Granted::Listed(names) }
}

/// Names of fields in lower case, or `*`, which is a token too.
fn names(section: &Section, key: &str, scope: Scope) -> Vec<String> {
    let mut names = Vec::new();
    for (text, node) in section.texts(key) {
        if weir_wire::http1::is_token(text.as_bytes()) {
            names.push(text.to_ascii_lowercase());
        } else {
            let message = format!("{} is not the name of a header", node.describe());
            scope.refuse(Code::MALFORMED, node, message, "a name is letters, digits and `-`");
        }
    }
    names
}

/// Methods, which browsers compare with case, or `*`, which is a token too.
fn methods(section: &Section, scope: Scope) -> Vec<String> {
    let mut methods = Vec::new();
    for (text, node) in section.texts("methods") {
        match weir_route::Method::parse(text) {
            Ok(method) => methods.push(method.as_str().to_owned()),
            Err(error) => scope.refuse(Code::PATTERN, node, error.to_string(), &error.help()),
        }
    }
    methods
}
