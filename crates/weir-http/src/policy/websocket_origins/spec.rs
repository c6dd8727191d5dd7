use weir_config::{Code, Key, KindRow, Node, Object, Shape};

use super::WebSocketOriginsPlan;
use crate::policy::PolicyPlan;
use crate::policy::registry::PolicyKind;
use crate::spec::Scope;

pub(crate) const KIND: PolicyKind = PolicyKind {
    row: KindRow {
        name: "websocket_origins",
        doc: "Lets WebSocket handshakes of the listed origins through, answers others 403.",
        shape: Shape::Object(&WEBSOCKET_ORIGINS),
    },
    decode,
};

static WEBSOCKET_ORIGINS: Object = Object::new(
    "websocket_origins",
    "Lets WebSocket handshakes of the listed origins through and answers others 403: browsers send a handshake, with \
     the user's cookies, from any page. Other requests pass.",
    &[
        Key::new(
            "allow",
            Shape::OneOrMany(&Shape::Text),
            "Origins such as `https://app.example.com`, compared without case; `*` lets all through.",
        )
        .required(),
        Key::new(
            "allow_missing",
            Shape::Bool,
            "Let handshakes without an `Origin` through, as programs send them; browsers always send one.",
        )
        .default("false"),
    ],
);

fn decode(node: &Node, scope: Scope) -> Option<PolicyPlan> {
    let section = WEBSOCKET_ORIGINS.open(node, scope.problems);
    let allow = section.list("allow").iter().filter_map(|node| origin(node, scope)).collect();
    let allow_missing = section.boolean("allow_missing");
    Some(PolicyPlan::WebSocketOrigins(WebSocketOriginsPlan { allow, allow_missing }))
}

fn origin(node: &Node, scope: Scope) -> Option<String> {
    let text = node.text()?.to_ascii_lowercase();
    let text = text.strip_suffix('/').unwrap_or(&text);
    if text == "*" {
        return Some(text.to_owned());
    }
    let is_host = |host: &str| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b))
    };
    if matches!(text.split_once("://"), Some((scheme, host)) if !scheme.is_empty() && is_host(host)) {
        return Some(text.to_owned());
    }
    let message = format!("an origin is `SCHEME://HOST` with or without a port, got {}", node.describe());
    scope.refuse(
        Code::MALFORMED,
        node,
        message,
        "write for example `https://app.example.com`, without a path",
    );
    None
}
