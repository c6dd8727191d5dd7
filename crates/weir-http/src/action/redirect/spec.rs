use weir_config::{Code, Key, Node, Object, Shape};

use super::RedirectPlan;
use crate::spec::Scope;

const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

/// A route's `redirect`.
pub static REDIRECT: Object = Object::new(
    "redirect",
    "Sends the client to another place.",
    &[
        Key::new("to", Shape::Text, "The `Location`: a URL or a path; it may hold variables.").required(),
        Key::new("status", Shape::Integer { min: 301, max: 308 }, "301, 302, 303, 307 or 308.")
            .default("302"),
    ],
);

impl RedirectPlan {
    /// Reads a route's `redirect`; `None` when the problems say why.
    pub fn decode(node: &Node, scope: Scope) -> Option<Self> {
        let section = REDIRECT.open(node, scope.problems);
        let status = section.integer("status");
        if !STATUSES.contains(&status) {
            let node = section.at("status");
            let message =
                format!("`status` of a redirect must be 301, 302, 303, 307 or 308, got {}", node.describe());
            let help = "308 and 307 keep the method; 301 and 302 may turn POST into GET";
            scope.refuse(Code::UNKNOWN_CHOICE, node, message, help);
        }
        let to = section.node("to")?;
        let text = to.text()?;
        if text.is_empty() || text.bytes().any(|byte| !(0x21..0x7f).contains(&byte)) {
            let message = format!("`to` must be a URL or a path, got {}", to.describe());
            scope.refuse(Code::MALFORMED, to, message, "percent-encode spaces and letters beyond ASCII");
            return None;
        }
        Some(Self { to: scope.template(to)?, status })
    }
}
