use weir_config::{Code, KindRow, Node, Shape};

use super::StatusPlan;
use crate::policy::PolicyPlan;
use crate::policy::registry::PolicyKind;
use crate::spec::Scope;

pub(crate) const KIND: PolicyKind = PolicyKind {
    row: KindRow {
        name: "status",
        doc: "Maps an upstream's statuses to others, `{ 404: 410 }`; Weir's own errors are left alone.",
        shape: Shape::Map(&Shape::Text),
    },
    decode,
};

fn decode(node: &Node, scope: Scope) -> Option<PolicyPlan> {
    let mut map = Vec::new();
    for entry in node.entries().unwrap_or_default() {
        if let (Some(from), Some(to)) = (status(&entry.key, scope), status(&entry.value, scope)) {
            map.push((from, to));
        }
    }
    if node.entries().is_none_or(<[_]>::is_empty) {
        scope.refuse(
            Code::MISSING_KEY,
            node,
            "`status` maps nothing",
            "write for example `status: { 404: 410 }`",
        );
    }
    Some(PolicyPlan::Status(StatusPlan { map }))
}

fn status(node: &Node, scope: Scope) -> Option<u16> {
    let text = node.text()?;
    let status = text.parse().ok().filter(|status| text.len() == 3 && (200..=599).contains(status));
    if status.is_none() {
        let message = format!("a status here is from 200 to 599, got {}", node.describe());
        scope.refuse(Code::OUT_OF_RANGE, node, message, "");
    }
    status
}
