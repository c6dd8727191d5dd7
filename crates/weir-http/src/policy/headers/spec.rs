use weir_config::{Code, Key, KindRow, Node, Object, Section, Shape};

use super::{FieldChanges, HeadersPlan};
use crate::policy::PolicyPlan;
use crate::policy::registry::PolicyKind;
use crate::spec::{Scope, field_templates, names};

pub(crate) const KIND: PolicyKind = PolicyKind {
    row: KindRow {
        name: "headers",
        doc: "Changes request and response headers, and guards the request's.",
        shape: Shape::Object(&HEADERS),
    },
    decode,
};

static HEADERS: Object = Object::new(
    "headers",
    "Changes request and response headers, and guards the request's. The response side also works on Weir's own errors. Trailers are held to the same: what is denied, not allowed or removed does not pass as a trailer, nor does what is set or hashed.",
    &[
        Key::new("request", Shape::Object(&REQUEST), "On the request as it is forwarded."),
        Key::new("response", Shape::Object(&RESPONSE), "On the answer as it is sent."),
    ],
);

const DENY: Key = Key::new(
    "deny",
    Shape::OneOrMany(&Shape::Text),
    "A request with one of these is answered 400; where it is a trailer, what the endpoint has of the request is cut before its end.",
);
const ALLOW: Key = Key::new(
    "allow",
    Shape::OneOrMany(&Shape::Text),
    "Only these are kept, and those that the protocol and the gateway need.",
);
const REMOVE: Key = Key::new("remove", Shape::OneOrMany(&Shape::Text), "Removed.");
const SET: Key =
    Key::new("set", Shape::Map(&Shape::Text), "Set in place of what was there. Values may hold variables.");
const ADD: Key = Key::new("add", Shape::Map(&Shape::Text), "Added beside what is there.");
const SET_IF_ABSENT: Key = Key::new("set_if_absent", Shape::Map(&Shape::Text), "Set where nothing is there.");
const HASH: Key = Key::new(
    "hash",
    Shape::OneOrMany(&Shape::Text),
    "Values are replaced by a hash of 20 characters: they can be told apart but not read.",
);

static REQUEST: Object = Object::new(
    "request_headers",
    "Changes of a request's headers, made in this order. Names are compared without case.",
    &[DENY, ALLOW, REMOVE, SET, ADD, SET_IF_ABSENT, HASH],
);

static RESPONSE: Object = Object::new(
    "response_headers",
    "Changes of a response's headers, made in this order. Names are compared without case.",
    &[ALLOW, REMOVE, SET, ADD, SET_IF_ABSENT, HASH],
);

fn decode(node: &Node, scope: Scope) -> Option<PolicyPlan> {
    let section = HEADERS.open(node, scope.problems);
    let mut plan = HeadersPlan::default();
    if let Some(request) = section.object("request", &REQUEST, scope.problems) {
        plan.request = changes(&request, scope);
        plan.request.deny = names(&request, "deny", scope);
    }
    if let Some(response) = section.object("response", &RESPONSE, scope.problems) {
        plan.response = changes(&response, scope);
    }
    if section.node("request").is_none() && section.node("response").is_none() {
        scope.refuse(Code::MISSING_KEY, node, "`headers` needs `request` or `response`", "");
    }
    Some(PolicyPlan::Headers(Box::new(plan)))
}

fn changes(section: &Section, scope: Scope) -> FieldChanges {
    FieldChanges {
        deny: Vec::new(),
        allow: section.node("allow").map(|_| allowed(section, scope)),
        remove: names(section, "remove", scope),
        set: field_templates(section, "set", scope),
        add: field_templates(section, "add", scope),
        set_if_absent: field_templates(section, "set_if_absent", scope),
        hash: names(section, "hash", scope),
    }
}

/// Fields that the gateway needs are kept anyway, so naming them here is no fault.
fn allowed(section: &Section, scope: Scope) -> Vec<String> {
    let mut names = Vec::new();
    for (text, node) in section.texts("allow") {
        if weir_wire::http1::is_token(text.as_bytes()) {
            names.push(text.to_ascii_lowercase());
        } else {
            let message = format!("{} is not the name of a header", node.describe());
            scope.refuse(Code::MALFORMED, node, message, "a name is letters, digits and `-`");
        }
    }
    names
}
